"""Giving money back: part of it or all, decided under the order's lock, carried out once, told once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from tidegate import inventory, payments
from tidegate.checkout.contracts import Actor, LinePart, NotRefundable, OrderState
from tidegate.checkout.documents import money_document
from tidegate.checkout.history import SHOP, note, refunded_parts
from tidegate.checkout.orders import Order, lock_orders, move_orders
from tidegate.checkout.rules import parts_left, worth_of
from tidegate.checkout.settlement import order_event
from tidegate.checkout.shop import Shop
from tidegate.payments.contracts import Captured, Refund, RefundState
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId, VariantId
from tidegate.platform.money import Money
from tidegate.platform.outbox import write_events
from tidegate.platform.problems import InvalidRequest, KeyReused, NotFound
from tidegate.platform.texts import text as _

log = structlog.get_logger()

PAID = (OrderState.PAID, OrderState.FULFILLED)


async def give_back(
    shop: Shop,
    *,
    order_id: OrderId,
    by: Actor,
    key: str,
    amount: Money | None = None,
    parts: Sequence[LinePart] = (),
    restock: bool = False,
) -> Refund:
    """Give back `amount`, or what `parts` cost, or without either all that is left; once per order and `key`.

    The provider is called after the decision is committed; what it does not answer the reconciler asks for.
    Raises: NotFound, NotRefundable, InvalidRequest, KeyReused for a key that stands for another sum.
    """
    async with shop.database.transaction() as conn:
        order = (await lock_orders(conn, [order_id])).get(order_id)
        if order is None:
            raise NotFound("there is no such order")
        captured = await payments.lock_captured(conn, order_id)
        if captured is None or order.state not in (*PAID, OrderState.REFUNDED):
            raise NotRefundable(_("This order was not paid, so there is nothing to give back."))
        worth = worth_of(parts, order.lines, order.discount, order.charges) if parts else captured.left
        wanted = amount or Money(min(worth.amount, captured.left.amount), worth.currency)  # halves were rounded up
        refund = Refund(captured.ref, reason_of(order_id, key), wanted)
        known = {each.refund.reason: each.refund for each in await payments.refunds_of(conn, order_id)}
        if refund.reason in known:
            if amount is not None and known[refund.reason].total != amount:
                raise KeyReused()
            return known[refund.reason]
        await _decide(conn, order, captured, refund, parts, by=by, restock=restock)
    await try_to_carry_out(shop, refund)
    return refund


async def _decide(
    conn: Connection,
    order: Order,
    captured: Captured,
    refund: Refund,
    parts: Sequence[LinePart],
    *,
    by: Actor,
    restock: bool,
) -> None:
    sum_left = captured.left
    if refund.total.currency != sum_left.currency or not 0 < refund.total.amount <= sum_left.amount:
        raise NotRefundable(
            _("At most %(sum)s of this order can still be given back. Nothing was changed.", sum=sum_left.format()),
            left=sum_left.amount,
        )
    await payments.record_refunds(conn, [refund])
    if parts:
        await _note_parts(conn, order, refund, parts, restock=restock)
    await note(conn, order.id, "refund_decided", by, **money_document(refund.total), restocked=restock and bool(parts))


async def _note_parts(
    conn: Connection, order: Order, refund: Refund, parts: Sequence[LinePart], *, restock: bool
) -> None:
    """Note which items a refund is for, and put them back on the shelf with `restock`."""
    if len({part.line_no for part in parts}) != len(parts):
        raise InvalidRequest(_("Name each line once. Nothing was changed."))
    left = {part.line_no: part.quantity for part in parts_left(order.lines, await refunded_parts(conn, order.id))}
    if any(part.quantity > left.get(part.line_no, 0) for part in parts):
        raise NotRefundable(_("Some of these items were given back already. Nothing was changed."))
    refund_id = id_of(refund)
    await conn.execute(
        "INSERT INTO checkout.refunded_lines (refund_id, order_id, line_no, quantity, restocked)"
        " SELECT %s, %s, n, q, %s FROM unnest(%s::int[], %s::int[]) AS p (n, q)",
        (refund_id, order.id, restock, [part.line_no for part in parts], [part.quantity for part in parts]),
    )
    if not restock:
        return
    rows = await conn.execute("SELECT line_no, variant_id FROM checkout.order_lines WHERE order_id = %s", (order.id,))
    variants: dict[int, VariantId] = dict(await rows.fetchall())
    items: dict[VariantId, int] = {}
    for part in parts:
        items[variants[part.line_no]] = items.get(variants[part.line_no], 0) + part.quantity
    await inventory.return_items(conn, hold_id=order.hold_id, return_id=refund_id, items=items)


async def try_to_carry_out(shop: Shop, refund: Refund) -> None:
    """Carry a recorded refund out; whatever goes wrong, the reconciler tries it again. Safe to repeat."""
    try:
        await carry_out(shop, refund)
    except Exception as error:  # of one refund: the others of a round are tried all the same
        log.warning("refund_not_settled", order_id=str(refund.ref.order_id), reason=refund.reason, error=repr(error))


async def carry_out(shop: Shop, refund: Refund) -> None:
    """Have the provider give the money back, and record, in one transaction, what that makes of the order.

    Raises: OutcomeUnknown, ProviderRefused.
    """
    answer = await payments.ask_refund(shop.providers, shop.database, refund)
    async with shop.database.transaction() as conn:
        order = (await lock_orders(conn, [refund.ref.order_id])).get(refund.ref.order_id)
        if not await payments.settle_refund(conn, refund, answer) or order is None:
            return
        if answer.state is RefundState.FAILED:
            await note(conn, order.id, "refund_failed", SHOP, **money_document(refund.total))
            return
        await note(conn, order.id, "refunded", SHOP, **money_document(refund.total))
        captured = await payments.lock_captured(conn, order.id)
        if captured is not None and captured.ref == refund.ref and order.state in PAID:
            await tell(conn, shop, order, refund.total, all_of_it=captured.done == captured.total)


async def tell(conn: Connection, shop: Shop, order: Order, given: Money, *, all_of_it: bool) -> None:
    """Write the event of money given back; the order is `refunded` once that was all of it."""
    if all_of_it:
        await move_orders(conn, {order.id: OrderState.REFUNDED})
    event = order_event("order.refunded" if all_of_it else "order.partly_refunded", order, shop.desk)
    more = {"refund": money_document(given), "cause": "given-back"}
    await write_events(conn, [replace(event, payload={**event.payload, **more})])


def reason_of(order_id: OrderId, key: str) -> str:
    """The slug of the refund that `key` stands for: the same for the same key, another for any other."""
    return f"key-{hashlib.blake2b(f'{order_id} {key}'.encode(), digest_size=16).hexdigest()}"


def id_of(refund: Refund) -> UUID:
    """The refund's id in tables that name it."""
    return UUID(bytes=hashlib.blake2b(refund.key.encode(), digest_size=16).digest())

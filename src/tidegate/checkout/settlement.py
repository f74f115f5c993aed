"""What a provider's answer does to an order: the one place where money, stock and orders meet.

Whoever brings the answer (the request itself, a webhook, the reconciler) submits a `Settlement`; repeating it, in any
order, changes nothing more. Locks: orders, charges, limits, stock, keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from msgspec import Struct

from tidegate import inventory, payments
from tidegate.checkout.contracts import BoughtLine, Charges, OrderState, OrderView
from tidegate.checkout.documents import (
    KEPT_PARTS,
    order_body,
    sum_document,
)
from tidegate.checkout.orders import (
    Order,
    addresses_document,
    ask_states,
    load_orders,
    move_orders,
    read_states,
    there_already,
)
from tidegate.checkout.pending import Begun, PendingGone, take_up, write_pending
from tidegate.checkout.rules import may_move
from tidegate.checkout.shop import Desk, Shop
from tidegate.checkout.views import OPEN, view_order
from tidegate.inventory import Confirmation, Hold
from tidegate.payments.contracts import Answer, Applied, ChargeRef, ChargeState, Notice, Refund, Settled, Standing
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import AskedFinish, RequestKey, StoredAnswer, finish_keys, finish_subjects, look_up
from tidegate.platform.ids import EventId, HoldId, OrderId, new_id
from tidegate.platform.money import Money
from tidegate.platform.outbox import Event, write_events

STOCK_GONE = "stock-gone"
PAID_TWICE = "paid-twice"
"""Why money goes back by itself."""


class Known(Struct, frozen=True):
    """What the request that placed an order knows of it: all that does not change, its key, and what it began there."""

    order: Order
    hold: Hold
    key: RequestKey | None
    begun: Begun | None = None


class Settlement(Struct, frozen=True):
    """A provider's answer about an attempt. `notice` is the webhook that brought it, `known` spares reading."""

    ref: ChargeRef
    answer: Answer
    notice: Notice | None = None
    known: Known | None = None


async def settle(
    shop: Shop, answers: Mapping[ChargeRef, Answer], *, notices: Sequence[Notice] = ()
) -> dict[OrderId, OrderView]:
    """Apply providers' answers; returns the orders as they are afterwards.

    `notices` are the webhooks that brought them: marked as applied with it. Answers about orders that are pending
    have them written first; those about unknown orders are ignored.
    """
    told = {notice.ref: notice for notice in notices}
    settlements = [Settlement(ref, answer, told.get(ref)) for ref, answer in answers.items()]
    views = await _submit(shop, settlements)
    if unknown := [each for each in settlements if each.ref.order_id not in views]:
        await take_up(shop.database, [each.ref.order_id for each in unknown])
        views |= await _submit(shop, unknown)
        if strange := [notice for notice in notices if notice.ref.order_id not in views]:
            async with shop.database.transaction() as conn:
                await payments.mark_applied(conn, strange)
    return views


async def _submit(shop: Shop, settlements: Sequence[Settlement]) -> dict[OrderId, OrderView]:
    views = await asyncio.gather(*(shop.batches.settlements.submit(each) for each in settlements))
    return {view.id: view for view in views if isinstance(view, OrderView)}


async def settle_answers(
    conn: Connection, settlements: Sequence[Settlement], *, desk: Desk
) -> list[OrderView | StoredAnswer | Exception | None]:
    """Settle a batch in the caller's transaction; the order each is about, as it is afterwards (None: no such order).

    A settlement whose key somebody else has finished meanwhile gets the answer that was stored for it.
    Several answers about one order are applied one after the other: captures first, so that all stock is locked in
    one round, in its order.
    """
    views: dict[int, OrderView | StoredAnswer | None] = {}
    left = sorted(enumerate(settlements), key=lambda each: each[1].answer.state is not ChargeState.CAPTURED)
    while left:
        taken: set[OrderId] = set()
        now: list[tuple[int, Settlement]] = []
        later: list[tuple[int, Settlement]] = []
        for place, each in left:
            (later if each.ref.order_id in taken else now).append((place, each))
            taken.add(each.ref.order_id)
        found = await _settle_round(conn, [each for _, each in now], desk)
        views |= {place: found.get(each.ref.order_id) for place, each in now}
        left = later
    return [views[place] for place in range(len(settlements))]


async def _settle_round(
    conn: Connection, settlements: Sequence[Settlement], desk: Desk
) -> dict[OrderId, OrderView | StoredAnswer]:
    """Settle answers about different orders: those that are written as paid, and all others, which are locked."""
    written, paid = await _write_begun(conn, settlements)
    rest = [each for each in settlements if each.ref.order_id not in paid]
    known = {each.ref.order_id: each.known for each in settlements if each.known is not None}
    now: dict[OrderId, OrderState] = {}
    answers: dict[ChargeRef, Answer] = {}
    settled, held = Settled({}, {}, {}), None
    if rest:
        states = await ask_states(conn, (each.ref.order_id for each in rest))
        charges = await payments.ask_charges(conn, (each.ref.order_id for each in rest))
        known |= await _look_up(conn, [each.ref.order_id for each in rest if each.known is None])
        held = await inventory.ask_hold_states(conn, (one.hold.id for one in known.values()))  # all in one order
        now = await read_states(states)
        answers = {each.ref: each.answer for each in rest if each.ref.order_id in now}
        settled = await payments.apply_answers(conn, answers, asked=charges)
    orders = {order_id: known[order_id].order for order_id in (*paid, *now)}
    captured, twice = _captured(answers, settled)
    sold = inventory.StockMoves()
    confirmed = await inventory.confirm_holds(
        conn,
        {orders[order_id].hold_id: order_id for order_id in (*paid, *(ref.order_id for ref in captured))},
        known={one.hold.id: one.hold for one in known.values()},
        asked=held,
        moves=sold,
    )
    moves = _moves(orders, captured, confirmed) | _failures(answers, settled)
    moves = {order_id: state for order_id, state in moves.items() if may_move(now[order_id], state)}
    await move_orders(conn, moves)
    moves |= dict.fromkeys(paid, OrderState.PAID)
    gone = [ref for ref in captured if confirmed[orders[ref.order_id].hold_id] is Confirmation.GONE]
    refunds = [Refund(ref, STOCK_GONE, orders[ref.order_id].total) for ref in gone]
    refunds += [Refund(ref, PAID_TWICE, orders[ref.order_id].total) for ref in twice]
    await payments.record_refunds(conn, refunds)
    views = {
        order_id: view_order(order, _last(settled, order_id), state=moves.get(order_id) or now[order_id])
        for order_id, order in orders.items()
    }
    await payments.mark_applied(
        conn, [each.notice for each in settlements if each.notice is not None and each.ref.order_id in orders]
    )
    told = {OrderState.PAID: "order.paid", OrderState.REFUNDED: "order.refunded"}
    events = [order_event(told[state], orders[order_id], desk) for order_id, state in moves.items() if state in told]
    await write_events(conn, events)
    await sold.apply(conn)
    clear = {each.ref.order_id for each in settlements if _is_outcome(each.ref, settled)}
    finished = await _finish_keys(conn, views, known, clear=clear)
    if finished is not None and written and not written <= {row[0] for row in await finished.fetchall()}:
        raise PendingGone("orders were removed, with their keys, before they were written")
    return views | await _stored_before(conn, settlements, settled)


async def _write_begun(conn: Connection, settlements: Sequence[Settlement]) -> tuple[set[OrderId], set[OrderId]]:
    """Write the orders that these requests have begun and nobody has taken up; returns all, and those that are paid."""
    begun = {each.ref.order_id: each.known.begun for each in settlements if each.known is not None and each.known.begun}
    there = await there_already(conn, [order_id for order_id, each in begun.items() if each.tried])
    pending = {order_id: each.pending for order_id, each in begun.items() if order_id not in there}
    for order_id in pending:
        begun[order_id].tried = True
    captured = {
        each.ref.order_id: each.answer
        for each in settlements
        if each.ref.order_id in pending and payments.pays(each.answer, pending[each.ref.order_id].intent.total)
    }
    await write_pending(conn, pending.values(), captured=captured)
    return set(pending), set(captured)


def _last(settled: Settled, order_id: OrderId) -> Standing | None:
    """How the last attempt at paying an order stands; None of one that was written as paid."""
    standing = settled.standing.get(order_id)
    return standing[-1] if standing else None


async def _look_up(conn: Connection, order_ids: Sequence[OrderId]) -> dict[OrderId, Known]:
    """Orders and holds that nobody in this batch knows."""
    if not order_ids:
        return {}
    orders = await load_orders(conn, order_ids)
    holds = await inventory.load_holds(conn, [order.hold_id for order in orders.values()])
    return {order_id: Known(order, holds[order.hold_id], None) for order_id, order in orders.items()}


def _captured(answers: Mapping[ChargeRef, Answer], settled: Settled) -> tuple[list[ChargeRef], list[ChargeRef]]:
    """Charges that were captured just now, and captures that no order can take."""
    told = [ref for ref, answer in answers.items() if answer.state is ChargeState.CAPTURED]
    first = [ref for ref in told if settled.applied.get(ref) is Applied.CHANGED]
    return first, [ref for ref in told if settled.applied.get(ref) is Applied.CAPTURED_TWICE]


def _moves(
    orders: Mapping[OrderId, Order], captured: Sequence[ChargeRef], confirmed: Mapping[HoldId, Confirmation]
) -> dict[OrderId, OrderState]:
    gone = {hold_id for hold_id, what in confirmed.items() if what is Confirmation.GONE}
    return {
        ref.order_id: OrderState.REFUNDED if orders[ref.order_id].hold_id in gone else OrderState.PAID
        for ref in captured
    }


def _failures(answers: Mapping[ChargeRef, Answer], settled: Settled) -> dict[OrderId, OrderState]:
    """Orders whose payment failed just now, where no other attempt is open or paid."""
    failed = {
        ref.order_id
        for ref, answer in answers.items()
        if answer.state in (ChargeState.FAILED, ChargeState.CANCELLED) and settled.applied.get(ref) is Applied.CHANGED
    }
    hopeful = (*OPEN, ChargeState.CAPTURED)
    return {
        order_id: OrderState.PAYMENT_FAILED
        for order_id in failed
        if not any(charge.state in hopeful for charge in settled.standing[order_id])
    }


def _is_outcome(ref: ChargeRef, settled: Settled) -> bool:
    """Whether it is known how an order's last attempt goes on, and `ref` is that one."""
    last = settled.standing.get(ref.order_id, (None,))[-1]
    return last is not None and last.ref == ref and last.state is not ChargeState.INTENT


async def _finish_keys(
    conn: Connection, views: Mapping[OrderId, OrderView], known: Mapping[OrderId, Known], *, clear: Collection[OrderId]
) -> AskedFinish | None:
    """End the keys that had begun these orders: by name where the request is still there, else by their subject.

    By subject only where the outcome is `clear`: else the request of a later attempt, or one that still waits for its
    provider, would answer otherwise than its key.
    """
    by_key: dict[RequestKey, StoredAnswer] = {}
    by_subject: dict[UUID, StoredAnswer] = {}
    for order_id, view in views.items():
        answer = StoredAnswer(201, order_body(view))
        key = known[order_id].key
        if key is not None:
            by_key[key] = answer
        elif order_id in clear:
            by_subject[order_id] = answer
    asked = await finish_keys(conn, by_key)
    await finish_subjects(conn, by_subject)
    return asked


async def _stored_before(
    conn: Connection, settlements: Sequence[Settlement], settled: Settled
) -> dict[OrderId, StoredAnswer]:
    """The answers of keys that may have been finished before their own request came to settle.

    That is so only where somebody else had an outcome of the attempt before (`_is_outcome`).
    """
    overtaken = {
        each.ref.order_id: each.known.key
        for each in settlements
        if each.known and each.known.key and settled.before.get(each.ref, ChargeState.INTENT) is not ChargeState.INTENT
    }
    claims = await (await look_up(conn, list(overtaken.values()))).claims()
    return {order_id: claim.answer for order_id, claim in zip(overtaken, claims, strict=True) if claim.answer}


def order_event(topic: str, order: Order, desk: Desk) -> Event:
    """What others are told of an order."""
    return Event(
        id=EventId(new_id()),
        topic=topic,
        payload={
            "order_id": order.id,
            "number": order.number,
            "buyer_id": order.buyer_id,
            **_told_goods(order.total, order.discount, order.charges, order.lines),
            "order_url": f"{desk.settings.base_url}/orders/{order.id}",
        },
        personal={"email": order.email, "name": order.address.name} | addresses_document(order),
    )


@lru_cache(maxsize=KEPT_PARTS)
def _told_goods(total: Money, discount: Money, charges: Charges, lines: tuple[BoughtLine, ...]) -> Mapping[str, Any]:
    """What all events of the same goods have in common."""
    return {
        **sum_document(total, discount, charges),
        "lines": [
            {"title": line.title, "sku": line.sku, "quantity": line.quantity, "amount": line.total.amount}
            for line in lines
        ],
    }

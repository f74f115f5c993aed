"""Express purchases: hold, order and payment in one request, with the guarantees of doing it in two."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tidegate import inventory
from tidegate.checkout.contracts import Address, OrderForm, OrderState, OrderView
from tidegate.checkout.ordering import Replay, Started, begin, check_wish, record_started, repeated, start
from tidegate.checkout.orders import Order, ask_numbers, read_numbers
from tidegate.checkout.rules import check_lines
from tidegate.checkout.shop import Desk, Shop
from tidegate.checkout.wishes import Allotted, Wish, allot, stored_refusal
from tidegate.inventory import Hold, HoldState
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import KeyRecord, StoredAnswer, record_keys
from tidegate.platform.ids import NO_DROP, NO_VOUCHER, HoldId, OrderId, new_id

NO_HOLD = HoldId(NO_DROP)
"""Stands in an order form for the hold that is still to be made."""


class PurchaseWish(Wish, frozen=True, kw_only=True):
    """A buyer's wish to buy `lines` at once. `provider` and `method` as in `OrderForm`."""

    email: str
    address: Address
    provider: str
    method: str
    billing: Address | None = None

    @property
    def destination(self) -> str:
        """The country of its address."""
        return self.address.country


async def purchase(shop: Shop, wish: PurchaseWish) -> OrderView | Replay:
    """Hold, order and pay all of the wish's lines or none. With a key, a repeat gets the first one's answer.

    Raises: as `open_hold` and `place_order`.
    """
    limits = shop.settings.holds
    check_lines(wish.lines, max_lines=limits.max_lines, max_quantity=limits.max_quantity)
    shop.desk.passes.look_at(wish.admission)
    form = check_wish(
        shop,
        OrderForm(NO_HOLD, wish.email, wish.address, wish.provider, wish.method, wish.shipping_method, wish.billing),
    )
    unchanged = (form.email, form.address, form.billing) == (wish.email, wish.address, wish.billing)
    clean = wish if unchanged else replace(wish, email=form.email, address=form.address, billing=form.billing)

    async def work() -> OrderView | Replay:
        return await begin(shop, lambda: shop.batches.purchases.submit(clean))

    outcome, shared = await shop.twins.once(wish.key, work)
    return repeated(outcome) if shared else outcome


async def settle_purchases(
    conn: Connection, wishes: Sequence[PurchaseWish], *, desk: Desk
) -> list[Started | StoredAnswer | Exception]:
    """Take the stock of a batch of purchases and record their orders, in the caller's transaction; one outcome each."""
    numbers = await ask_numbers(conn, len(wishes))
    order_ids = [OrderId(new_id()) for _ in wishes]
    window_s = desk.settings.holds.payment_window_s
    moves = inventory.StockMoves()
    verdicts = await allot(conn, desk, wishes, ttl_s=window_s, moves=moves, order_ids=order_ids)
    drawn = iter(await read_numbers(numbers, key=desk.number_key))
    outcomes: list[Started | StoredAnswer | Exception] = []
    keys: list[KeyRecord] = []
    for wish, verdict in zip(wishes, verdicts, strict=True):
        if isinstance(verdict, Allotted):
            outcome: Started | StoredAnswer | Exception = _started(desk, wish, verdict, next(drawn), window_s)
        else:
            outcome, answer = verdict, stored_refusal(verdict)
            if wish.key is not None and answer is not None:
                keys.append(KeyRecord(wish.key, answer=answer))
        outcomes.append(outcome)
    keys += await record_started(conn, [outcome for outcome in outcomes if isinstance(outcome, Started)])
    await moves.apply(conn)
    await record_keys(conn, keys)
    return outcomes


def _started(desk: Desk, wish: PurchaseWish, allotted: Allotted, number: str, window_s: int) -> Started:
    request, basket, expires_at = allotted.request, allotted.basket, allotted.granted.expires_at
    assert request.order_id is not None
    order = Order(
        id=request.order_id,
        number=number,
        buyer_id=wish.buyer_id,
        hold_id=request.id,
        state=OrderState.AWAITING_PAYMENT,
        total=basket.total,
        discount=basket.discount,
        email=wish.email,
        address=wish.address,
        pay_until=expires_at,
        seconds_left=window_s,
        created_at=allotted.granted.at,
        lines=basket.lines,
        charges=basket.charges,
        billing=wish.billing,
    )
    hold = Hold(
        id=request.id,
        buyer_id=request.buyer_id,
        drop_id=request.drop.drop_id if request.drop else NO_DROP,
        state=HoldState.ORDERED,
        order_id=request.order_id,
        expires_at=expires_at,
        seconds_left=window_s,
        lines=request.lines,
        voucher_id=request.voucher.voucher_id if request.voucher else NO_VOUCHER,
        discount=request.discount,
    )
    return start(desk, order, hold, wish.key, provider=wish.provider, method=wish.method)

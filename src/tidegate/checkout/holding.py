"""Taking goods out of everyone's reach for a while, and giving them back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from tidegate import inventory
from tidegate.checkout.contracts import AlreadyOrdered, BoughtLine, HoldView, Line
from tidegate.checkout.documents import hold_body
from tidegate.checkout.rules import check_lines, to_pay
from tidegate.checkout.shop import Desk, Shop
from tidegate.checkout.wishes import Allotted, Wish, allot, stored_refusal, title_of
from tidegate.gate.contracts import PassRequired
from tidegate.inventory.contracts import Hold, HoldState
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import KeyRecord, StoredAnswer, record_keys
from tidegate.platform.ids import NO_DROP, HoldId, PersonId
from tidegate.platform.money import Money
from tidegate.platform.problems import NotFound


class HoldWish(Wish, frozen=True):
    """A buyer's wish to hold `lines`."""


class FreshHold(Struct, frozen=True):
    """A hold that was just placed for `ttl_s` seconds, and its document."""

    allotted: Allotted
    ttl_s: int
    answer: StoredAnswer

    @property
    def id(self) -> HoldId:
        """The hold's id."""
        return self.allotted.request.id

    def view(self) -> HoldView:
        """The hold as its buyer sees it."""
        allotted, basket = self.allotted, self.allotted.basket
        return HoldView(
            id=self.id,
            buyer_id=allotted.request.buyer_id,
            state=HoldState.HELD.value,
            expires_at=allotted.granted.expires_at,
            seconds_left=self.ttl_s,
            total=basket.total,
            discount=basket.discount,
            lines=basket.lines,
            drop=basket.drop.slug if basket.drop else None,
            order_id=None,
        )


async def open_hold(
    shop: Shop,
    *,
    buyer_id: PersonId,
    lines: Sequence[Line],
    guest: bool,
    drop: str | None = None,
    admission: str | None = None,
    code: str | None = None,
) -> HoldView:
    """Hold all of `lines` or none, for a page. In a drop with a room it finds the buyer's own pass, if there is one.

    Raises: InvalidRequest, UnknownSku, SoldOut, NotOpen, LimitReached, DropNeedsAccount, PassRequired, PassForeign,
    PassExpired, PassSpent, CodeUnknown, CodeNotValid, CodeUsedUp.
    """
    wish = HoldWish(buyer_id, tuple(lines), drop, admission, code=code, guest=guest)
    try:
        outcome, _ = await settle_hold(shop, wish)
    except PassRequired as problem:
        async with shop.database.connection() as conn:
            own = await shop.desk.passes.own_pass(conn, drop=problem.extra["drop"], buyer_id=buyer_id)
        if own is None:
            raise
        outcome, _ = await settle_hold(shop, replace(wish, admission=own))
    assert isinstance(outcome, FreshHold), "a wish without a key has no stored answer"
    return outcome.view()


async def settle_hold(shop: Shop, wish: HoldWish) -> tuple[FreshHold | StoredAnswer, bool]:
    """Settle one wish with whatever batch it lands in; whether it is a repeat. Raises: as `open_hold`, KeyReused."""
    holds = shop.settings.holds
    check_lines(wish.lines, max_lines=holds.max_lines, max_quantity=holds.max_quantity)
    shop.desk.passes.look_at(wish.admission)
    outcome, shared = await shop.twins.share(wish.key, lambda: shop.batches.holds.submit(wish))
    return outcome, shared or isinstance(outcome, StoredAnswer)


async def settle_holds(
    conn: Connection, wishes: Sequence[HoldWish], *, desk: Desk
) -> list[FreshHold | StoredAnswer | Exception]:
    """Settle a batch of wishes in the caller's transaction; one outcome each, in the same order.

    Decisions are stored as answers; refusals that a later moment may change (not open yet, unknown SKU) are not.
    """
    ttl_s = desk.settings.holds.ttl_s
    outcomes: list[FreshHold | StoredAnswer | Exception] = []
    records: list[KeyRecord] = []
    moves = inventory.StockMoves()
    expiry = _Expiry()
    for wish, verdict in zip(wishes, await allot(conn, desk, wishes, ttl_s=ttl_s, moves=moves), strict=True):
        answer: StoredAnswer | None
        if isinstance(verdict, Allotted):
            expires_at, members = expiry.text(verdict.granted.expires_at), verdict.basket.members
            answer = StoredAnswer(201, hold_body(verdict.request.id, expires_at=expires_at, members=members))
            outcomes.append(FreshHold(verdict, ttl_s, answer))
        else:
            answer = stored_refusal(verdict)
            outcomes.append(verdict)
        if wish.key is not None and answer is not None:
            records.append(KeyRecord(wish.key, answer=answer))
    await moves.apply(conn)
    await record_keys(conn, records)
    return outcomes


async def find_hold(shop: Shop, *, buyer_id: PersonId, hold_id: HoldId) -> HoldView:
    """The buyer's hold, whatever became of it. Raises: NotFound, also for another buyer's."""
    async with shop.database.connection() as conn:
        hold = (await inventory.load_holds(conn, [hold_id])).get(hold_id)
        if hold is None or hold.buyer_id != buyer_id:
            raise NotFound("there is no such hold")
        return await view_hold(conn, shop, hold)


async def live_hold_in(shop: Shop, *, buyer_id: PersonId, drop: str) -> HoldView | None:
    """The buyer's live hold in a drop, to lead them back to it."""
    async with shop.database.connection() as conn:
        for hold in await inventory.live_holds(conn, buyer_id=buyer_id):
            view = await view_hold(conn, shop, hold)
            if view.drop == drop:
                return view
    return None


async def give_up(shop: Shop, *, buyer_id: PersonId, hold_id: HoldId) -> None:
    """Give a hold back at once; one that has ended stays as it is.

    Raises: NotFound, also for another buyer's; AlreadyOrdered when an order has it.
    """
    async with shop.database.transaction() as conn:
        hold = (await inventory.load_holds(conn, [hold_id])).get(hold_id)
        if hold is None or hold.buyer_id != buyer_id:
            raise NotFound("there is no such hold")
        if not await inventory.release_unordered(conn, [hold_id]):
            hold = (await inventory.load_holds(conn, [hold_id]))[hold_id]  # as it is under the lock
            if hold.state in (HoldState.ORDERED, HoldState.CONFIRMED):
                raise AlreadyOrdered()


async def view_hold(conn: Connection, shop: Shop, hold: Hold) -> HoldView:
    """The hold with its goods' names."""
    terms = await shop.desk.snapshot.variants(conn, [line.variant_id for line in hold.lines])
    slugs = {each.drop.id: each.drop.slug for each in terms.values() if each.drop}
    lines = tuple(
        BoughtLine(
            sku=terms[line.variant_id].sku,
            title=title_of(terms[line.variant_id]),
            quantity=line.quantity,
            unit=line.unit,
            product_slug=terms[line.variant_id].product_slug,
            tax_class=terms[line.variant_id].tax_class,
        )
        for line in hold.lines
    )
    discount = Money(hold.discount, hold.lines[0].unit.currency)
    return HoldView(
        id=hold.id,
        buyer_id=hold.buyer_id,
        state="expired" if hold.live and hold.seconds_left == 0 else hold.state.value,
        expires_at=hold.expires_at,
        seconds_left=hold.seconds_left if hold.live else 0,
        total=to_pay(lines, discount),
        discount=discount,
        lines=lines,
        drop=slugs.get(hold.drop_id) if hold.drop_id != NO_DROP else None,
        order_id=hold.order_id,
    )


class _Expiry:
    """Moments as text; nearly all holds of a batch end at the same one."""

    _moment: datetime | None = None
    _text = ""

    def text(self, moment: datetime) -> str:
        if moment is not self._moment:
            self._moment, self._text = moment, moment.isoformat()
        return self._text

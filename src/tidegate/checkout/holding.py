"""Taking goods out of everyone's reach for a while, and giving them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.errors import LockNotAvailable

from tidegate import catalog, inventory
from tidegate.catalog.contracts import DropTerms, Terms
from tidegate.checkout.contracts import AlreadyOrdered, BoughtLine, HoldView, LimitReached, Line, NotOpen, SoldOut
from tidegate.checkout.documents import hold_document, problem_answer
from tidegate.checkout.rules import check_lines, drop_of, priced
from tidegate.checkout.shop import Shop
from tidegate.inventory.contracts import Decision, DropRule, Granted, Hold, HoldRequest, HoldState
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import (
    Claim,
    ClaimState,
    RequestKey,
    StoredAnswer,
    claim_keys,
    finish_keys,
    forget_keys,
)
from tidegate.platform.ids import NO_DROP, HoldId, PersonId, VariantId, new_id
from tidegate.platform.money import total
from tidegate.platform.problems import KeyInFlight, KeyReused, NotFound, Problem


@dataclass(frozen=True, slots=True)
class HoldWish:
    """A buyer's wish to hold `lines`, as it came in."""

    buyer_id: PersonId
    lines: tuple[Line, ...]
    drop: str | None = None
    admission: str | None = None
    key: RequestKey | None = None


HoldOutcome = HoldView | StoredAnswer | Problem
"""A new hold, the answer that the key's first request got, or a refusal."""


async def open_hold(
    shop: Shop,
    *,
    buyer_id: PersonId,
    lines: Sequence[Line],
    drop: str | None = None,
    admission: str | None = None,
) -> HoldView:
    """Hold all of `lines` or none, for a page.

    Raises: InvalidRequest, UnknownSku, SoldOut, NotOpen, LimitReached, PassRequired.
    """
    outcome = await settle_hold(shop, HoldWish(buyer_id, tuple(lines), drop, admission))
    assert not isinstance(outcome, StoredAnswer), "a wish without a key has no stored answer"
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


async def settle_hold(shop: Shop, wish: HoldWish) -> HoldOutcome:
    """Settle one wish in a transaction of its own. Raises: InvalidRequest for lines that no shop can mean."""
    holds = shop.settings.holds
    check_lines(wish.lines, max_lines=holds.max_lines, max_quantity=holds.max_quantity)
    try:
        async with shop.database.transaction() as conn:
            (outcome,) = await settle_holds(conn, shop, [wish])
    except LockNotAvailable:
        raise KeyInFlight() from None
    return outcome


async def settle_holds(conn: Connection, shop: Shop, wishes: Sequence[HoldWish]) -> list[HoldOutcome]:
    """Settle a batch of wishes in the caller's transaction; one outcome each, in the same order.

    Keys first, then inventory's locks. Decisions are stored as answers; refusals that a later moment may change
    (not open yet, unknown SKU) give their keys back.
    """
    claims = iter(await claim_keys(conn, [wish.key for wish in wishes if wish.key]))
    outcomes: list[HoldOutcome | None] = [_from_claim(next(claims)) if wish.key else None for wish in wishes]
    skus = sorted({line.sku for wish in wishes for line in wish.lines})
    terms = await catalog.purchase_terms(conn, skus=skus, currency=shop.settings.currency)
    requests: dict[int, HoldRequest] = {}
    for place, wish in enumerate(wishes):
        if outcomes[place] is None:
            try:
                requests[place] = _request(wish, terms)
            except Problem as problem:
                outcomes[place] = problem
    decisions = await inventory.place_holds(
        conn,
        list(requests.values()),
        ttl_s=shop.settings.holds.ttl_s,
        max_loose_holds=shop.settings.holds.max_live_per_buyer,
    )
    by_variant = {each.variant_id: each for each in terms.values()}
    for (place, request), decision in zip(requests.items(), decisions, strict=True):
        outcomes[place] = _outcome(request, decision, by_variant, shop.settings.holds.ttl_s)
    settled = [outcome for outcome in outcomes if outcome is not None]
    assert len(settled) == len(wishes)
    await _keep_answers(conn, wishes, settled)
    return settled


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
        if not await inventory.release_unordered(conn, [hold_id]) and hold.state in (
            HoldState.ORDERED,
            HoldState.CONFIRMED,
        ):
            raise AlreadyOrdered()


async def view_hold(conn: Connection, shop: Shop, hold: Hold) -> HoldView:
    """The hold with its goods' names."""
    terms = await catalog.variant_terms(
        conn, variant_ids=[line.variant_id for line in hold.lines], currency=shop.settings.currency
    )
    slugs = {each.drop.id: each.drop.slug for each in terms.values() if each.drop}
    lines = tuple(
        BoughtLine(
            sku=terms[line.variant_id].sku,
            title=_title(terms[line.variant_id]),
            quantity=line.quantity,
            unit=line.unit,
            product_slug=terms[line.variant_id].product_slug,
        )
        for line in hold.lines
    )
    currency = hold.lines[0].unit.currency
    return HoldView(
        id=hold.id,
        buyer_id=hold.buyer_id,
        state="expired" if hold.live and hold.seconds_left == 0 else hold.state.value,
        expires_at=hold.expires_at,
        seconds_left=hold.seconds_left if hold.live else 0,
        total=total((line.total for line in lines), currency),
        lines=lines,
        drop=slugs.get(hold.drop_id) if hold.drop_id != NO_DROP else None,
        order_id=hold.order_id,
    )


def _title(terms: Terms) -> str:
    return f"{terms.title}, {terms.options_text}" if terms.options_text else terms.title


def _from_claim(claim: Claim) -> HoldOutcome | None:
    match claim.state:
        case ClaimState.NEW:
            return None
        case ClaimState.ANSWERED:
            assert claim.answer is not None
            return claim.answer
        case ClaimState.REUSED:
            return KeyReused()
        case _:
            return KeyInFlight()


def _request(wish: HoldWish, terms: dict[str, Terms]) -> HoldRequest:
    lines = priced(wish.lines, terms)
    drop = drop_of(wish.lines, terms, named=wish.drop, admission=wish.admission)
    return HoldRequest(HoldId(new_id()), wish.buyer_id, lines, _rule(drop))


def _rule(drop: DropTerms | None) -> DropRule | None:
    return None if drop is None else DropRule(drop.id, drop.opens_at, drop.per_buyer)


def _outcome(
    request: HoldRequest, decision: Decision, by_variant: dict[VariantId, Terms], ttl_s: int
) -> HoldView | Problem:
    match decision:
        case Granted():
            return _fresh_view(request, decision, by_variant, ttl_s)
        case inventory.SoldOut():
            wanted = by_variant[decision.variant_id]
            words = f"{_title(wanted)} is sold out" if decision.left == 0 else f"only {decision.left} are left"
            return SoldOut(f"{words}; nothing was held and nothing was charged", sku=wanted.sku, left=decision.left)
        case inventory.NotYetOpen():
            opens_at = decision.opens_at.isoformat()
            return NotOpen(f"this drop opens at {opens_at}; try again then", opens_at=opens_at)
        case inventory.OverLimit(quota=quota, live_hold_id=live):
            if live is not None:
                return LimitReached(
                    "you have a hold in this drop already: order it or give it up first", hold_id=str(live)
                )
            return LimitReached(f"one person may have {quota} in this drop, and you have {decision.used}")
        case inventory.TooManyHolds(limit=limit):
            return LimitReached(f"you have {limit} holds open: order or give up one of them first")


def _fresh_view(request: HoldRequest, granted: Granted, by_variant: dict[VariantId, Terms], ttl_s: int) -> HoldView:
    lines = tuple(
        BoughtLine(
            sku=by_variant[line.variant_id].sku,
            title=_title(by_variant[line.variant_id]),
            quantity=line.quantity,
            unit=line.unit,
            product_slug=by_variant[line.variant_id].product_slug,
        )
        for line in request.lines
    )
    drop = by_variant[request.lines[0].variant_id].drop
    return HoldView(
        id=request.id,
        buyer_id=request.buyer_id,
        state=HoldState.HELD.value,
        expires_at=granted.expires_at,
        seconds_left=ttl_s,
        total=total((line.total for line in lines), request.lines[0].unit.currency),
        lines=lines,
        drop=drop.slug if drop else None,
        order_id=None,
    )


async def _keep_answers(conn: Connection, wishes: Sequence[HoldWish], outcomes: Sequence[HoldOutcome]) -> None:
    answers: dict[RequestKey, StoredAnswer] = {}
    unanswered: list[RequestKey] = []
    for wish, outcome in zip(wishes, outcomes, strict=True):
        if wish.key is None or isinstance(outcome, StoredAnswer | KeyInFlight | KeyReused):
            continue
        if isinstance(outcome, HoldView):
            answers[wish.key] = StoredAnswer(201, hold_document(outcome))
        elif isinstance(outcome, SoldOut | LimitReached):
            answers[wish.key] = problem_answer(outcome)
        else:
            unanswered.append(wish.key)
    await finish_keys(conn, answers)
    await forget_keys(conn, unanswered)

"""Who gets stock: decisions without I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from tidegate.inventory.contracts import (
    BuyerUse,
    Decision,
    Granted,
    Hold,
    HoldRequest,
    HoldState,
    LimitKey,
    NotYetOpen,
    OverLimit,
    PassOver,
    PassUsed,
    SoldOut,
    TooManyHolds,
    VoucherNotNow,
    VoucherSpent,
)
from tidegate.platform.ids import ANYONE, PersonId, PlaceId, VariantId

FIRST = frozenset({HoldState.HELD, HoldState.ORDERED})
"""How a hold begins: an express purchase's is its order's from the first moment."""

TRANSITIONS: Mapping[HoldState, frozenset[HoldState]] = {
    HoldState.HELD: frozenset({HoldState.ORDERED, HoldState.RELEASED, HoldState.EXPIRED}),
    HoldState.ORDERED: frozenset({HoldState.CONFIRMED, HoldState.RELEASED}),
    HoldState.CONFIRMED: frozenset({HoldState.RELEASED}),  # a paid order was cancelled: its items are not sold
    HoldState.RELEASED: frozenset({HoldState.CONFIRMED}),  # paid after all, and there was stock to take again
    HoldState.EXPIRED: frozenset(),  # nobody ordered it, so nobody pays for it
}
"""Every move that a hold may make. Its time alone ends one that nobody ordered; an ordered one ends with its order."""

UNUSED = BuyerUse(0, None)


def may_move(old: HoldState, new: HoldState) -> bool:
    """Whether a hold may go from `old` to `new`."""
    return new in TRANSITIONS[old]


def allocate(
    requests: Sequence[HoldRequest],
    *,
    free: Mapping[VariantId, int],
    uses: Mapping[LimitKey, BuyerUse],
    loose_holds: Mapping[PersonId, int],
    max_loose_holds: int,
    now: datetime,
    ttl: timedelta,
    spent: Collection[PlaceId] = (),
) -> list[Decision]:
    """Decide on requests in order of arrival; a basket gets all its lines or none.

    `free`: items available per variant. `uses`: what was taken of the limits that requests fall under. `loose_holds`:
    live holds outside drops per buyer. `spent`: places whose passes were used. None of them is changed.
    One decision per request, in the same order.
    """
    left = dict(free)
    used = dict(uses)
    loose = dict(loose_holds)
    gone = set(spent)
    expires_at = now + ttl
    decisions: list[Decision] = []
    for request in requests:
        decision = _refusal(request, left, used, loose, max_loose_holds, now, gone)
        if decision is None:
            decision = Granted(request.id, expires_at, now)
            _take(request, left, used, loose, gone)
        decisions.append(decision)
    return decisions


def retake(late: Sequence[Hold], *, free: Mapping[VariantId, int], room: Mapping[LimitKey, int]) -> list[Hold]:
    """Which ended holds of orders that were paid after all get their stock again, in order of age.

    `room` says how much each limit still allows; holds outside drops and without vouchers need none.
    """
    left = dict(free)
    allowed = dict(room)
    retaken = []
    for hold in late:
        fits = all(allowed.get(key, 0) >= quantity for key, quantity, _ in hold.taken)
        if fits and all(left.get(line.variant_id, 0) >= line.quantity for line in hold.lines):
            for line in hold.lines:
                left[line.variant_id] -= line.quantity
            for key, quantity, _ in hold.taken:
                allowed[key] -= quantity
            retaken.append(hold)
    return retaken


def _refusal(
    request: HoldRequest,
    left: Mapping[VariantId, int],
    used: Mapping[LimitKey, BuyerUse],
    loose: Mapping[PersonId, int],
    max_loose_holds: int,
    now: datetime,
    gone: set[PlaceId],
) -> Decision | None:
    too_soon_or_late = _not_now(request, now, gone)
    if too_soon_or_late is not None:
        return too_soon_or_late
    for take in request.takes:
        use = used.get(take.key, UNUSED)
        if (take.live and use.live_hold_id is not None) or use.used + take.quantity > take.quota:
            if take.live:
                return OverLimit(request.id, take.quota, use.used, use.live_hold_id)
            return VoucherSpent(request.id, own=take.key[1] != ANYONE)
    if request.drop is None and loose.get(request.buyer_id, 0) >= max_loose_holds:
        return TooManyHolds(request.id, max_loose_holds)
    for line in request.lines:
        if left.get(line.variant_id, 0) < line.quantity:
            return SoldOut(request.id, line.variant_id, max(left.get(line.variant_id, 0), 0))
    return None


def _not_now(request: HoldRequest, now: datetime, gone: set[PlaceId]) -> Decision | None:
    """What opens later, or has ended: the drop, the pass, the voucher."""
    if request.drop is not None and now < request.drop.opens_at:
        return NotYetOpen(request.id, request.drop.opens_at)
    if request.admission is not None:
        if request.admission.place_id in gone:
            return PassUsed(request.id)
        if now >= request.admission.ends_at:
            return PassOver(request.id, request.admission.ends_at)
    if request.voucher is not None:
        starts_at, ends_at = request.voucher.starts_at, request.voucher.ends_at
        if starts_at is not None and now < starts_at:
            return VoucherNotNow(request.id, starts_at=starts_at)
        if ends_at is not None and now >= ends_at:
            return VoucherNotNow(request.id, ended_at=ends_at)
    return None


def _take(
    request: HoldRequest,
    left: dict[VariantId, int],
    used: dict[LimitKey, BuyerUse],
    loose: dict[PersonId, int],
    gone: set[PlaceId],
) -> None:
    if request.admission is not None:
        gone.add(request.admission.place_id)
    for line in request.lines:
        left[line.variant_id] -= line.quantity
    for take in request.takes:
        known = used.get(take.key, UNUSED)
        used[take.key] = BuyerUse(known.used + take.quantity, request.id if take.live else None)
    if request.drop is None:
        loose[request.buyer_id] = loose.get(request.buyer_id, 0) + 1


def items_per_variant(of: Iterable[HoldRequest | Hold]) -> dict[VariantId, int]:
    """Items of each variant in all lines of requests or holds."""
    items: dict[VariantId, int] = {}
    for each in of:
        for line in each.lines:
            items[line.variant_id] = items.get(line.variant_id, 0) + line.quantity
    return items

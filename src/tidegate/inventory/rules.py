"""Who gets stock: decisions without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tidegate.inventory.contracts import (
    BuyerUse,
    Decision,
    Granted,
    Hold,
    HoldRequest,
    NotYetOpen,
    OverLimit,
    SoldOut,
    TooManyHolds,
)
from tidegate.platform.ids import NO_DROP, DropId, HoldId, PersonId, VariantId

BuyerRule = tuple[DropId, PersonId]


def allocate(
    requests: Sequence[HoldRequest],
    *,
    free: Mapping[VariantId, int],
    uses: Mapping[BuyerRule, BuyerUse],
    loose_holds: Mapping[PersonId, int],
    max_loose_holds: int,
    now: datetime,
    ttl: timedelta,
) -> list[Decision]:
    """Decide on requests in order of arrival; a basket gets all its lines or none.

    `free`: items available per variant. `uses`: what buyers have used of their drops' quotas. `loose_holds`: live
    holds outside drops per buyer. None of them is changed. One decision per request, in the same order.
    """
    left = dict(free)
    used = dict(uses)
    loose = dict(loose_holds)
    decisions: list[Decision] = []
    for request in requests:
        decision = _decide(request, left, used, loose, max_loose_holds, now, now + ttl)
        decisions.append(decision)
        if isinstance(decision, Granted):
            for line in request.lines:
                left[line.variant_id] -= line.quantity
            if request.drop is None:
                loose[request.buyer_id] = loose.get(request.buyer_id, 0) + 1
            else:
                rule = (request.drop.drop_id, request.buyer_id)
                known = used.get(rule, BuyerUse(0, None))
                used[rule] = BuyerUse(known.used + request.quantity, request.id)
    return decisions


def retake(late: Sequence[Hold], *, free: Mapping[VariantId, int], room: Mapping[BuyerRule, bool]) -> list[Hold]:
    """Which ended holds of orders that were paid after all get their stock again, in order of age.

    `room` says where a buyer's limit still allows it; holds outside drops need none.
    """
    left = dict(free)
    retaken = []
    for hold in late:
        allowed = hold.drop_id == NO_DROP or room.get((hold.drop_id, hold.buyer_id), False)
        if allowed and all(left.get(line.variant_id, 0) >= line.quantity for line in hold.lines):
            for line in hold.lines:
                left[line.variant_id] -= line.quantity
            retaken.append(hold)
    return retaken


def _decide(
    request: HoldRequest,
    left: Mapping[VariantId, int],
    used: Mapping[BuyerRule, BuyerUse],
    loose: Mapping[PersonId, int],
    max_loose_holds: int,
    now: datetime,
    expires_at: datetime,
) -> Decision:
    if request.drop is not None:
        if now < request.drop.opens_at:
            return NotYetOpen(request.id, request.drop.opens_at)
        refusal = _over_limit(request, used)
        if refusal is not None:
            return refusal
    elif loose.get(request.buyer_id, 0) >= max_loose_holds:
        return TooManyHolds(request.id, max_loose_holds)
    for line in request.lines:
        if left.get(line.variant_id, 0) < line.quantity:
            return SoldOut(request.id, line.variant_id, max(left.get(line.variant_id, 0), 0))
    return Granted(request.id, expires_at)


def _over_limit(request: HoldRequest, used: Mapping[BuyerRule, BuyerUse]) -> OverLimit | None:
    assert request.drop is not None
    use = used.get((request.drop.drop_id, request.buyer_id), BuyerUse(0, None))
    live: HoldId | None = use.live_hold_id
    if live is None and use.used + request.quantity <= request.drop.per_buyer:
        return None
    return OverLimit(request.id, request.drop.per_buyer, use.used, live)

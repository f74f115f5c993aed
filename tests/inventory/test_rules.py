"""Who gets stock: properties of the decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tidegate.inventory import (
    BuyerUse,
    DropRule,
    Granted,
    HoldLine,
    HoldRequest,
    NotYetOpen,
    OverLimit,
    PassOver,
    PassRule,
    PassUsed,
    SoldOut,
    TooManyHolds,
    VoucherNotNow,
    VoucherRule,
    VoucherSpent,
    summed,
)
from tidegate.inventory.rules import allocate
from tidegate.platform.ids import DropId, HoldId, PersonId, PlaceId, VariantId, VoucherId
from tidegate.platform.money import Money

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
TTL = timedelta(minutes=5)
PENNY = Money(1, "GBP")
VARIANTS = [VariantId(UUID(int=n)) for n in range(1, 4)]
BUYERS = [PersonId(UUID(int=n)) for n in range(1, 5)]
DROP = DropId(UUID(int=77))
VOUCHER = VoucherId(UUID(int=88))

lines = st.dictionaries(st.sampled_from(VARIANTS), st.integers(1, 4), min_size=1).map(
    lambda wanted: tuple(HoldLine(variant, quantity, PENNY) for variant, quantity in wanted.items())
)
rules = st.none() | st.builds(
    DropRule,
    drop_id=st.just(DROP),
    opens_at=st.sampled_from([NOW - timedelta(seconds=1), NOW, NOW + timedelta(milliseconds=1)]),
    per_buyer=st.integers(1, 5),
)
vouchers = st.none() | st.builds(
    VoucherRule,
    voucher_id=st.just(VOUCHER),
    total=st.just(3),
    per_buyer=st.just(2),
    starts_at=st.sampled_from([None, NOW, NOW + timedelta(milliseconds=1)]),
    ends_at=st.sampled_from([None, NOW, NOW + timedelta(milliseconds=1)]),
)
batches = st.lists(st.tuples(st.sampled_from(BUYERS), lines, rules, vouchers), max_size=12).map(
    lambda rows: [HoldRequest(HoldId(UUID(int=1000 + n)), *row) for n, row in enumerate(rows)]
)
stocks = st.dictionaries(st.sampled_from(VARIANTS), st.integers(0, 10))


@given(
    holders=st.lists(st.tuples(st.sampled_from(BUYERS), st.integers(1, 3), st.sampled_from([-1, 0, 1])), max_size=12),
    spent=st.sets(st.integers(1, 3)),
)
def test_a_pass_is_spent_by_one_hold_in_time_and_never_by_what_is_refused(
    holders: list[tuple[PersonId, int, int]], spent: set[int]
) -> None:
    rule = DropRule(DROP, NOW, 100)
    requests = [
        HoldRequest(
            HoldId(UUID(int=1000 + n)),
            buyer,
            (HoldLine(VARIANTS[0], 1, PENNY),),
            rule,
            admission=PassRule(PlaceId(UUID(int=place)), NOW + timedelta(seconds=ends_in_s)),
        )
        for n, (buyer, place, ends_in_s) in enumerate(holders)
    ]
    decisions = allocate(
        requests,
        free={VARIANTS[0]: 2},
        uses={},
        loose_holds={},
        max_loose_holds=3,
        now=NOW,
        ttl=TTL,
        spent={PlaceId(UUID(int=place)) for place in spent},
    )
    gone = set(spent)
    for (_, place, ends_in_s), decision in zip(holders, decisions, strict=True):
        if place in gone:
            assert isinstance(decision, PassUsed)
        elif ends_in_s <= 0:
            assert isinstance(decision, PassOver)
        else:
            assert isinstance(decision, Granted | SoldOut | OverLimit)
            if isinstance(decision, Granted):
                gone.add(place)


def decide(requests: list[HoldRequest], free: dict[VariantId, int], loose: int = 0) -> list[object]:
    return list(
        allocate(
            requests,
            free=free,
            uses={},
            loose_holds=dict.fromkeys(BUYERS, loose),
            max_loose_holds=3,
            now=NOW,
            ttl=TTL,
        )
    )


@given(batches, stocks)
def test_never_more_than_there_is_and_all_or_nothing(requests: list[HoldRequest], free: dict[VariantId, int]) -> None:
    before = dict(free)
    decisions = decide(requests, free)
    assert free == before, "the caller's stock is not changed"
    assert len(decisions) == len(requests)
    taken = dict.fromkeys(VARIANTS, 0)
    for request, decision in zip(requests, decisions, strict=True):
        if isinstance(decision, Granted):
            for line in request.lines:
                taken[line.variant_id] += line.quantity
    assert all(taken[variant] <= free.get(variant, 0) for variant in VARIANTS)


@given(batches, stocks)
def test_nobody_is_told_sold_out_while_there_was_enough(
    requests: list[HoldRequest], free: dict[VariantId, int]
) -> None:
    left = dict(free)
    for request, decision in zip(requests, decide(requests, free), strict=True):
        if isinstance(decision, SoldOut):
            short = next(line for line in request.lines if line.variant_id == decision.variant_id)
            assert left.get(short.variant_id, 0) < short.quantity
            assert decision.left == left.get(short.variant_id, 0)
        if isinstance(decision, Granted):
            assert decision.expires_at == NOW + TTL
            for line in request.lines:
                left[line.variant_id] -= line.quantity


@given(batches, stocks)
def test_limits_and_opening_times_hold_within_a_batch(requests: list[HoldRequest], free: dict[VariantId, int]) -> None:
    granted_in_drop: dict[PersonId, int] = {}
    granted_loose: dict[PersonId, int] = {}
    for request, decision in zip(requests, decide(requests, free), strict=True):
        if not isinstance(decision, Granted):
            continue
        if request.drop is None:
            granted_loose[request.buyer_id] = granted_loose.get(request.buyer_id, 0) + 1
        else:
            assert request.drop.opens_at <= NOW
            assert request.quantity <= request.drop.per_buyer
            granted_in_drop[request.buyer_id] = granted_in_drop.get(request.buyer_id, 0) + 1
    assert all(count == 1 for count in granted_in_drop.values()), "one live hold per buyer and drop"
    assert all(count <= 3 for count in granted_loose.values())


@given(batches, stocks)
def test_a_voucher_is_redeemed_as_often_as_it_may_be_and_in_its_time(
    requests: list[HoldRequest], free: dict[VariantId, int]
) -> None:
    redeemed: dict[PersonId, int] = {}
    for request, decision in zip(requests, decide(requests, free), strict=True):
        rule = request.voucher
        if isinstance(decision, VoucherSpent):
            assert (redeemed.get(request.buyer_id, 0) == 2) if decision.own else (sum(redeemed.values()) == 3)
        if isinstance(decision, VoucherNotNow):
            assert rule is not None
            early, late = rule.starts_at is not None and rule.starts_at > NOW, rule.ends_at == NOW
            assert (decision.starts_at is not None, decision.ended_at is not None) == (early, late and not early)
        if isinstance(decision, Granted) and rule is not None:
            assert (rule.starts_at or NOW) <= NOW
            assert rule.ends_at is None or rule.ends_at > NOW
            redeemed[request.buyer_id] = redeemed.get(request.buyer_id, 0) + 1
    assert sum(redeemed.values()) <= 3
    assert all(count <= 2 for count in redeemed.values())


def test_the_words_of_each_refusal() -> None:
    rule = DropRule(DROP, NOW, 2)
    one = (HoldLine(VARIANTS[0], 1, PENNY),)
    three = (HoldLine(VARIANTS[0], 3, PENNY),)
    free = {VARIANTS[0]: 10}
    early = HoldRequest(HoldId(UUID(int=1)), BUYERS[0], one, DropRule(DROP, NOW + timedelta(seconds=1), 2))
    assert isinstance(decide([early], free)[0], NotYetOpen)
    greedy = HoldRequest(HoldId(UUID(int=2)), BUYERS[0], three, rule)
    assert decide([greedy], free) == [OverLimit(greedy.id, 2, 0, None)]
    first = HoldRequest(HoldId(UUID(int=3)), BUYERS[0], one, rule)
    second = HoldRequest(HoldId(UUID(int=4)), BUYERS[0], one, rule)
    assert decide([first, second], free)[1] == OverLimit(second.id, 2, 1, first.id)
    loose = HoldRequest(HoldId(UUID(int=5)), BUYERS[0], one)
    assert decide([loose], free, loose=3) == [TooManyHolds(loose.id, 3)]
    used = allocate(
        [first],
        free=free,
        uses={(DROP, BUYERS[0]): BuyerUse(2, None)},
        loose_holds={},
        max_loose_holds=3,
        now=NOW,
        ttl=TTL,
    )
    assert used == [OverLimit(first.id, 2, 2, None)]


def test_two_lines_of_one_variant_count_together() -> None:
    twice = summed([HoldLine(VARIANTS[0], 2, PENNY), HoldLine(VARIANTS[1], 1, PENNY), HoldLine(VARIANTS[0], 3, PENNY)])
    assert twice == (HoldLine(VARIANTS[0], 5, PENNY), HoldLine(VARIANTS[1], 1, PENNY))

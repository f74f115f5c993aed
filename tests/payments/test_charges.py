"""Charges on a real database, with real concurrent connections."""

from __future__ import annotations

import asyncio
import random

import pytest
from psycopg.errors import CheckViolation, UniqueViolation
from psycopg.sql import SQL

from tests.payments.makers import applied, intent, loaded, recorded
from tidegate import payments
from tidegate.payments import Answer, Applied, ChargeRef, ChargeState, PaymentInProgress
from tidegate.payments.rules import CAPTURED_TWICE, may_be_method
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio

CAPTURED = Answer(ChargeState.CAPTURED, "pay_1")
FAILED = Answer(ChargeState.FAILED, "pay_1", failure="card_declined")
CANCELLED = Answer(ChargeState.CANCELLED, "pay_1")
ASKS = Answer(ChargeState.REQUIRES_ACTION, "pay_1", action_url="http://pay/1")
WORKING = Answer(ChargeState.INTENT, "pay_1")


def again(ref: ChargeRef, attempt: int = 2) -> ChargeRef:
    return ChargeRef(ref.order_id, attempt)


async def test_an_intent_is_recorded_with_all_that_was_asked(database: Database) -> None:
    wishes = [intent("tok_ok"), intent("hosted", amount=0)]
    await recorded(database, *wishes)
    for wish in wishes:
        charge = await loaded(database, wish.ref)
        assert (charge.intent, charge.state, charge.provider_ref, charge.asked) == (wish, ChargeState.INTENT, None, 0)


async def test_of_many_attempts_at_once_one_is_open(database: Database) -> None:
    wish = intent()
    refs = [again(wish.ref, number) for number in range(1, 9)]
    attempts = (recorded(database, intent(ref=ref)) for ref in refs)
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert results.count(None) == 1
    refused = [problem.refs for problem in results if isinstance(problem, PaymentInProgress)]
    assert refused == [(ref,) for ref, result in zip(refs, results, strict=True) if result is not None]


async def test_a_refused_attempt_leaves_the_rest_of_its_batch(database: Database) -> None:
    busy, free = intent(), intent()
    await recorded(database, busy)
    async with database.transaction() as conn:
        with pytest.raises(PaymentInProgress):
            await payments.record_intents(conn, [intent(ref=again(busy.ref)), free])
    assert (await loaded(database, free.ref)).state is ChargeState.INTENT


async def test_a_paid_order_takes_no_further_attempt(database: Database) -> None:
    wish = intent()
    await recorded(database, wish)
    await applied(database, {wish.ref: CAPTURED})
    with pytest.raises(PaymentInProgress):
        await recorded(database, intent(ref=again(wish.ref)))


@pytest.mark.parametrize(
    ("index", "change"),
    [
        ("charges_one_open", "state = 'intent', settled_at = NULL"),
        ("charges_one_capture", "state = 'captured'"),
    ],
)
async def test_the_database_itself_allows_one(database: Database, index: str, change: str) -> None:
    """Without the locks of `apply_answers`, real transactions race for one order: the index lets one through."""
    wish = intent()
    for number in range(1, 5):
        await recorded(database, intent(ref=again(wish.ref, number)))
        await applied(database, {again(wish.ref, number): FAILED})

    async def force(number: int) -> bool:
        try:
            async with database.transaction() as conn:
                await conn.execute(
                    SQL("UPDATE payments.charges SET {} WHERE order_id = %s AND attempt = %s").format(SQL(change)),
                    (wish.ref.order_id, number),
                )
        except UniqueViolation:
            return False
        return True

    assert sum(await asyncio.gather(*map(force, range(1, 5)))) == 1, index


async def test_the_database_keeps_no_card_number(database: Database) -> None:
    for method in ("4242424242424242", "tok_4242_4242_4242_4242", "4242 4242", ""):
        with pytest.raises(CheckViolation):
            await recorded(database, intent(method))


async def test_the_database_takes_the_methods_that_the_rules_take(database: Database) -> None:
    good = ("hosted", "a", "Z_9", "a" * 128, "tok_12345678901", "tok_1234_5678_901_x_2")
    bad = ("a" * 129, "1a", "_a", "tok-ok", "tok ok", "tok_ok\n", "\ntok_ok", "tök", "tok_٣", "tok_123456789012")
    assert [may_be_method(method) for method in (*good, *bad)] == [True] * len(good) + [False] * len(bad)
    for method in good:
        await recorded(database, intent(method))
    for method in bad:
        with pytest.raises(CheckViolation):
            await recorded(database, intent(method))


async def test_an_answer_is_applied_once(database: Database) -> None:
    for answer in (CAPTURED, FAILED, CANCELLED, ASKS):
        wish = intent()
        await recorded(database, wish)
        assert await applied(database, {wish.ref: answer}) == {wish.ref: Applied.CHANGED}
        assert await applied(database, {wish.ref: answer}) == {wish.ref: Applied.SAME}
        charge = await loaded(database, wish.ref)
        assert (charge.state, charge.provider_ref, charge.action_url) == (answer.state, "pay_1", answer.action_url)


async def test_still_working_keeps_the_providers_reference(database: Database) -> None:
    wish = intent()
    await recorded(database, wish)
    assert await applied(database, {wish.ref: WORKING}) == {wish.ref: Applied.SAME}
    assert (await loaded(database, wish.ref)).provider_ref == "pay_1"


async def test_answers_for_charges_that_never_were_are_left_out(database: Database) -> None:
    stranger = intent().ref
    assert await applied(database, {stranger: CAPTURED}) == {}


async def test_concurrent_answers_change_a_charge_once(database: Database) -> None:
    wish = intent()
    await recorded(database, wish)
    told = [CAPTURED] * 6 + [FAILED] * 3 + [CANCELLED] * 3
    random.Random(7).shuffle(told)
    results = await asyncio.gather(*(applied(database, {wish.ref: answer}) for answer in told))
    captures = [r[wish.ref] for r, answer in zip(results, told, strict=True) if answer is CAPTURED]
    assert captures.count(Applied.CHANGED) == 1
    assert (await loaded(database, wish.ref)).state is ChargeState.CAPTURED


async def test_batches_in_opposite_order_do_not_deadlock(database: Database) -> None:
    wishes = [intent() for _ in range(40)]
    await recorded(database, *wishes)
    refs = [wish.ref for wish in wishes]
    batches = [dict.fromkeys(order, CAPTURED) for order in (refs, refs[::-1], refs[::2], refs[::-3])]
    results = await asyncio.gather(*(applied(database, batch) for batch in batches))
    changes = [ref for result in results for ref, what in result.items() if what is Applied.CHANGED]
    assert sorted(changes) == sorted(refs)


async def test_late_money_of_an_earlier_attempt_is_taken_when_nothing_else_paid(database: Database) -> None:
    wish = intent()
    await recorded(database, wish)
    await applied(database, {wish.ref: FAILED})
    assert await applied(database, {wish.ref: CAPTURED}) == {wish.ref: Applied.CHANGED}
    charge = await loaded(database, wish.ref)
    assert (charge.state, charge.failure) == (ChargeState.CAPTURED, None)


async def test_an_order_paid_twice_keeps_one_capture_and_says_so(database: Database) -> None:
    wish = intent()
    second = again(wish.ref)
    await recorded(database, wish)
    await applied(database, {wish.ref: FAILED})
    await recorded(database, intent(ref=second))
    assert await applied(database, {wish.ref: CAPTURED}) == {wish.ref: Applied.CHANGED}
    assert await applied(database, {second: CAPTURED}) == {second: Applied.CAPTURED_TWICE}
    assert await applied(database, {second: CAPTURED}) == {second: Applied.CAPTURED_TWICE}
    charge = await loaded(database, second)
    assert (charge.state, charge.failure, charge.provider_ref) == (ChargeState.CANCELLED, CAPTURED_TWICE, "pay_1")


async def test_two_captures_of_an_order_in_one_batch(database: Database) -> None:
    wish = intent()
    second = again(wish.ref)
    await recorded(database, wish)
    await applied(database, {wish.ref: CANCELLED})
    await recorded(database, intent(ref=second))
    results = await applied(database, {second: CAPTURED, wish.ref: CAPTURED})
    assert results == {wish.ref: Applied.CHANGED, second: Applied.CAPTURED_TWICE}


async def age(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE payments.charges SET created_at = created_at - interval '1 hour',"
            " next_ask_at = next_ask_at - interval '1 hour'"
        )


async def test_due_charges_are_claimed_once_and_ever_less_often(database: Database) -> None:
    wishes = [intent() for _ in range(30)]
    await recorded(database, *wishes)
    async with database.connection() as conn:
        assert await payments.claim_due(conn, limit=100, after_s=60) == []

    async def claim(number: int) -> list[ChargeRef]:
        async with database.transaction() as conn:
            due = await payments.claim_due(conn, limit=8, after_s=5, draw=lambda: 0.0)
            return [charge.ref for charge in due]

    for pause_s in (2.5, 5, 10, 20, 30, 30):
        await age(database)
        claimed = [ref for refs in await asyncio.gather(*map(claim, range(6))) for ref in refs]
        assert sorted(claimed) == sorted(wish.ref for wish in wishes)
        async with database.connection() as conn:
            rows = await conn.execute(
                "SELECT DISTINCT round(extract(epoch FROM next_ask_at - clock_timestamp()) * 2) / 2"
                " FROM payments.charges"
            )
            assert [float(pause) for (pause,) in await rows.fetchall()] == [pause_s]


async def test_settled_charges_are_not_due(database: Database) -> None:
    wish, other = intent(), intent()
    await recorded(database, wish, other)
    await applied(database, {wish.ref: FAILED, other.ref: ASKS})
    await age(database)
    async with database.transaction() as conn:
        due = await payments.claim_due(conn, limit=10, after_s=5)
    assert [charge.ref for charge in due] == [other.ref]

"""The sandbox as a gateway: one payment per key, and cards that fail in every way."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from tests.payments.makers import SETTINGS, charge, intent, sandbox
from tidegate import payments
from tidegate.payments import ChargeState, OutcomeUnknown, ProviderRefused, UnknownProvider, UnknownToken
from tidegate.payments.sandbox_cards import CARDS
from tidegate.platform.database import Database, open_database
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.settings import DatabaseSettings, PaymentSettings, Settings

pytestmark = pytest.mark.anyio


async def webhooks(database: Database, reference: str) -> list[tuple[str, float]]:
    """Type and delay in seconds of the webhooks that the sandbox means to send about a payment."""
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT w.body::jsonb ->> 'type', round(extract(epoch FROM w.due_at - p.created_at))"
            " FROM payments.sandbox_webhooks w"
            " JOIN payments.sandbox_payments p ON p.id = w.body::jsonb -> 'payment' ->> 'id'"
            " WHERE p.reference = %s",
            (reference,),
        )
        return [(kind, float(delay)) for kind, delay in await rows.fetchall()]


async def test_cards_that_answer_at_once(database: Database) -> None:
    providers = sandbox(database)
    for token, state, failure in (
        ("tok_ok", ChargeState.CAPTURED, None),
        ("tok_slow", ChargeState.CAPTURED, None),
        ("tok_declined", ChargeState.FAILED, "card_declined"),
    ):
        wish = intent(token)
        answer = await payments.call_provider(providers, wish)
        assert (answer.state, answer.failure) == (state, failure)
        assert await payments.ask_provider(providers, charge(wish)) == answer
        assert await webhooks(database, wish.ref.key) == []


async def test_cards_whose_outcome_is_told_later(database: Database) -> None:
    providers = sandbox(database)
    for token, told in (
        ("tok_webhook_twice", [("payment.succeeded", 0.0)] * 2),
        ("tok_webhook_late", [("payment.succeeded", 3_600.0)]),
        ("tok_webhook_never", []),
    ):
        wish = intent(token)
        answer = await payments.call_provider(providers, wish)
        assert answer.state is ChargeState.INTENT
        assert await webhooks(database, wish.ref.key) == told
        found = await payments.ask_provider(providers, charge(wish))
        assert (found.state, found.provider_ref) == (ChargeState.CAPTURED, answer.provider_ref)


async def test_pages_wait_for_the_shopper(database: Database) -> None:
    providers = sandbox(database)
    for method in ("hosted", "tok_confirm"):
        wish = intent(method)
        answer = await payments.call_provider(providers, wish)
        assert answer.state is ChargeState.REQUIRES_ACTION
        assert answer.action_url == f"{SETTINGS.base_url}/sandbox/pay/{answer.provider_ref}"
        assert re.fullmatch("pay_[0-9a-f]{32}", answer.provider_ref)
        assert await payments.call_provider(providers, wish) == answer


async def test_an_answer_that_is_lost_is_there_when_asked_for(database: Database) -> None:
    providers, wish = sandbox(database), intent("tok_error_after_charge")
    with pytest.raises(OutcomeUnknown):
        await payments.call_provider(providers, wish)
    assert (await payments.ask_provider(providers, charge(wish))).state is ChargeState.CAPTURED


async def test_a_key_pays_once_however_often_and_wherever_it_is_sent(settings: Settings) -> None:
    wish = intent()
    async with open_database(settings) as one, open_database(settings) as other:
        calls = [payments.call_provider(sandbox(database), wish) for database in (one, other) * 6]
        answers = await asyncio.gather(*calls)
        async with one.connection() as conn:
            rows = await (await conn.execute("SELECT count(*), sum(amount) FROM payments.sandbox_payments")).fetchone()
    assert len({answer.provider_ref for answer in answers}) == 1
    assert rows == (1, 1_299)


async def test_a_key_with_another_sum_or_card_is_refused(database: Database) -> None:
    providers, wish = sandbox(database), intent()
    await payments.call_provider(providers, wish)
    for other in (intent(ref=wish.ref, amount=1), intent("tok_slow", ref=wish.ref)):
        with pytest.raises(ProviderRefused):
            await payments.call_provider(providers, other)


async def test_what_never_arrived_is_charged_when_asked_for(database: Database) -> None:
    providers, wish = sandbox(database), intent()
    assert (await payments.ask_provider(providers, charge(wish))).state is ChargeState.CAPTURED
    assert (await payments.call_provider(providers, wish)).state is ChargeState.CAPTURED


async def test_what_is_ended_is_never_paid(database: Database) -> None:
    providers = sandbox(database)
    for method in ("hosted", "tok_confirm"):
        wish = intent(method)
        await payments.call_provider(providers, wish)
        for _ in range(2):
            ended = await payments.end_attempt(providers, charge(wish))
            assert (ended.state, ended.failure) == (ChargeState.CANCELLED, "ended_by_shop")
    unseen = intent("tok_ok")
    assert (await payments.end_attempt(providers, charge(unseen))).state is ChargeState.CANCELLED
    assert (await payments.call_provider(providers, unseen)).state is ChargeState.CANCELLED


async def test_a_payment_that_completed_wins_over_its_end(database: Database) -> None:
    providers = sandbox(database)
    for token, state in (("tok_webhook_never", ChargeState.CAPTURED), ("tok_declined", ChargeState.FAILED)):
        wish = intent(token)
        await payments.call_provider(providers, wish)
        assert (await payments.end_attempt(providers, charge(wish))).state is state


async def test_charging_and_ending_at_once_agree(database: Database) -> None:
    providers = sandbox(database)
    for _ in range(10):
        wish = intent()
        paid, ended = await asyncio.gather(
            payments.call_provider(providers, wish), payments.end_attempt(providers, charge(wish))
        )
        assert paid.state is ended.state
        assert paid.state in (ChargeState.CAPTURED, ChargeState.CANCELLED)


async def test_a_provider_that_takes_too_long_leaves_the_outcome_open(database: Database) -> None:
    slow = SETTINGS.model_copy(update={"payments": PaymentSettings(sandbox_slow_s=60, provider_timeout_s=1.0)})
    providers, wish = sandbox(database, slow), intent("tok_slow")
    before = _count("charge", "no_answer")
    with pytest.raises(OutcomeUnknown):
        await payments.call_provider(providers, wish)
    assert _count("charge", "no_answer") == before + 1
    assert (await payments.ask_provider(providers, charge(wish))).state is ChargeState.CAPTURED


async def test_a_provider_that_is_away_leaves_the_outcome_open() -> None:
    nowhere = SETTINGS.model_copy(
        update={
            "database_url": SecretStr(f"postgresql://tidegate@127.0.0.1:{free_port()}/none"),
            "database": DatabaseSettings(pool_wait_s=0.2),
        }
    )
    async with open_database(nowhere) as database:
        with pytest.raises(OutcomeUnknown):
            await payments.call_provider(sandbox(database), intent())


async def test_methods_are_checked_before_anything_is_recorded(database: Database) -> None:
    providers = sandbox(database)
    for method in ("hosted", *CARDS):
        payments.check_method(providers, provider="sandbox", method=method)
    for method in ("tok_unknown", "4242424242424242", "tok_4242424242424242", ""):
        with pytest.raises(UnknownToken) as problem:
            payments.check_method(providers, provider="sandbox", method=method)
        assert problem.value.status == 422
        assert "4242" not in str(problem.value.document())
    with pytest.raises(UnknownProvider):
        payments.check_method(providers, provider="bank", method="hosted")


async def test_only_a_demo_shop_gives_goods_for_no_money(database: Database) -> None:
    real = SETTINGS.model_copy(update={"demo": False})
    assert list(sandbox(database, real)) == []
    with pytest.raises(UnknownProvider):
        await payments.call_provider(sandbox(database, real), intent())


async def test_calls_are_counted_by_outcome(database: Database) -> None:
    providers = sandbox(database)
    before = _count("charge", "failed")
    await payments.call_provider(providers, intent("tok_declined"))
    assert _count("charge", "failed") == before + 1


def _count(call: str, outcome: str) -> float:
    labels = {"provider": "sandbox", "call": call, "outcome": outcome}
    return REGISTRY.get_sample_value("tidegate_payments_provider_calls_total", labels) or 0.0

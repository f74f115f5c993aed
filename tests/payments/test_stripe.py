"""Stripe as a provider, through its SDK, against a simulator of its HTTP API that fails as Stripe can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec.structs import replace as altered

from tests.gateway.faults import Kind
from tests.gateway.server import Gateway
from tests.payments.makers import charge, intent, open_stripe
from tests.waiting import eventually
from tidegate import payments
from tidegate.payments import (
    Charge,
    ChargeIntent,
    ChargeRef,
    ChargeState,
    OutcomeUnknown,
    ProviderRefused,
    Providers,
    Refund,
    RefundState,
    UnknownToken,
)
from tidegate.payments.stripe import KEY_KEPT_S, NEVER_MADE, NO_PAGE
from tidegate.platform.ids import OrderId, new_id
from tidegate.platform.money import Money

pytestmark = pytest.mark.anyio

HOSTED, VISA, DECLINED = "hosted", "pm_card_visa", "pm_card_chargeDeclined"
ASKS, SLOW = "pm_card_authenticationRequired", "pm_usBankAccount_success"


def wish(method: str = VISA, *, ref: ChargeRef | None = None, amount: int = 1_299) -> ChargeIntent:
    return intent(method, ref=ref, amount=amount, provider="stripe")


def told(of: ChargeIntent, provider_ref: str) -> Charge:
    """The charge of an intent of which Stripe's id is known."""
    return replace(charge(of), provider_ref=provider_ref)


@pytest.fixture
async def stripe(gateway: Gateway) -> AsyncIterator[Providers]:
    async with open_stripe(gateway) as providers:
        yield providers


async def test_a_page_is_opened_paid_and_found_paid(gateway: Gateway, stripe: Providers) -> None:
    want = wish(HOSTED)
    answer = await payments.call_provider(stripe, want)
    assert (answer.state, answer.action_url) == (
        ChargeState.REQUIRES_ACTION, f"{gateway.url}/c/pay/{answer.provider_ref}",
    )  # fmt: skip
    session = gateway.ledger.sessions[answer.provider_ref]
    assert (session["amount_total"], session["currency"]) == (1_299, "gbp")
    assert session["success_url"] == session["cancel_url"] == want.return_url
    assert session["client_reference_id"] == session["metadata"]["tidegate_ref"] == want.ref.key
    assert await payments.ask_provider(stripe, told(want, answer.provider_ref)) == answer
    gateway.ledger.pay_session(answer.provider_ref)
    paid = await payments.ask_provider(stripe, told(want, answer.provider_ref))
    assert (paid.state, paid.total) == (ChargeState.CAPTURED, want.total)
    assert [each["id"] for each in gateway.ledger.captures(want.ref.key)] == [paid.provider_ref]
    assert await payments.ask_provider(stripe, told(want, paid.provider_ref)) == paid


async def test_a_card_declined_on_the_page_leaves_it_open_for_another(gateway: Gateway, stripe: Providers) -> None:
    want = wish(HOSTED)
    answer = await payments.call_provider(stripe, want)
    gateway.ledger.pay_session(answer.provider_ref, DECLINED)
    assert await payments.ask_provider(stripe, told(want, answer.provider_ref)) == answer
    gateway.ledger.pay_session(answer.provider_ref)
    assert (await payments.ask_provider(stripe, told(want, answer.provider_ref))).state is ChargeState.CAPTURED


@pytest.mark.parametrize(
    ("method", "state", "failure"),
    [
        (VISA, ChargeState.CAPTURED, None),
        (DECLINED, ChargeState.FAILED, "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", ChargeState.FAILED, "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", ChargeState.FAILED, "expired_card"),
        (ASKS, ChargeState.REQUIRES_ACTION, None),
        (SLOW, ChargeState.INTENT, None),
    ],
)
async def test_payment_methods_answer_as_their_bank_does(
    gateway: Gateway, stripe: Providers, method: str, state: ChargeState, failure: str | None
) -> None:
    want = wish(method)
    answer = await payments.call_provider(stripe, want)
    assert (answer.state, answer.failure) == (state, failure)
    assert answer.total == (want.total if state is ChargeState.CAPTURED else None)
    assert (answer.action_url is not None) == (state is ChargeState.REQUIRES_ACTION)
    for _ in range(2):
        assert await payments.call_provider(stripe, want) == answer
        assert await payments.ask_provider(stripe, charge(want)) == answer
        assert await payments.ask_provider(stripe, told(want, answer.provider_ref)) == answer
    assert len(gateway.ledger.payments) == 1


@pytest.mark.parametrize(("succeed", "state"), [(True, ChargeState.CAPTURED), (False, ChargeState.FAILED)])
async def test_what_the_bank_asked_the_shopper_is_found_out(
    gateway: Gateway, stripe: Providers, succeed: bool, state: ChargeState
) -> None:
    want = wish(ASKS)
    answer = await payments.call_provider(stripe, want)
    gateway.ledger.authenticate(answer.provider_ref, succeed=succeed)
    # Also by one who never heard Stripe's id, though its key still answers as on the first day.
    for known in (told(want, answer.provider_ref), charge(want)):
        found = await payments.ask_provider(stripe, known)
        assert found.state is state
        assert found.failure == (None if succeed else "payment_intent_authentication_failure")


@pytest.mark.parametrize(
    "method", ["", "tok_ok", "pm_", "PM_CARD", "card_4242", "4242424242424242", "pm_4242424242424242", "hosted "]
)
async def test_nothing_else_is_charged(gateway: Gateway, stripe: Providers, method: str) -> None:
    with pytest.raises(UnknownToken):
        payments.check_method(stripe, provider="stripe", method=method)
    assert gateway.api.requests == {}


@pytest.mark.parametrize("method", [HOSTED, VISA])
@pytest.mark.parametrize("kind", [Kind.RATE_LIMIT, Kind.ERROR, Kind.RESET, Kind.ERROR_AFTER, Kind.LOST])
async def test_no_answer_leaves_it_open_and_asking_brings_it_to_one_payment(
    gateway: Gateway, stripe: Providers, method: str, kind: Kind
) -> None:
    want = wish(method)
    gateway.faults.add(kind, times=2)  # also for the SDK's own second try
    with pytest.raises(OutcomeUnknown):
        await payments.call_provider(stripe, want)
    gateway.faults.faults.clear()
    found = await payments.ask_provider(stripe, charge(want))
    assert found.state is (ChargeState.REQUIRES_ACTION if method == HOSTED else ChargeState.CAPTURED)
    assert await payments.ask_provider(stripe, told(want, found.provider_ref)) == found
    assert len(gateway.ledger.sessions if method == HOSTED else gateway.ledger.captures(want.ref.key)) == 1


async def test_a_broken_connection_is_tried_again_at_once(gateway: Gateway, stripe: Providers) -> None:
    want = wish()
    gateway.faults.add(Kind.LOST)
    assert (await payments.call_provider(stripe, want)).state is ChargeState.CAPTURED
    assert len(gateway.ledger.captures(want.ref.key)) == 1


async def test_an_answer_that_comes_too_late_is_no_answer(gateway: Gateway) -> None:
    want = wish()
    async with open_stripe(gateway, provider_timeout_s=1.0) as stripe:
        gateway.faults.add(Kind.STALL, delay_s=20)
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await payments.call_provider(stripe, want)
        assert time.monotonic() - began < 15
        assert (await payments.ask_provider(stripe, charge(want))).state is ChargeState.CAPTURED
    assert len(gateway.ledger.captures(want.ref.key)) == 1


async def test_twins_at_the_same_moment_pay_once(gateway: Gateway, stripe: Providers) -> None:
    want = wish()
    gateway.faults.add(Kind.LATENCY, delay_s=0.05)
    twins = await asyncio.gather(*(payments.call_provider(stripe, want) for _ in range(6)), return_exceptions=True)
    assert all(isinstance(each, OutcomeUnknown) or each.state is ChargeState.CAPTURED for each in twins)  # type: ignore[union-attr]
    assert (await payments.ask_provider(stripe, charge(want))).state is ChargeState.CAPTURED
    assert len(gateway.ledger.captures(want.ref.key)) == 1


async def test_a_twin_of_a_call_under_way_does_not_know(gateway: Gateway, stripe: Providers) -> None:
    want = wish()
    gateway.faults.add(Kind.LATENCY, delay_s=2.0)
    first = asyncio.create_task(payments.call_provider(stripe, want))
    await eventually(lambda: want.ref.key in gateway.api.keys)
    with pytest.raises(OutcomeUnknown):
        await payments.ask_provider(stripe, charge(want))
    assert (await first).state is ChargeState.CAPTURED


async def test_a_key_used_for_another_sum_is_refused(gateway: Gateway, stripe: Providers) -> None:
    want = wish()
    await payments.call_provider(stripe, want)
    with pytest.raises(ProviderRefused):
        await payments.call_provider(stripe, wish(ref=want.ref, amount=1_300))
    assert gateway.ledger.taken() == 1_299


async def test_a_call_that_is_a_bug_or_has_a_wrong_key_is_refused(gateway: Gateway, stripe: Providers) -> None:
    with pytest.raises(ProviderRefused, match="resource_missing"):
        await payments.call_provider(stripe, wish("pm_unknown"))
    gateway.api.api_key = "sk_test_rolled"
    with pytest.raises(ProviderRefused, match="401"):
        await payments.call_provider(stripe, wish())
    assert not gateway.ledger.payments


async def test_a_key_that_answers_500_for_ever_is_searched_past(gateway: Gateway, stripe: Providers) -> None:
    taken, lost = wish(), wish()
    for want, kind in ((taken, Kind.ERROR_AFTER), (lost, Kind.ERROR)):
        gateway.faults.add(kind, stored=True)
        with pytest.raises(OutcomeUnknown):
            await payments.call_provider(stripe, want)
    found = await payments.ask_provider(stripe, charge(taken))
    assert (found.state, found.total) == (ChargeState.CAPTURED, taken.total)
    assert await payments.end_attempt(stripe, charge(taken)) == found
    with pytest.raises(OutcomeUnknown):  # the search may not have heard of it yet
        await payments.ask_provider(stripe, charge(lost))
    with pytest.raises(OutcomeUnknown):
        await payments.end_attempt(stripe, charge(lost))
    async with open_stripe(gateway, now=lambda: time.time() + 3_600) as later:
        assert await payments.end_attempt(later, charge(taken)) == found
        ended = await payments.end_attempt(later, charge(lost))
        assert (ended.state, ended.failure) == (ChargeState.CANCELLED, NEVER_MADE)
    assert len(gateway.ledger.captures()) == 1


async def test_a_page_lost_to_a_stored_500_makes_room_for_another(gateway: Gateway, stripe: Providers) -> None:
    want = wish(HOSTED)
    gateway.faults.add(Kind.ERROR_AFTER, stored=True)
    with pytest.raises(OutcomeUnknown):
        await payments.call_provider(stripe, want)
    answer = await payments.ask_provider(stripe, charge(want))
    assert (answer.state, answer.failure) == (ChargeState.FAILED, NO_PAGE)


async def test_a_page_lost_before_a_setting_changed_makes_room_for_another(gateway: Gateway, stripe: Providers) -> None:
    want = wish(HOSTED)
    gateway.faults.add(Kind.LOST, times=2)
    with pytest.raises(OutcomeUnknown):
        await payments.call_provider(stripe, want)
    async with (
        open_stripe(gateway, stripe_session_minutes=40) as other,
        open_stripe(gateway, stripe_session_minutes=40, now=lambda: time.time() + 3_600) as later,
    ):
        answer = await payments.ask_provider(other, charge(want))
        assert (answer.state, answer.failure) == (ChargeState.FAILED, NO_PAGE)
        ended = await payments.end_attempt(later, charge(want))
        assert (ended.state, ended.failure) == (ChargeState.CANCELLED, NEVER_MADE)


async def test_a_key_that_may_be_forgotten_is_never_used_again(gateway: Gateway, stripe: Providers) -> None:
    paid, unseen = wish(), wish()
    gateway.faults.add(Kind.LOST, times=2)
    with pytest.raises(OutcomeUnknown):
        await payments.call_provider(stripe, paid)
    gateway.ledger.ahead_s = 2 * 86_400
    async with open_stripe(gateway, now=lambda: time.time() + KEY_KEPT_S + 60) as later:
        for call in (payments.ask_provider, payments.end_attempt):
            assert (await call(later, charge(paid))).state is ChargeState.CAPTURED
            assert (await call(later, charge(unseen))).state is ChargeState.CANCELLED
            assert (await call(later, charge(wish(HOSTED)))).state is ChargeState.CANCELLED
    assert len(gateway.ledger.payments) == 1
    assert not gateway.ledger.sessions


@pytest.mark.parametrize(
    ("method", "state"),
    [
        (HOSTED, ChargeState.CANCELLED),
        (ASKS, ChargeState.CANCELLED),
        (VISA, ChargeState.CAPTURED),
        (DECLINED, ChargeState.FAILED),
        (SLOW, ChargeState.INTENT),
    ],
)
async def test_an_ended_attempt_is_not_paid_any_more(
    gateway: Gateway, stripe: Providers, method: str, state: ChargeState
) -> None:
    """Whether Stripe's id was heard or not, and however often."""
    for heard in (True, False):
        want = wish(method)
        answer = await payments.call_provider(stripe, want)
        known = told(want, answer.provider_ref) if heard and not answer.state.settled else charge(want)
        for _ in range(2):
            ended = await payments.end_attempt(stripe, known)
            assert ended.state is state
        assert len(gateway.ledger.captures(want.ref.key)) == (state is ChargeState.CAPTURED)
    statuses = {each["status"] for each in [*gateway.ledger.sessions.values(), *gateway.ledger.payments.values()]}
    assert not statuses & {"open", "requires_action"}


@pytest.mark.parametrize("method", [HOSTED, VISA])
async def test_ending_what_never_arrived_charges_nobody_and_shuts_the_door(
    gateway: Gateway, stripe: Providers, method: str
) -> None:
    want = wish(method)
    for _ in range(2):
        assert (await payments.end_attempt(stripe, charge(want))).state is ChargeState.CANCELLED
    if method == HOSTED:
        late = await payments.call_provider(stripe, want)
        assert gateway.ledger.sessions[late.provider_ref]["status"] == "expired"
    else:
        with pytest.raises(ProviderRefused):
            await payments.call_provider(stripe, want)
    assert not gateway.ledger.captures()


async def test_a_page_that_cannot_be_opened_any_more_is_over(gateway: Gateway, stripe: Providers) -> None:
    want = wish(HOSTED)
    gateway.ledger.ahead_s = 2 * 3_600
    ended = await payments.end_attempt(stripe, charge(want))
    assert (ended.state, ended.failure) == (ChargeState.CANCELLED, NEVER_MADE)


async def test_ending_a_page_that_was_paid_finds_the_money(gateway: Gateway, stripe: Providers) -> None:
    want = wish(HOSTED)
    answer = await payments.call_provider(stripe, want)
    gateway.ledger.pay_session(answer.provider_ref)
    for known in (told(want, answer.provider_ref), charge(want)):
        ended = await payments.end_attempt(stripe, known)
        assert (ended.state, ended.total) == (ChargeState.CAPTURED, want.total)


async def test_a_slow_payment_on_a_page_keeps_its_stock_until_the_bank_has_spoken(
    gateway: Gateway, stripe: Providers
) -> None:
    for succeed, state in ((True, ChargeState.CAPTURED), (False, ChargeState.FAILED)):
        want = wish(HOSTED)
        answer = await payments.call_provider(stripe, want)
        gateway.ledger.pay_session(answer.provider_ref, SLOW)
        known = told(want, answer.provider_ref)
        assert (await payments.ask_provider(stripe, known)).state is ChargeState.INTENT
        assert (await payments.end_attempt(stripe, known)).state is ChargeState.INTENT
        gateway.ledger.finish_processing(
            gateway.ledger.sessions[answer.provider_ref]["payment_intent"], succeed=succeed
        )
        assert (await payments.end_attempt(stripe, known)).state is state


async def test_money_that_a_human_gave_back_does_not_pay_an_order(gateway: Gateway, stripe: Providers) -> None:
    want = wish()
    answer = await payments.call_provider(stripe, want)
    gateway.ledger.create_refund({"payment_intent": answer.provider_ref})
    found = await payments.ask_provider(stripe, told(want, answer.provider_ref))
    assert (found.state, found.total) == (ChargeState.FAILED, None)


async def refund(stripe: Providers, refund: Refund, provider_ref: str) -> payments.RefundAnswer:
    return await stripe.call("stripe", "refund", lambda it: it.refund(refund, provider_ref=provider_ref), outcome=str)


@pytest.mark.parametrize("method", [HOSTED, VISA])
async def test_refunds_give_back_once(gateway: Gateway, stripe: Providers, method: str) -> None:
    want = wish(method)
    answer = await payments.call_provider(stripe, want)
    if method == HOSTED:
        gateway.ledger.pay_session(answer.provider_ref)
    back = Refund(want.ref, "stock-gone", want.total)
    gateway.faults.add(Kind.LOST, path="/v1/refunds", times=2)
    with pytest.raises(OutcomeUnknown):
        await refund(stripe, back, answer.provider_ref)
    answers = [await refund(stripe, back, answer.provider_ref) for _ in range(2)]
    gateway.ledger.ahead_s = 2 * 86_400  # the key is forgotten, the refund is not
    answers.append(await refund(stripe, back, answer.provider_ref))
    assert {each.state for each in answers} == {RefundState.DONE}
    assert len({each.provider_ref for each in answers}) == len(gateway.ledger.refunds) == 1
    assert gateway.ledger.taken() == 0


async def test_a_refund_that_takes_days_or_fails_is_told_so(gateway: Gateway, stripe: Providers) -> None:
    want = wish()
    answer = await payments.call_provider(stripe, want)
    back = Refund(want.ref, "stock-gone", want.total)
    done = await refund(stripe, back, answer.provider_ref)
    for status, state in (
        ("pending", RefundState.INTENT), ("failed", RefundState.FAILED),
    ):  # fmt: skip
        gateway.ledger.finish_refund(done.provider_ref, status=status)
        assert (await refund(stripe, back, answer.provider_ref)).state is state


async def test_money_that_is_gone_already_is_not_given_back_again(gateway: Gateway, stripe: Providers) -> None:
    want = wish()
    answer = await payments.call_provider(stripe, want)
    gateway.ledger.create_refund({"payment_intent": answer.provider_ref})
    gone = await refund(stripe, Refund(want.ref, "stock-gone", want.total), answer.provider_ref)
    assert (gone.state, gone.failure) == (RefundState.FAILED, "charge_already_refunded")
    unpaid = await payments.call_provider(stripe, wish(HOSTED))
    never = await refund(stripe, Refund(ChargeRef(OrderId(new_id()), 1), "x", want.total), unpaid.provider_ref)
    assert never.state is RefundState.FAILED
    with pytest.raises(ProviderRefused):
        await refund(stripe, Refund(want.ref, "more", Money(1, "GBP")), "pi_unknown")


@pytest.mark.parametrize(
    ("total", "at_stripe"),
    [
        (Money(500, "JPY"), 500), (Money(5, "ISK"), 500), (Money(7, "UGX"), 700), (Money(1_230, "KWD"), 1_230),
        (Money(1_299, "EUR"), 1_299), (Money(12, "XPF"), 12), (Money(3, "IQD"), 300),
    ],
)  # fmt: skip
async def test_sums_cross_in_each_currencys_own_units(
    gateway: Gateway, stripe: Providers, total: Money, at_stripe: int
) -> None:
    want = altered(wish(), total=total)
    answer = await payments.call_provider(stripe, want)
    assert [each["amount"] for each in gateway.ledger.captures()] == [at_stripe]
    assert answer.total == total
    back = await refund(stripe, Refund(want.ref, "x", total), answer.provider_ref)
    assert back.state is RefundState.DONE
    assert gateway.ledger.taken(total.currency.lower()) == 0


async def test_a_sum_that_stripe_cannot_take_exactly_is_refused(gateway: Gateway, stripe: Providers) -> None:
    for total in (Money(1_234, "KWD"), Money(1_234, "LYD")):
        with pytest.raises(ProviderRefused):
            await payments.call_provider(stripe, altered(wish(), total=total))
    assert gateway.api.requests == {}


async def test_calls_go_through_the_proxy_of_the_environment_and_past_it_where_it_says_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        async with open_stripe(gateway) as through:
            with pytest.raises(OutcomeUnknown):
                await payments.call_provider(through, wish())
        assert asked
        assert all(line.startswith(f"POST {gateway.url}/v1/payment_intents ".encode()) for line in asked)
        asked.clear()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with open_stripe(gateway) as past:
            assert (await payments.call_provider(past, wish())).state is ChargeState.CAPTURED
        assert asked == []

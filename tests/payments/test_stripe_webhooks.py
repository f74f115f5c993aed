"""Stripe's webhooks: who is believed, and what they say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.gateway.hooks import signed
from tests.gateway.server import Gateway
from tests.payments.makers import intent, open_stripe
from tidegate import payments
from tidegate.payments import BadSignature, ChargeState, Provider, Providers
from tidegate.payments.stripe_signatures import check_signature, sign, split_secrets
from tidegate.platform.problems import MalformedBody

pytestmark = pytest.mark.anyio

EVENT = {"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {}}}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEW, OLD = "whsec_new", "whsec_old"


@pytest.fixture
async def stripe(gateway: Gateway) -> AsyncIterator[Providers]:
    async with open_stripe(gateway, stripe_webhook_secrets=SecretStr(f" {NEW} , {OLD},")) as providers:
        yield providers


@pytest.fixture
def provider(stripe: Providers) -> Provider:
    return stripe["stripe"]


def believed(provider: Provider, headers: dict[str, str], body: bytes) -> bool:
    try:
        return provider.verify(headers, body, now=NOW) == "evt_1"
    except BadSignature:
        return False


@pytest.mark.parametrize(
    ("secrets", "fits"),
    [([NEW], True), ([OLD], True), (["whsec_strange", OLD], True), ([NEW, OLD], True), (["whsec_strange"], False)],
)
async def test_secrets_may_be_rolled_on_either_side(provider: Provider, secrets: list[str], fits: bool) -> None:
    headers, body = signed(EVENT, secrets=secrets, at=NOW.timestamp())
    assert believed(provider, headers, body) is fits


@pytest.mark.parametrize(("ago_s", "fits"), [(0, True), (299, True), (301, False), (-299, True), (-301, False)])
async def test_only_late_signatures_are_believed(provider: Provider, ago_s: int, fits: bool) -> None:
    headers, body = signed(EVENT, secrets=[NEW], at=NOW.timestamp() - ago_s)
    assert believed(provider, headers, body) is fits


async def test_forgeries_are_not_believed(provider: Provider) -> None:
    headers, body = signed(EVENT, secrets=[NEW], at=NOW.timestamp())
    good = headers["Stripe-Signature"]
    moment = str(int(NOW.timestamp()))
    assert believed(provider, {"STRIPE-signature": good}, body)
    assert not believed(provider, headers, body + b" ")
    forged = [
        "", "t=", "v1=", f"t={moment}", good.replace("v1=", "v0="), good.replace(f"t={moment}", f"t={int(moment) + 1}"),
        good.replace(f"t={moment},", ""), f"t={moment},v1=", f"t={moment},v1={'0' * 64}", f"t=١٢٣,v1={'0' * 64}",
        f"{good},{'x' * 4_096}", f"t={moment},v1=é",
    ]  # fmt: skip
    for header in forged:
        assert not believed(provider, {"Stripe-Signature": header}, body), header
    assert not believed(provider, {}, body)


async def test_without_a_secret_nobody_is_believed(gateway: Gateway) -> None:
    for nothing in ("", " , "):
        async with open_stripe(gateway, stripe_webhook_secrets=SecretStr(nothing)) as stripe:
            for secret in ("", " "):
                headers, body = signed(EVENT, secrets=[secret], at=NOW.timestamp())
                assert not believed(stripe["stripe"], headers, body)


@given(header=st.text(max_size=200), body=st.binary(max_size=100))
def test_no_header_makes_the_check_fail_otherwise(header: str, body: bytes) -> None:
    with pytest.raises(BadSignature):
        check_signature({"stripe-signature": header}, body, secrets=[NEW], tolerance_s=300, now=NOW)


async def test_a_signed_body_that_is_no_event_is_malformed(provider: Provider) -> None:
    moment = str(int(NOW.timestamp()))
    for body in (b"", b"{}", b"[]", b"\xff", b'{"id": "", "type": "x", "data": {"object": {}}}'):
        header = f"t={moment},v1={sign(body, secret=NEW, moment=moment)}"
        with pytest.raises(MalformedBody):
            provider.verify({"Stripe-Signature": header}, body, now=NOW)


@given(text=st.lists(st.text(alphabet="ab ", max_size=4)))
def test_secrets_of_a_setting_are_bare(text: list[str]) -> None:
    assert split_secrets(",".join(text)) == tuple(each.strip() for each in text if each.strip())


Told = Callable[[str], Any]


@pytest.fixture
def told(gateway: Gateway, provider: Provider) -> Told:
    """What the shop reads in the last event of a kind."""
    return lambda kind: provider.read_event(gateway.webhook(kind)[1])


async def test_events_of_a_page(gateway: Gateway, stripe: Providers, told: Told) -> None:
    want = intent("hosted", provider="stripe")
    page = (await payments.call_provider(stripe, want)).provider_ref
    gateway.ledger.pay_session(page, "pm_card_chargeDeclined")
    assert told("payment_intent.payment_failed") is None  # the page is still open for another card
    gateway.ledger.pay_session(page)
    for kind in ("checkout.session.completed", "payment_intent.succeeded"):
        ref, answer = told(kind)
        assert (ref, answer.state, answer.total) == (want.ref, ChargeState.CAPTURED, want.total)
        assert answer.provider_ref == gateway.ledger.captures()[0]["id"]


@pytest.mark.parametrize(
    ("succeed", "kind", "state"),
    [
        (True, "checkout.session.async_payment_succeeded", ChargeState.CAPTURED),
        (False, "checkout.session.async_payment_failed", ChargeState.FAILED),
    ],
)
async def test_events_of_a_slow_payment_on_a_page(
    gateway: Gateway, stripe: Providers, told: Told, succeed: bool, kind: str, state: ChargeState
) -> None:
    want = intent("hosted", provider="stripe")
    page = (await payments.call_provider(stripe, want)).provider_ref
    session = gateway.ledger.pay_session(page, "pm_usBankAccount_success")
    assert told("checkout.session.completed") is None
    gateway.ledger.finish_processing(session["payment_intent"], succeed=succeed)
    ref, answer = told(kind)
    assert (ref, answer.state) == (want.ref, state)
    assert answer.total == (want.total if succeed else None)


async def test_a_page_that_expired_is_cancelled_and_its_payment_says_nothing(
    gateway: Gateway, stripe: Providers, told: Told
) -> None:
    want = intent("hosted", provider="stripe")
    page = (await payments.call_provider(stripe, want)).provider_ref
    gateway.ledger.pay_session(page, "pm_card_chargeDeclined")
    gateway.ledger.expire_session(page)
    gateway.ledger.cancel_payment(gateway.ledger.sessions[page]["payment_intent"])
    ref, answer = told("checkout.session.expired")
    assert (ref, answer.state) == (want.ref, ChargeState.CANCELLED)
    assert told("payment_intent.canceled") is None


async def test_events_of_payment_methods(gateway: Gateway, stripe: Providers, told: Told) -> None:
    for method, kind, state, failure in (
        ("pm_card_visa", "payment_intent.succeeded", ChargeState.CAPTURED, None),
        ("pm_card_chargeDeclined", "payment_intent.payment_failed", ChargeState.FAILED, "generic_decline"),
    ):
        want = intent(method, provider="stripe")
        answer = await payments.call_provider(stripe, want)
        assert told(kind) == (want.ref, answer)
        assert (answer.state, answer.failure) == (state, failure)
    want = intent("pm_card_authenticationRequired", provider="stripe")
    gateway.ledger.cancel_payment((await payments.call_provider(stripe, want)).provider_ref)
    ref, answer = told("payment_intent.canceled")
    assert (ref, answer.state) == (want.ref, ChargeState.CANCELLED)


async def test_what_is_not_ours_is_nobodys(gateway: Gateway, stripe: Providers, provider: Provider) -> None:
    want = intent("hosted", provider="stripe")
    page = (await payments.call_provider(stripe, want)).provider_ref
    gateway.ledger.pay_session(page)
    session = gateway.ledger.sessions[page]
    strangers: list[tuple[str, dict[str, Any]]] = [
        ("checkout.session.completed", session | {"client_reference_id": None}),
        ("checkout.session.completed", session | {"client_reference_id": "basket-7"}),
        ("checkout.session.completed", session | {"mode": "subscription"}),
        ("payment_intent.succeeded", gateway.ledger.captures()[0] | {"metadata": {}}),
        ("charge.refunded", {"id": "ch_1"}),
        ("customer.created", {}),
    ]
    for kind, about in strangers:
        body = json.dumps({"id": "evt_1", "type": kind, "data": {"object": about}}).encode()
        assert provider.read_event(body) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"\xff\xfe", b'{"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {}}}',
     b'{"id": 7, "type": "x", "data": {"object": {}}}', b"[" * 100_000],
)  # fmt: skip
async def test_a_broken_event_is_malformed(provider: Provider, body: bytes) -> None:
    with pytest.raises(MalformedBody):
        provider.read_event(body)


async def test_an_event_of_an_impossible_sum_is_malformed(gateway: Gateway, stripe: Providers) -> None:
    want = intent(provider="stripe", method="pm_card_visa")
    await payments.call_provider(stripe, want)
    payment = gateway.ledger.captures()[0] | {"currency": "isk", "amount_received": 150}
    body = json.dumps({"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": payment}}).encode()
    with pytest.raises(MalformedBody):
        stripe["stripe"].read_event(body)

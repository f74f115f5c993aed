"""Our reading of Stripe against a simulator that others wrote: what it supports of our calls.

localstripe has no Checkout pages, no idempotency keys and no search, and refuses parameters that it does not know, so
payments are made here by plain requests, as another program would, and looked at, closed and given back by ours.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.payments.makers import SETTINGS, charge, intent
from tidegate import payments
from tidegate.payments import Charge, ChargeState, ProviderRefused, Providers, Refund, RefundState
from tidegate.payments.stripe import StripeProvider
from tidegate.payments.stripe_objects import REFERENCE
from tidegate.platform.money import Money

pytestmark = pytest.mark.anyio

KEY = "sk_test_12345"
ALWAYS_PAYS, DECLINED = "4242424242424242", "4000000000000341"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where localstripe answers, in a process of its own."""
    command = [sys.executable, "-m", "tests.payments.localstripe_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.communicate(timeout=20)


@pytest.fixture
async def stripe(url: str) -> AsyncIterator[Providers]:
    changes = {"stripe_secret_key": SecretStr(KEY), "stripe_api_base": url}
    limits = SETTINGS.payments.model_copy(update=changes)
    providers = Providers(
        [StripeProvider(SETTINGS.model_copy(update={"payments": limits}))], timeout_s=limits.provider_timeout_s
    )
    yield providers
    await providers.close()


async def pay(url: str, card: str, *, confirm: bool = True) -> tuple[int, dict[str, Any]]:
    """What localstripe answers to a payment of 12.99 pounds, with our reference."""
    async with httpx.AsyncClient(base_url=url, auth=(KEY, "")) as other:
        details = {"number": card, "exp_month": 12, "exp_year": 2030, "cvc": "123"}
        form = {"type": "card"} | {f"card[{name}]": value for name, value in details.items()}
        method = (await other.post("/v1/payment_methods", data=form)).json()["id"]
        reference = intent().ref.key
        wanted = {
            "amount": 1_299, "currency": "gbp", "payment_method": method, "confirm": str(confirm).lower(),
            f"metadata[{REFERENCE}]": reference,
        }  # fmt: skip
        made = await other.post("/v1/payment_intents", data=wanted)
        listed = (await other.get("/v1/payment_intents", params={"limit": 100})).json()["data"]
        return made.status_code, next(each for each in listed if each["metadata"].get(REFERENCE) == reference)


def known(payment: dict[str, Any]) -> Charge:
    return replace(charge(intent("pm_card_visa", provider="stripe")), provider_ref=payment["id"])


async def test_what_was_paid_is_read_as_paid_and_given_back_in_parts(url: str, stripe: Providers) -> None:
    status, payment = await pay(url, ALWAYS_PAYS)
    assert (status, payment["status"]) == (200, "succeeded")
    want = known(payment)
    answer = await payments.ask_provider(stripe, want)
    assert (answer.state, answer.total) == (ChargeState.CAPTURED, Money(1_299, "GBP"))
    assert (await payments.end_attempt(stripe, want)).state is ChargeState.CAPTURED
    for reason, amount in (("damaged", 300), ("late", 999)):
        back = Refund(want.ref, reason, Money(amount, "GBP"))
        for _ in range(2):
            given = await give_back(stripe, back, payment["id"])
            assert given.state is RefundState.DONE
    async with httpx.AsyncClient(base_url=url, auth=(KEY, "")) as other:
        refunds = (await other.get("/v1/refunds", params={"payment_intent": payment["id"]})).json()["data"]
    assert sorted(each["amount"] for each in refunds) == [300, 999]


async def test_what_is_not_paid_is_closed_and_stays_closed(url: str, stripe: Providers) -> None:
    _, payment = await pay(url, ALWAYS_PAYS, confirm=False)
    assert payment["status"] == "requires_confirmation"
    for _ in range(2):
        assert (await payments.end_attempt(stripe, known(payment))).state is ChargeState.CANCELLED
    assert (await payments.ask_provider(stripe, known(payment))).state is ChargeState.CANCELLED


async def test_a_declined_card_is_read_as_a_failure(url: str, stripe: Providers) -> None:
    status, payment = await pay(url, DECLINED)
    assert status == 402
    answer = await payments.ask_provider(stripe, known(payment))
    assert (answer.state, answer.failure) == (ChargeState.FAILED, "card_declined")
    assert answer.total is None


async def test_what_is_not_there_is_refused(stripe: Providers) -> None:
    with pytest.raises(ProviderRefused):
        await payments.ask_provider(stripe, known({"id": "pi_unknown"}))


async def give_back(stripe: Providers, refund: Refund, payment_id: str) -> payments.RefundAnswer:
    return await stripe.call("stripe", "refund", lambda it: it.refund(refund, provider_ref=payment_id), outcome=str)

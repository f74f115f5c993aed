"""Stripe in the shopper's pages, and its webhook's address on a whole site."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.gateway.server import Gateway
from tests.payments.makers import stripe_settings
from tests.storefront.conftest import BASE_URL, Reader, Sell, reading, sell, text_of
from tests.storefront.test_pages import hold, order
from tidegate.entrypoints.site import create_app
from tidegate.platform.redaction import known_secrets
from tidegate.platform.settings import PaymentSettings, Settings

pytestmark = pytest.mark.anyio

__all__ = ["sell"]  # a fixture


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


@asynccontextmanager
async def site(settings: Settings) -> AsyncIterator[tuple[Reader, httpx.AsyncClient]]:
    """A reader of a whole site, and a machine that has no session there."""
    app: Any = create_app(settings)
    async with app.app.router.lifespan_context(app.app), reading(app) as client, reading(app) as machine:
        yield Reader(client), machine


async def test_a_shop_that_is_no_demo_leads_to_stripes_page(settings: Settings, gateway: Gateway, sell: Sell) -> None:
    await sell("Red Lamp", price=1299)
    async with site(stripe_settings(gateway, settings, stripe_page_origin=gateway.url)) as (reader, machine):
        checkout = await hold(reader, "red-lamp", "RED-LAMP")
        shown = await reader.get(checkout)
        assert "How do you want to pay?" not in shown.text
        assert f"form-action 'self' {gateway.url};" in shown.headers["content-security-policy"]
        page = await order(reader, checkout)
        session = gateway.ledger.sessions[page.rpartition("/")[2]]
        assert page == session["url"]
        gateway.ledger.pay_session(session["id"])
        headers, body = gateway.webhook("checkout.session.completed")
        for _ in range(2):
            taken = await machine.post("/api/v1/payments/webhooks/stripe", content=body, headers=headers)
            assert taken.status_code == 200
        forged = await machine.post("/api/v1/payments/webhooks/stripe", content=body + b" ", headers=headers)
        assert forged.status_code == 401
        back = session["success_url"].removeprefix(BASE_URL)
        assert text_of(await reader.get(back)).startswith("Paid Thank you.")


async def test_a_demo_with_stripe_lets_the_shopper_choose(settings: Settings, gateway: Gateway, sell: Sell) -> None:
    await sell("Red Lamp", stock=3)
    demo = stripe_settings(gateway, settings.model_copy(update={"demo": True}))
    async with site(demo) as (reader, _):
        checkout = await hold(reader, "red-lamp", "RED-LAMP")
        words = text_of(await reader.get(checkout))
        assert "How do you want to pay? Card, wallet or bank On the page of Stripe. Test payment" in words
        wrong = await reader.send(checkout, checkout, provider="sandbox", email="nobody")
        assert 'value="sandbox" checked' in wrong.text
        pay = await order(reader, checkout, provider="sandbox")
        assert pay.startswith("/sandbox/pay/")
        failed = await reader.send(pay, pay, card="tok_declined", action="pay")
        path = failed.headers["location"].split("?")[0]
        assert "The bank declined the card." in text_of(await reader.get(failed.headers["location"]))
        again = await reader.send(path, f"{path}/pay", provider="stripe")
        assert again.headers["location"] in [each["url"] for each in gateway.ledger.sessions.values()]
        strange = await reader.send("/login", f"{path}/pay", provider="paypal")
        assert strange.status_code == 422


async def test_a_shop_without_a_provider_says_so(settings: Settings, sell: Sell) -> None:
    await sell("Red Lamp")
    async with site(settings) as (reader, _):
        checkout = await hold(reader, "red-lamp", "RED-LAMP")
        shown = await reader.get(checkout)
        assert "This shop takes no payments yet. Nothing can be ordered." in text_of(shown)
        assert "form-action 'self';" in shown.headers["content-security-policy"]
        assert (await reader.send(checkout, checkout)).status_code == 422


def test_a_shop_without_stripe_does_not_load_its_sdk() -> None:
    script = (
        "import sys, tidegate.entrypoints.site, tidegate.entrypoints.scheduler\n"
        "assert not {'stripe', 'requests'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_stripes_secrets_are_known_to_the_redactor() -> None:
    secrets = PaymentSettings(
        stripe_secret_key=SecretStr("sk_test_123"), stripe_webhook_secrets=SecretStr("whsec_new, whsec_old")
    )
    assert {"sk_test_123", "whsec_new", "whsec_old"} <= known_secrets(Settings(payments=secrets))
    assert "sk_test_123" not in repr(secrets)

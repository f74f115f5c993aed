"""What the payment tests make again and again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from pydantic import SecretStr
from standardwebhooks import Webhook

from tests.gateway.server import Gateway
from tidegate import payments
from tidegate.payments import Answer, Charge, ChargeIntent, ChargeRef, ChargeState, Providers
from tidegate.payments.stripe import StripeProvider
from tidegate.platform.database import Database
from tidegate.platform.ids import OrderId, new_id
from tidegate.platform.money import Money
from tidegate.platform.settings import PaymentSettings, SecuritySettings, Settings

SECRET = "whsec_" + "c2FuZGJveC1zZWNyZXQtb2YtdGhlLXRlc3RzISEhISE="

SETTINGS = Settings(
    demo=True,
    payments=PaymentSettings(sandbox_slow_s=0.01, sandbox_late_s=3_600),
    security=SecuritySettings(sandbox_webhook_secret=SecretStr(SECRET)),
)


def intent(
    method: str = "tok_ok", *, ref: ChargeRef | None = None, amount: int = 1_299, provider: str = "sandbox"
) -> ChargeIntent:
    """A wish to be paid for an order, of its own unless `ref` says which."""
    return ChargeIntent(
        ref=ref or ChargeRef(OrderId(new_id()), 1),
        provider=provider,
        method=method,
        total=Money(amount, "GBP"),
        return_url=f"{SETTINGS.base_url}/orders/1",
        description="Order 7K2M-Q0XD",
    )


def charge(of: ChargeIntent, state: ChargeState = ChargeState.INTENT) -> Charge:
    """The charge of an intent as checkout would load it."""
    return Charge(of, state, provider_ref=None, action_url=None, failure=None, asked=0)


async def recorded(database: Database, *intents: ChargeIntent) -> None:
    """Record intents in a transaction of their own."""
    async with database.transaction() as conn:
        await payments.record_intents(conn, intents)


async def applied(database: Database, answers: dict[ChargeRef, Answer]) -> dict[ChargeRef, payments.Applied]:
    """Apply answers in a transaction of their own."""
    async with database.transaction() as conn:
        return dict((await payments.apply_answers(conn, answers)).applied)


async def loaded(database: Database, ref: ChargeRef) -> Charge:
    """The charge as recorded."""
    async with database.connection() as conn:
        found = await payments.load_charges(conn, order_ids=[ref.order_id])
    return next(charge for charge in found[ref.order_id] if charge.ref == ref)


def sandbox(database: Database, settings: Settings = SETTINGS) -> Providers:
    """The sandbox alone."""
    return payments.make_providers(database, settings)


def stripe_settings(gateway: Gateway, base: Settings = SETTINGS, **changes: object) -> Settings:
    """Settings of a shop that takes payments through the simulator of Stripe; `changes` are of `payments`."""
    stripe = {
        "stripe_secret_key": SecretStr(gateway.api.api_key),
        "stripe_webhook_secrets": SecretStr("whsec_gateway"),
        "stripe_api_base": gateway.url,
        "reconcile_after_s": 1,
    }
    return base.model_copy(update={"payments": base.payments.model_copy(update=stripe | changes)})


@asynccontextmanager
async def open_stripe(
    gateway: Gateway, *, now: Callable[[], float] = time.time, **changes: object
) -> AsyncIterator[Providers]:
    """Stripe alone, with the simulator behind it, for the length of a block."""
    settings = stripe_settings(gateway, SETTINGS, **changes)
    providers = Providers([StripeProvider(settings, now=now)], timeout_s=settings.payments.provider_timeout_s)
    try:
        yield providers
    finally:
        await providers.close()


def signed(body: bytes, *, event_id: str = "evt_1", at: datetime | None = None, secret: str = SECRET) -> dict[str, str]:
    """Headers of a webhook as the sandbox would sign it."""
    moment = at or datetime.now(UTC)
    return {
        "Webhook-Id": event_id,
        "Webhook-Timestamp": str(int(moment.timestamp())),
        "Webhook-Signature": Webhook(secret).sign(msg_id=event_id, timestamp=moment, data=body.decode()),
    }

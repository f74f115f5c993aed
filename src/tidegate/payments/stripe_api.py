"""Stripe's API through its SDK: the calls that we make and what their failures mean. Imported where it is used."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

import msgspec
import stripe

from tidegate.payments.contracts import OutcomeUnknown, ProviderRefused
from tidegate.payments.stripe_http import HttpClient
from tidegate.payments.stripe_objects import (
    REFERENCE,
    Balance,
    GivenBack,
    Payment,
    Payments,
    Refunds,
    Refused,
    Session,
)
from tidegate.platform.settings import PaymentSettings

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCreateParams, RefundCreateParams
    from stripe.params.checkout import SessionCreateParams

NETWORK_RETRIES = 1
"""Repeats of a call whose connection broke, by the SDK, under the same key. The reconciler has more patience."""
MOST_FOUND = 10
MOST_REFUNDS = 100

Said = TypeVar("Said")


class Trouble(OutcomeUnknown):
    """Stripe did not answer, or not to the question.

    `replayed`: Stripe has stored this as the answer to the key and will give no other (its keys keep 500s as well).
    """

    def __init__(self, message: str, *, replayed: bool = False) -> None:
        super().__init__(message)
        self.replayed = replayed


class Refusal(ProviderRefused):
    """Stripe refuses the call; `key_reused`: because its key was used for other words before."""

    def __init__(self, message: str, *, code: str | None = None, key_reused: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.key_reused = key_reused


class Decline(Exception):
    """The payment was tried and failed."""

    def __init__(self, told: Refused) -> None:
        super().__init__(told.word)
        self.told = told


class StripeApi:
    """The calls. All of them raise Trouble and Refusal, those that pay also Decline."""

    def __init__(self, limits: PaymentSettings) -> None:
        stripe.enable_telemetry = False  # our timings are no concern of theirs
        base = limits.stripe_api_base.rstrip("/") or stripe.DEFAULT_API_BASE
        self._http = HttpClient(base, timeout_s=limits.provider_timeout_s)
        self._client = stripe.StripeClient(
            limits.stripe_secret_key.get_secret_value(),
            base_addresses={"api": base},
            max_network_retries=NETWORK_RETRIES,
            http_client=self._http,
        ).v1

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()

    async def open_session(self, params: SessionCreateParams, *, key: str) -> Session:
        """Open a page to pay on."""
        return await _said(self._client.checkout.sessions.create_async(params, {"idempotency_key": key}), Session)

    async def session(self, session_id: str) -> Session:
        """A page, with its payment."""
        params: stripe.params.checkout.SessionRetrieveParams = {"expand": ["payment_intent.latest_charge"]}
        return await _said(self._client.checkout.sessions.retrieve_async(session_id, params), Session)

    async def expire_session(self, session_id: str) -> Session:
        """Close an open page."""
        return await _said(self._client.checkout.sessions.expire_async(session_id), Session)

    async def create_payment(self, params: PaymentIntentCreateParams, *, key: str) -> Payment:
        """Make, and with `confirm` pay, a payment."""
        return await _said(self._client.payment_intents.create_async(params, {"idempotency_key": key}), Payment)

    async def payment(self, payment_id: str) -> Payment:
        """A payment, with what it took."""
        params: stripe.params.PaymentIntentRetrieveParams = {"expand": ["latest_charge"]}
        return await _said(self._client.payment_intents.retrieve_async(payment_id, params), Payment)

    async def cancel_payment(self, payment_id: str) -> Payment:
        """Cancel a payment that is not paid."""
        return await _said(self._client.payment_intents.cancel_async(payment_id), Payment)

    async def find_payments(self, reference: str) -> list[Payment]:
        """Payments of one of our references; those of the last minutes may be missing (Stripe's search lags)."""
        query = f'metadata["{REFERENCE}"]:"{reference}"'
        found = self._client.payment_intents.search_async(
            {"query": query, "limit": MOST_FOUND, "expand": ["data.latest_charge"]}
        )
        return (await _said(found, Payments)).data

    async def balance(self) -> Balance:
        """The account's balance, of which only its mode is of use."""
        return await _said(self._client.balance.retrieve_async(), Balance)

    async def refunds_of(self, payment_id: str) -> list[GivenBack]:
        """What was given back of a payment."""
        found = self._client.refunds.list_async({"payment_intent": payment_id, "limit": MOST_REFUNDS})
        return (await _said(found, Refunds)).data

    async def create_refund(self, params: RefundCreateParams, *, key: str) -> GivenBack:
        """Give money back."""
        return await _said(self._client.refunds.create_async(params, {"idempotency_key": key}), GivenBack)


async def _said(call: Awaitable[object], kind: type[Said]) -> Said:
    """What Stripe said, as far as we listen. Raises: Trouble, Refusal, Decline."""
    try:
        answer = await call
    except stripe.CardError as error:
        raise Decline(_refused(error)) from error
    except stripe.StripeError as error:
        raise _meaning(error) from error
    response = getattr(answer, "last_response", None)
    try:
        return msgspec.json.decode(response.body if response else b"", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Trouble(f"Stripe answered in other words than it promised: {error}") from error


def _meaning(error: stripe.StripeError) -> Trouble | Refusal:
    """Only a plain 4xx says that nothing happened; 409 is a twin in flight or a lock, 429 too many calls."""
    status, told = error.http_status, _refused(error)
    words = f"{type(error).__name__} {status} {told.word} {error.request_id or ''}".strip()
    if status is not None and 400 <= status < 500 and status not in (408, 409, 429) and told.code != "rate_limit":
        return Refusal(words, code=told.code, key_reused=told.type == "idempotency_error")
    return Trouble(words, replayed=(error.headers or {}).get("idempotent-replayed") == "true")


def _refused(error: stripe.StripeError) -> Refused:
    body = error.json_body
    read: object = body.get("error") if isinstance(body, dict) else None
    try:
        return msgspec.convert(read, Refused)
    except msgspec.ValidationError:
        return Refused(type="unreadable")

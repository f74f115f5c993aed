"""The sandbox: a payment provider without money, whose cards fail in the ways that real gateways do."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec
from standardwebhooks import Webhook

from tidegate.payments.contracts import (
    Answer,
    BadSignature,
    Charge,
    ChargeIntent,
    ChargeRef,
    ChargeState,
    OutcomeUnknown,
    ProviderRefused,
    Refund,
    RefundAnswer,
    RefundState,
    StaleSignature,
    UnknownToken,
)
from tidegate.payments.sandbox_cards import BY_SHOP, CARDS, HOSTED, Card, PaymentState
from tidegate.payments.sandbox_ledger import (
    Payment,
    RefundImpossible,
    Telling,
    find_by_keys,
    give_back,
    move_payment,
    new_payment_id,
    open_payments,
)
from tidegate.platform.database import Database
from tidegate.platform.money import Money
from tidegate.platform.problems import MalformedBody
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

STATES = {
    PaymentState.OPEN: ChargeState.REQUIRES_ACTION,
    PaymentState.REQUIRES_ACTION: ChargeState.REQUIRES_ACTION,
    PaymentState.SUCCEEDED: ChargeState.CAPTURED,
    PaymentState.FAILED: ChargeState.FAILED,
    PaymentState.CANCELLED: ChargeState.CANCELLED,
}

EVENTS = {
    "payment.succeeded": ChargeState.CAPTURED,
    "payment.failed": ChargeState.FAILED,
    "payment.cancelled": ChargeState.CANCELLED,
}


class EventPayment(msgspec.Struct, frozen=True):
    """The payment that a webhook is about."""

    id: str
    reference: str
    amount: int
    currency: str
    failure: str | None = None


class Event(msgspec.Struct, frozen=True):
    """A webhook's body."""

    type: str
    payment: EventPayment


class SandboxProvider:
    """The sandbox as a `Provider`."""

    name: Literal["sandbox"] = "sandbox"

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._base_url = settings.base_url
        self._limits = settings.payments
        self._secret = settings.security.sandbox_webhook_secret

    def check_method(self, method: str) -> None:
        """Raises: UnknownToken."""
        if method != HOSTED and method not in CARDS:
            raise UnknownToken(
                _("The sandbox does not know that token. Its test tokens begin with tok_, such as tok_ok.")
            )

    async def charge(self, intent: ChargeIntent) -> Answer:
        """Charge a token, or open a pay page. See `Provider.charge`."""
        self.check_method(intent.method)
        card = CARDS.get(intent.method)
        payment, fresh = await self._enter(_payment_for(intent, card), self._telling(card))
        if payment.total != intent.total or payment.method != intent.method:
            raise ProviderRefused(f"{payment.key} was used for another payment")
        if card is None or payment.state is PaymentState.CANCELLED:
            return self._answer(payment)
        if card.loses_answer and fresh:
            raise OutcomeUnknown("the sandbox lost its answer on the way")
        if card.slow and fresh:
            await asyncio.sleep(self._limits.sandbox_slow_s)
        if card.says_processing:
            return Answer(ChargeState.INTENT, payment.id)
        return self._answer(payment)

    async def ask(self, charge: Charge) -> Answer:
        """Say how a charge stands. See `Provider.ask`."""
        async with self._database.connection() as conn:
            found = await find_by_keys(conn, keys=[charge.ref.key])
        payment = found.get(charge.ref.key)
        return await self.charge(charge.intent) if payment is None else self._answer(payment)

    async def end(self, charge: Charge) -> Answer:
        """Close a charge. One that never arrived is entered as cancelled, so that it cannot be charged later."""
        entry = _payment_for(charge.intent, None, state=PaymentState.CANCELLED, failure=BY_SHOP)
        async with self._database.transaction() as conn:
            payment, _ = (await open_payments(conn, [(entry, Telling(times=0))]))[charge.ref.key]
            ended = await move_payment(
                conn,
                payment_id=payment.id,
                was=(PaymentState.OPEN, PaymentState.REQUIRES_ACTION),
                state=PaymentState.CANCELLED,
                failure=BY_SHOP,
                telling=Telling(times=0),
            )
        assert ended is not None
        return self._answer(ended)

    async def refund(self, refund: Refund, *, provider_ref: str) -> RefundAnswer:
        """Give money back, once per key. See `Provider.refund`."""
        try:
            async with self._database.transaction() as conn:
                refund_id, amount = await give_back(conn, payment_id=provider_ref, key=refund.key, total=refund.total)
        except RefundImpossible:
            return RefundAnswer(RefundState.FAILED, "", "not_refundable")
        if amount != refund.total.amount:
            raise ProviderRefused(f"{refund.key} was used for another refund")
        return RefundAnswer(RefundState.DONE, refund_id)

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> str:
        """Check a Standard Webhooks signature. See `Provider.verify`."""
        fields = {name.lower(): value for name, value in headers.items()}
        event_id, signatures = fields.get("webhook-id", ""), fields.get("webhook-signature", "")
        sent_at = _moment(fields.get("webhook-timestamp", ""))
        if not 1 <= len(event_id) <= 255 or sent_at is None or not signatures:
            raise BadSignature("The headers webhook-id, webhook-timestamp and webhook-signature are needed.")
        if abs((now - sent_at).total_seconds()) > self._limits.webhook_tolerance_s:
            raise StaleSignature()
        wanted = self._sign(event_id, sent_at, body)
        if not any(hmac.compare_digest(wanted, given.encode()) for given in signatures.split(" ")[:8]):
            raise BadSignature("The signature does not fit the body.")
        return event_id

    def read_event(self, body: bytes) -> tuple[ChargeRef, Answer] | None:
        """Read a webhook. See `Provider.read_event`."""
        try:
            event = msgspec.json.decode(body, type=Event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedBody("The webhook is not a payment event in JSON.") from error
        ref, state = ChargeRef.parse(event.payment.reference), EVENTS.get(event.type)
        if ref is None or state is None:
            return None
        total = Money(event.payment.amount, event.payment.currency) if state is ChargeState.CAPTURED else None
        return ref, Answer(state, event.payment.id, failure=event.payment.failure, total=total)

    async def close(self) -> None:
        """Nothing to let go of: the database is the shop's. See `Provider.close`."""

    async def _enter(self, payment: Payment, telling: Telling) -> tuple[Payment, bool]:
        async with self._database.transaction() as conn:
            return (await open_payments(conn, [(payment, telling)]))[payment.key]

    def _telling(self, card: Card | None) -> Telling:
        """A card that answers at once needs no webhook; the others tell by webhook, or leave it to be asked."""
        if card is None or not card.says_processing:
            return Telling(times=0)
        return Telling(card.webhooks, self._limits.sandbox_late_s if card.late else 0.0)

    def _answer(self, payment: Payment) -> Answer:
        state = STATES[payment.state]
        page = f"{self._base_url}/sandbox/pay/{payment.id}" if state is ChargeState.REQUIRES_ACTION else None
        total = payment.total if state is ChargeState.CAPTURED else None
        return Answer(state, payment.id, action_url=page, failure=payment.failure, total=total)

    def _sign(self, event_id: str, sent_at: datetime, body: bytes) -> bytes:
        secret = self._secret.get_secret_value()
        if not secret:
            raise BadSignature("This shop has no secret for the sandbox's webhooks.")
        try:
            return Webhook(secret).sign(msg_id=event_id, timestamp=sent_at, data=body.decode()).encode()
        except UnicodeDecodeError:
            raise BadSignature("The signature does not fit the body.") from None


def _payment_for(
    intent: ChargeIntent, card: Card | None, *, state: PaymentState | None = None, failure: str | None = None
) -> Payment:
    return Payment(
        id=new_payment_id(),
        key=intent.ref.key,
        reference=intent.ref.key,
        state=state or (card.state if card else PaymentState.OPEN),
        total=intent.total,
        method=intent.method,
        token=card.token if card else None,
        failure=failure or (card.failure if card else None),
        return_url=intent.return_url,
        description=intent.description,
    )


def _moment(seconds: str) -> datetime | None:
    """The moment that a header's Unix seconds name."""
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 11):
        return None
    return datetime.fromtimestamp(int(seconds), tz=UTC)

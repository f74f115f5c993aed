"""Stripe as a `Provider`: a page of Stripe's by default, or a payment method that a page of one's own made there.

Our reference is the key of every call that makes something, so a call may be repeated as long as Stripe remembers
keys. What is known by Stripe's id is looked at under it; the rest is asked for again under its key, or searched for
by the reference in its metadata once the key may be forgotten.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from tidegate.payments.contracts import (
    Answer,
    Charge,
    ChargeIntent,
    ChargeRef,
    ChargeState,
    OutcomeUnknown,
    ProviderRefused,
    Refund,
    RefundAnswer,
    RefundState,
    UnknownToken,
)
from tidegate.payments.stripe_amounts import ImpossibleAmount, to_stripe
from tidegate.payments.stripe_api import Decline, Refusal, StripeApi, Trouble
from tidegate.payments.stripe_objects import (
    HOSTED,
    KIND,
    REFERENCE,
    REFUND_KEY,
    Payment,
    Session,
    payment_answer,
    read_event,
    read_event_id,
    refund_answer,
    session_answer,
)
from tidegate.payments.stripe_signatures import check_signature, split_secrets
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCreateParams
    from stripe.params.checkout import SessionCreateParams

PAYMENT_METHOD = re.compile(r"pm_[A-Za-z0-9_]{1,125}", re.ASCII)
NEVER_MADE = "never_made"
NO_PAGE = "no_page"
NOT_REFUNDABLE = frozenset(
    {"charge_already_refunded", "charge_disputed", "charge_not_refundable", "refund_disputed_payment"}
)
"""Codes of refusals that say that the money is gone elsewhere; asking again would not help."""

KEY_KEPT_S = 23 * 3_600
"""How long Stripe certainly remembers a key: it promises 24 hours."""
SEARCH_LAG_S = 600
"""After so long Stripe's search knows of a payment; Stripe speaks of a minute."""
SLACK_S = 60
"""For clocks that differ from Stripe's."""
LONGEST_SESSION_S = 86_400
"""A page may live for a day."""


class StripeProvider:
    """Stripe as a `Provider`."""

    name: Literal["stripe"] = "stripe"

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        """`now` answers Unix seconds."""
        self._limits = settings.payments
        self._payable_s = settings.holds.ttl_s + settings.holds.payment_window_s
        self._api = StripeApi(settings.payments)
        self._now = now

    def check_method(self, method: str) -> None:
        """Raises: UnknownToken."""
        if method != HOSTED and PAYMENT_METHOD.fullmatch(method) is None:
            raise UnknownToken(_("Stripe's payment methods begin with pm_. Card numbers are never sent to this shop."))

    async def charge(self, intent: ChargeIntent) -> Answer:
        """Open a page, or charge a payment method. See `Provider.charge`."""
        self.check_method(intent.method)
        if intent.method == HOSTED:
            return _session(await self._api.open_session(self._page(intent), key=intent.ref.key))
        try:
            return _payment(await self._api.create_payment(_confirmed(intent), key=intent.ref.key))
        except Decline as decline:
            made = decline.told.payment_intent
            return Answer(ChargeState.FAILED, made.id if made else "", failure=decline.told.word)

    async def ask(self, charge: Charge) -> Answer:
        """Say how a charge stands. See `Provider.ask`."""
        if charge.provider_ref:
            return await self._look(charge.provider_ref)
        if self._age_s(charge.ref) > KEY_KEPT_S:
            return await self._search(charge)
        try:
            answer = await self.charge(charge.intent)
        except (Trouble, Refusal) as problem:
            if not _is_lost(problem, charge):
                raise
            return await self._after_loss(charge)
        # What was stored under the key may be long past.
        return answer if answer.state.settled or not answer.provider_ref else await self._look(answer.provider_ref)

    async def end(self, charge: Charge) -> Answer:
        """Close a charge. See `Provider.end`."""
        if charge.provider_ref:
            return await self._close(charge.provider_ref)
        if self._age_s(charge.ref) > KEY_KEPT_S:
            return await self._search(charge, close=True)
        try:
            return await (self._end_page(charge) if charge.method == HOSTED else self._end_payment(charge))
        except (Trouble, Refusal) as problem:
            if not _is_lost(problem, charge):
                raise
            return await self._search(charge, close=True)

    async def refund(self, refund: Refund, *, provider_ref: str) -> RefundAnswer:
        """Give money back, once per key. See `Provider.refund`.

        Looks first: a refund may take days at the bank, longer than its key is remembered.
        """
        payment_id = await self._payment_id(provider_ref)
        if payment_id is None:
            return RefundAnswer(RefundState.FAILED, "", "not_refundable")
        amount = to_stripe(refund.total)
        known = [
            made
            for made in await self._api.refunds_of(payment_id)
            if (made.metadata or {}).get(REFUND_KEY) == refund.key
        ]
        try:
            made = (
                known[0]
                if known
                else await self._api.create_refund(
                    {"payment_intent": payment_id, "amount": amount, "metadata": {REFUND_KEY: refund.key}},
                    key=refund.key,
                )
            )
        except Refusal as refusal:
            if refusal.code in NOT_REFUNDABLE:
                return RefundAnswer(RefundState.FAILED, "", refusal.code)
            raise
        if made.amount != amount:
            raise ProviderRefused(f"{refund.key} was used for another refund")
        return refund_answer(made)

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> str:
        """Check Stripe-Signature. See `Provider.verify`."""
        check_signature(
            headers,
            body,
            secrets=split_secrets(self._limits.stripe_webhook_secrets.get_secret_value()),
            tolerance_s=self._limits.webhook_tolerance_s,
            now=now,
        )
        return read_event_id(body)

    def read_event(self, body: bytes) -> tuple[ChargeRef, Answer] | None:
        """Read a webhook. See `Provider.read_event`."""
        return read_event(body)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _look(self, stripe_id: str) -> Answer:
        """How a session or a payment stands."""
        if stripe_id.startswith("cs_"):
            return _session(await self._api.session(stripe_id))
        return _payment(await self._api.payment(stripe_id))

    async def _close(self, stripe_id: str) -> Answer:
        """Close a session or a payment; how it stands where that is too late."""
        try:
            if stripe_id.startswith("cs_"):
                return _session(await self._api.expire_session(stripe_id))
            return _payment(await self._api.cancel_payment(stripe_id))
        except Refusal:
            return await self._look(stripe_id)

    async def _end_page(self, charge: Charge) -> Answer:
        """Close a page whose address never reached us. One that cannot be opened any more never was."""
        try:
            session = await self._api.open_session(self._page(charge.intent), key=charge.ref.key)
        except Refusal as refusal:
            if refusal.key_reused:
                raise
            return Answer(ChargeState.CANCELLED, "", failure=NEVER_MADE)
        return await self._close(session.id)

    async def _end_payment(self, charge: Charge) -> Answer:
        """Close a payment whose answer never reached us, without paying it.

        Its key is used up for a payment that is not confirmed. If Stripe knows other words under that key, the
        payment did arrive, and asking for it again only repeats what became of it.
        """
        try:
            blank = await self._api.create_payment(_described(charge.intent), key=charge.ref.key)
        except Refusal as refusal:
            if not refusal.key_reused:
                raise
        else:
            return await self._close(blank.id)
        answer = await self.charge(charge.intent)
        return answer if answer.state.settled or not answer.provider_ref else await self._close(answer.provider_ref)

    async def _after_loss(self, charge: Charge) -> Answer:
        """What was made under the key is not told any more. Of a page nobody has heard: another one may be opened."""
        found = await self._find(charge)
        if found is not None:
            return found
        if charge.method == HOSTED:
            return Answer(ChargeState.FAILED, "", failure=NO_PAGE)
        raise OutcomeUnknown(f"Stripe does not say what became of {charge.ref.key}")

    async def _search(self, charge: Charge, *, close: bool = False) -> Answer:
        """How a charge stands that can only be searched for. Not found counts once the search must know of it."""
        found = await self._find(charge)
        if found is None:
            if self._age_s(charge.ref) <= self._payable_s + SEARCH_LAG_S:
                raise OutcomeUnknown(f"Stripe may not have found {charge.ref.key} yet")
            return Answer(ChargeState.CANCELLED, "", failure=NEVER_MADE)
        return found if found.state.settled or not close else await self._close(found.provider_ref)

    async def _find(self, charge: Charge) -> Answer | None:
        """By our reference. What was tried on a page and not paid is nothing: its page is gone or unknown."""
        answers = [_payment(payment) for payment in await self._api.find_payments(charge.ref.key)]
        answers.sort(key=lambda answer: (answer.state is ChargeState.CAPTURED, not answer.state.settled), reverse=True)
        if not answers or (
            charge.method == HOSTED and answers[0].state not in (ChargeState.CAPTURED, ChargeState.INTENT)
        ):
            return None
        return answers[0]

    async def _payment_id(self, provider_ref: str) -> str | None:
        if not provider_ref.startswith("cs_"):
            return provider_ref
        return (await self._api.session(provider_ref)).payment_id

    def _page(self, intent: ChargeIntent) -> SessionCreateParams:
        """The same words at every repeat: Stripe compares them."""
        name = intent.description or intent.ref.key
        ends_at = _placed_at_s(intent.ref) + min(
            self._payable_s + self._limits.stripe_session_minutes * 60 + SLACK_S, LONGEST_SESSION_S - SLACK_S
        )
        return {
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": intent.total.currency.lower(),
                        "unit_amount": to_stripe(intent.total),
                        "product_data": {"name": name},
                    },
                }
            ],
            "success_url": intent.return_url,
            "cancel_url": intent.return_url,
            "client_reference_id": intent.ref.key,
            "metadata": {REFERENCE: intent.ref.key},
            "payment_intent_data": {
                "description": name,
                "metadata": {REFERENCE: intent.ref.key, KIND: HOSTED},
            },
            "adaptive_pricing": {"enabled": False},
            "expires_at": ends_at,
        }

    def _age_s(self, ref: ChargeRef) -> float:
        """Age of the order, and so the most that any of its attempts may have."""
        return self._now() - _placed_at_s(ref)


def _is_lost(problem: Trouble | Refusal, charge: Charge) -> bool:
    """Whether Stripe will never tell under this key what was made.

    Either its answer was a 500, which it keeps, or a page was asked for in other words, before a setting changed.
    """
    return problem.replayed if isinstance(problem, Trouble) else problem.key_reused and charge.method == HOSTED


def _described(intent: ChargeIntent) -> PaymentIntentCreateParams:
    return {
        "amount": to_stripe(intent.total),
        "currency": intent.total.currency.lower(),
        "description": intent.description or intent.ref.key,
        "metadata": {REFERENCE: intent.ref.key},
    }


def _confirmed(intent: ChargeIntent) -> PaymentIntentCreateParams:
    return _described(intent) | {
        "payment_method": intent.method,
        "confirm": True,
        "return_url": intent.return_url,
    }


def _placed_at_s(ref: ChargeRef) -> int:
    """When the order was placed, in Unix seconds, as its UUIDv7 says (RFC 9562)."""
    return (ref.order_id.int >> 80) // 1_000


def _payment(payment: Payment) -> Answer:
    try:
        return payment_answer(payment)
    except ImpossibleAmount as error:
        raise OutcomeUnknown(f"Stripe tells of an impossible sum: {error}") from error


def _session(session: Session) -> Answer:
    try:
        return session_answer(session)
    except ImpossibleAmount as error:
        raise OutcomeUnknown(f"Stripe tells of an impossible sum: {error}") from error

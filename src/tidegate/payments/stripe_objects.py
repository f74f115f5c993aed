"""What Stripe says, as far as we listen, and what it means for a charge."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tidegate.payments.contracts import Answer, ChargeRef, ChargeState, RefundAnswer, RefundState
from tidegate.payments.stripe_amounts import ImpossibleAmount, from_stripe
from tidegate.platform.money import Money
from tidegate.platform.problems import MalformedBody

HOSTED = "hosted"
REFERENCE = "tidegate_ref"
KIND = "tidegate_method"
REFUND_KEY = "tidegate_refund"
"""Names in the metadata of what we make at Stripe."""

Read = TypeVar("Read")

EXPIRED = "session_expired"
GIVEN_BACK = "given_back_at_stripe"
NO_WAY_TO_CONFIRM = "authentication_required"
"""Failures that Stripe has no code for."""


class Balance(msgspec.Struct, frozen=True):
    """What the account has; `livemode`: of the key's mode."""

    livemode: bool


class Redirect(msgspec.Struct, frozen=True):
    """Where the shopper confirms."""

    url: str | None = None


class NextAction(msgspec.Struct, frozen=True):
    """What a payment waits for."""

    redirect_to_url: Redirect | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why a payment, or a call, failed."""

    type: str | None = None
    code: str | None = None
    decline_code: str | None = None

    @property
    def word(self) -> str:
        """The most exact code there is."""
        return self.decline_code or self.code or self.type or "declined"


class Took(msgspec.Struct, frozen=True):
    """The charge (Stripe's word) of a payment."""

    id: str
    refunded: bool = False


class Payment(msgspec.Struct, frozen=True):
    """A PaymentIntent."""

    id: str
    status: str
    currency: str
    amount: int
    amount_received: int | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    next_action: NextAction | None = None
    last_payment_error: Failure | None = None
    cancellation_reason: str | None = None
    latest_charge: str | Took | None = None

    @property
    def took(self) -> Money:
        """What a payment that succeeded took. Raises: ImpossibleAmount."""
        return from_stripe(self.amount if self.amount_received is None else self.amount_received, self.currency)


class Session(msgspec.Struct, frozen=True):
    """A Checkout Session: Stripe's page for one payment."""

    id: str
    status: str | None = None
    payment_status: str = ""
    mode: str = ""
    url: str | None = None
    amount_total: int | None = None
    currency: str | None = None
    client_reference_id: str | None = None
    payment_intent: str | Payment | None = None

    @property
    def payment_id(self) -> str | None:
        """Of its PaymentIntent, which exists once the shopper tried to pay."""
        return self.payment_intent.id if isinstance(self.payment_intent, Payment) else self.payment_intent


class Payments(msgspec.Struct, frozen=True):
    """What was found."""

    data: list[Payment]


class GivenBack(msgspec.Struct, frozen=True):
    """A Refund."""

    id: str
    amount: int
    status: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] | None = None


class Refunds(msgspec.Struct, frozen=True):
    """The refunds of a payment."""

    data: list[GivenBack]


class Refused(Failure, frozen=True):
    """What an error's body says; of a declined card with the payment."""

    payment_intent: Payment | None = None


class EventData(msgspec.Struct, frozen=True):
    """What an event is about."""

    object: msgspec.Raw


class Event(msgspec.Struct, frozen=True):
    """A webhook's body."""

    id: str
    type: str
    data: EventData


def payment_answer(payment: Payment) -> Answer:
    """How a payment stands.

    One that a human gave back in full before we heard of it does not pay an order any more.
    Raises: ImpossibleAmount.
    """
    match payment.status:
        case "succeeded" if isinstance(payment.latest_charge, Took) and payment.latest_charge.refunded:
            return Answer(ChargeState.FAILED, payment.id, failure=GIVEN_BACK)
        case "succeeded":
            return Answer(ChargeState.CAPTURED, payment.id, total=payment.took)
        case "requires_action":
            page = payment.next_action.redirect_to_url if payment.next_action else None
            if page is None or not page.url:
                return Answer(ChargeState.FAILED, payment.id, failure=NO_WAY_TO_CONFIRM)
            return Answer(ChargeState.REQUIRES_ACTION, payment.id, action_url=page.url)
        case "requires_payment_method":
            error = payment.last_payment_error
            return Answer(ChargeState.FAILED, payment.id, failure=error.word if error else payment.status)
        case "canceled":
            return Answer(ChargeState.CANCELLED, payment.id, failure=payment.cancellation_reason or "canceled")
        case _:
            return Answer(ChargeState.INTENT, payment.id)


def session_answer(session: Session) -> Answer:
    """How the payment of a page stands. A card declined there is no failure: the shopper may try another one.

    Raises: ImpossibleAmount.
    """
    match session.status:
        case "expired":
            return Answer(ChargeState.CANCELLED, session.id, failure=EXPIRED)
        case "complete" if session.payment_status in ("paid", "no_payment_required"):
            return _paid(session)
        case "complete" if isinstance(session.payment_intent, Payment):
            answer = payment_answer(session.payment_intent)
            return answer if answer.state is not ChargeState.REQUIRES_ACTION else Answer(ChargeState.INTENT, session.id)
        case "open" if session.url:
            return Answer(ChargeState.REQUIRES_ACTION, session.id, action_url=session.url)
        case _:
            return Answer(ChargeState.INTENT, session.id)


def _paid(session: Session) -> Answer:
    payment = session.payment_intent
    if isinstance(payment, Payment) and payment.status == "succeeded":
        return payment_answer(payment)
    if session.amount_total is None or session.currency is None:
        raise ImpossibleAmount(f"{session.id} was paid, and does not say what")
    total = from_stripe(session.amount_total, session.currency)
    return Answer(ChargeState.CAPTURED, session.payment_id or session.id, total=total)


def refund_answer(refund: GivenBack) -> RefundAnswer:
    """How a refund stands."""
    match refund.status:
        case "succeeded":
            return RefundAnswer(RefundState.DONE, refund.id)
        case "failed" | "canceled":
            return RefundAnswer(RefundState.FAILED, refund.id, refund.failure_reason or refund.status)
        case _:
            return RefundAnswer(RefundState.INTENT, refund.id)


def read_event_id(body: bytes) -> str:
    """The id of a verified event. Raises: MalformedBody."""
    event_id = _decode(body, Event).id
    if not 1 <= len(event_id) <= 255:
        raise MalformedBody("The webhook's event has no proper id.")
    return event_id


def read_event(body: bytes) -> tuple[ChargeRef, Answer] | None:
    """What an event says of which attempt; None: not our concern, or nothing new yet. Raises: MalformedBody."""
    event = _decode(body, Event)
    try:
        if event.type.startswith("checkout.session."):
            return _session_event(event.type, _decode(event.data.object, Session))
        if event.type in ("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled"):
            return _payment_event(event.type, _decode(event.data.object, Payment))
    except ImpossibleAmount as error:
        raise MalformedBody(f"The event tells of an impossible sum: {error}") from error
    return None


def _session_event(kind: str, session: Session) -> tuple[ChargeRef, Answer] | None:
    ref = ChargeRef.parse(session.client_reference_id or "")
    if ref is None or session.mode != "payment":
        return None
    match kind.removeprefix("checkout.session."):
        case "completed" | "async_payment_succeeded" if session.payment_status in ("paid", "no_payment_required"):
            return ref, _paid(session)
        case "expired":
            return ref, Answer(ChargeState.CANCELLED, session.id, failure=EXPIRED)
        case "async_payment_failed":
            return ref, Answer(ChargeState.FAILED, session.id, failure="async_payment_failed")
        case _:
            return None


def _payment_event(kind: str, payment: Payment) -> tuple[ChargeRef, Answer] | None:
    """Failures count only where no page is: on a page the shopper may try again until its session says it is over."""
    ref = ChargeRef.parse(payment.metadata.get(REFERENCE, ""))
    if ref is None:
        return None
    if kind == "payment_intent.succeeded":
        return ref, Answer(ChargeState.CAPTURED, payment.id, total=payment.took)
    if payment.metadata.get(KIND) == HOSTED:
        return None
    if kind == "payment_intent.canceled":
        return ref, Answer(ChargeState.CANCELLED, payment.id, failure=payment.cancellation_reason or "canceled")
    error = payment.last_payment_error
    return ref, Answer(ChargeState.FAILED, payment.id, failure=error.word if error else "declined")


def _decode(body: bytes | msgspec.Raw, kind: type[Read]) -> Read:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody("The webhook is not an event of Stripe in JSON.") from error

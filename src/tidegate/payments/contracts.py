"""What others may know of charges, refunds and the providers that carry them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from tidegate.platform.ids import OrderId
from tidegate.platform.money import Money
from tidegate.platform.problems import Problem


class ChargeState(StrEnum):
    """intent -> (requires_action ->) captured | failed | cancelled; `rules.MOVES` is the whole table."""

    INTENT = "intent"
    REQUIRES_ACTION = "requires_action"
    CAPTURED = "captured"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def settled(self) -> bool:
        """Whether the provider has said how the attempt ended."""
        return self not in (ChargeState.INTENT, ChargeState.REQUIRES_ACTION)


class Applied(StrEnum):
    """What an answer did to its charge."""

    CHANGED = "changed"
    """The charge is now in the answer's state, and was not before."""
    SAME = "same"
    """The charge stands as it stood: the answer was seen before, or came too late to matter."""
    CAPTURED_TWICE = "captured_twice"
    """The provider took the money, but another attempt has paid this order: give this one back."""
    OTHER_TOTAL = "other_total"
    """The provider says that it took another sum than was asked for: the charge stands as it stood, and a human must
    look. It is reported every time it is told."""


class RefundState(StrEnum):
    """intent -> done | failed."""

    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"


class ChargeRef(Struct, frozen=True, order=True, cache_hash=True):
    """One attempt to pay an order; attempts count from 1."""

    order_id: OrderId
    attempt: int

    @property
    def key(self) -> str:
        """The provider's idempotency key and our reference there: `ORDERID.ATTEMPT`."""
        return f"{self.order_id}.{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> ChargeRef | None:
        """The ref whose `key` is `text`, or None: a reference that we never gave is nobody's."""
        order_id, dot, attempt = text.partition(".")
        if not dot or len(order_id) != 36 or not (attempt.isascii() and attempt.isdigit() and len(attempt) <= 9):
            return None
        try:
            ref = cls(OrderId(UUID(order_id)), int(attempt))
        except ValueError:
            return None
        return ref if ref.attempt >= 1 and ref.key == text else None


class ChargeIntent(Struct, frozen=True):
    """What a provider is asked for.

    `method` is "hosted" (the shopper pays on the provider's page) or a provider's token, never card data;
    `return_url` is where the provider's page sends the shopper; `description` is shown there (no personal data).
    """

    ref: ChargeRef
    provider: str
    method: str
    total: Money
    return_url: str
    description: str


class FirstAttempt(Struct, frozen=True):
    """The first attempt at paying an order; `captured_as` is the provider's name of it, once it is captured."""

    intent: ChargeIntent
    created_at: datetime
    captured_as: str | None = None


class Answer(Struct, frozen=True):
    """What a provider says of an attempt. INTENT: still working, or does not know yet.

    `action_url` is set with REQUIRES_ACTION, `failure` (the provider's code) with FAILED and CANCELLED, `total` (what
    the provider says it took) with CAPTURED.
    """

    state: ChargeState
    provider_ref: str
    action_url: str | None = None
    failure: str | None = None
    total: Money | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """An attempt as recorded. `asked` counts how often the provider was asked about it since."""

    intent: ChargeIntent
    state: ChargeState
    provider_ref: str | None
    action_url: str | None
    failure: str | None
    asked: int

    @property
    def ref(self) -> ChargeRef:
        """Which attempt of which order."""
        return self.intent.ref

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self.intent.provider

    @property
    def method(self) -> str:
        """How it was to be paid."""
        return self.intent.method

    @property
    def total(self) -> Money:
        """What is or was to be paid."""
        return self.intent.total


class Standing(Struct, frozen=True):
    """How an attempt stands: what a buyer may see of it."""

    ref: ChargeRef
    state: ChargeState
    failure: str | None = None
    action_url: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What answers did to each charge asked about, how it stood before, and how its order's attempts stand now."""

    applied: Mapping[ChargeRef, Applied]
    standing: Mapping[OrderId, tuple[Standing, ...]]
    before: Mapping[ChargeRef, ChargeState]


@dataclass(frozen=True, slots=True)
class Refund:
    """Money to give back. `reason` is a slug such as `sold-out`; an attempt is refunded once per reason."""

    ref: ChargeRef
    reason: str
    total: Money

    @property
    def key(self) -> str:
        """The provider's idempotency key: `ORDERID.ATTEMPT.REASON`."""
        return f"{self.ref.key}.{self.reason}"


@dataclass(frozen=True, slots=True)
class RefundAnswer:
    """What a provider says of a refund. INTENT: still working."""

    state: RefundState
    provider_ref: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedRefund:
    """A refund as recorded; `failure` is the provider's code where it refused."""

    refund: Refund
    state: RefundState
    failure: str | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Captured:
    """The charge that paid an order. `refunded` was given back or is about to be; of it `done` has been."""

    ref: ChargeRef
    total: Money
    refunded: Money
    done: Money

    @property
    def left(self) -> Money:
        """What may still be given back."""
        return Money(self.total.amount - self.refunded.amount, self.total.currency)


@dataclass(frozen=True, slots=True)
class Notice:
    """A webhook that was verified and stored: settle `ref` by `answer`, then `mark_applied`."""

    provider: str
    event_id: str
    ref: ChargeRef
    answer: Answer


class OutcomeUnknown(Exception):
    """The provider did not answer: the call may or may not have had its effect. Ask later; never assume either."""


class ProviderRefused(Exception):
    """The provider refuses the call as it stands (a key reused for another sum): a bug of ours, nothing was charged."""


class UnknownProvider(Problem):
    """This shop does not take payments through that provider."""

    slug = "unknown-provider"
    status = 422


class UnknownToken(Problem):
    """The payment token is not one that this provider gave."""

    slug = "unknown-token"
    status = 422


class PaymentInProgress(Problem):
    """The order is paid, or another payment for it is still open."""

    slug = "payment-in-progress"
    status = 409

    def __init__(self, refs: Sequence[ChargeRef], detail: str = "") -> None:
        """`refs` are the attempts that were not recorded."""
        super().__init__(detail)
        self.refs = tuple(refs)


class BadSignature(Problem):
    """The webhook's signature is missing or wrong."""

    slug = "bad-signature"
    status = 401


class StaleSignature(BadSignature):
    """The webhook was signed too long ago, or in the future: send it again, newly signed."""

    slug = "stale-signature"


class Provider(Protocol):
    """A payment gateway. Every call is safe to repeat: the ref's key is its idempotency key.

    Calls are made while no transaction is open. Raises (all calls): OutcomeUnknown, ProviderRefused.
    """

    @property
    def name(self) -> str:
        """As it stands in `ChargeIntent.provider` and in the webhook's address."""

    def check_method(self, method: str) -> None:
        """Raises: UnknownToken for a method that this provider cannot charge."""

    async def charge(self, intent: ChargeIntent) -> Answer:
        """Take the money, or open a page where the shopper pays."""

    async def ask(self, charge: Charge) -> Answer:
        """Say how it stands. One that never arrived is charged now, under the same key."""

    async def end(self, charge: Charge) -> Answer:
        """Make sure that it will not be paid any more. Answers CAPTURED where it has been paid already."""

    async def refund(self, refund: Refund, *, provider_ref: str) -> RefundAnswer:
        """Give the money back. `provider_ref` is the charge's."""

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> str:
        """The id of the event that the provider itself sent as `body`, lately. Raises: BadSignature, StaleSignature."""

    def read_event(self, body: bytes) -> tuple[ChargeRef, Answer] | None:
        """What a verified webhook says, and of which attempt; None: not our concern. Raises: MalformedBody."""

    async def close(self) -> None:
        """Let go of connections; no call is made afterwards."""

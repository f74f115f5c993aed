"""What others may know of webhooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from tidegate.platform.ids import EventId
from tidegate.platform.problems import Problem

WEBHOOK: Final = "webhook"
"""The channel of deliveries to endpoints; people are reached by `Channel`."""


class WebhookKind(StrEnum):
    """What an endpoint can be told of."""

    ORDER_PAID = "order.paid"
    ORDER_SENT = "order.sent"
    ORDER_PARTLY_REFUNDED = "order.partly_refunded"
    ORDER_REFUNDED = "order.refunded"
    DROP_OPENED = "drop.opened"
    """Followers of a drop or of its collections are told that it is open."""
    PRODUCT_BACK = "product.back"
    """Followers of a product are told that there is something of it again."""
    POST_PUBLISHED = "post.published"
    """Staff wrote to followers."""
    MESSAGE_SENT = "message.sent"
    """Followers are told of anything else."""


OF_APPLICATIONS: Final = (WebhookKind.MESSAGE_SENT, WebhookKind.DROP_OPENED, WebhookKind.PRODUCT_BACK)
"""What an application's endpoint can be told of: its own messages to followers."""

TEST_KIND: Final = "webhook.test"
"""What a test is called; every endpoint takes it."""


class EndpointState(StrEnum):
    """Whether an endpoint is called."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledWhy(StrEnum):
    """Why an endpoint is not called any more."""

    STAFF = "staff"
    GONE = "gone"
    """It answered 410: it wants no more."""
    FAILING = "failing"
    """It answered nothing well for days."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A program that is told of events. `topics`, as kind:key, narrow messages to followers; empty means all of them.

    Times in UTC. `old_secret_until` is when a secret from before a rotation ends. `failures` are in a row, since
    `failing_since`.
    """

    endpoint_id: UUID
    url: str
    description: str
    events: tuple[str, ...]
    topics: tuple[str, ...]
    state: EndpointState
    disabled_why: DisabledWhy | None
    disabled_at: datetime | None
    failures: int
    failing_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime
    application_id: UUID | None = None
    """Whose it is, and of whose messages it is told; None: the staff's, told of all."""


@dataclass(frozen=True, slots=True)
class Keys:
    """An endpoint with the secret that signs what it is told: shown when it is made and when it is rotated."""

    endpoint: Endpoint
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A webhook and what became of it. `state` is pending, sent, failed or suppressed; times in UTC."""

    event_id: EventId
    kind: str
    state: str
    attempts: int
    status_code: int | None
    error: str
    created_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None


class EndpointDiffers(Problem):
    """This Idempotency-Key has made another endpoint; use a new one."""

    slug = "endpoint-differs"
    status = 409


class EndpointsFull(Problem):
    """There are as many active endpoints as there may be."""

    slug = "endpoints-full"
    status = 409


class EndpointDisabled(Problem):
    """This endpoint is disabled; enable it first."""

    slug = "endpoint-disabled"
    status = 409

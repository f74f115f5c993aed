"""What notify's API takes and answers, as a program of an application sees it. Times are in UTC."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec


class Recipient(msgspec.Struct, frozen=True):
    """Somebody to write to. `external_id` is your own id of them: letters, digits and . _ : ~ -

    `locale` is the language to write in (`de`, `pt_BR`), `time_zone` an IANA name. With `has_inbox` messages are kept
    in an inbox, too.
    """

    external_id: str
    email: str
    name: str = ""
    locale: str = ""
    time_zone: str = ""
    has_inbox: bool = False


class Written(msgspec.Struct, frozen=True):
    """How many recipients were new, and how many were known."""

    created: int
    updated: int


class Device(msgspec.Struct, frozen=True):
    """A device of a recipient: `kind` is web_push, android or ios, `token` as its push service gave it.

    `keys` are those of a browser's subscription (auth, p256dh). `id` is there once it is known.
    """

    kind: str
    token: str
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    label: str = ""
    id: uuid.UUID | None = None


class Topic(msgspec.Struct, frozen=True):
    """A topic of yours. Mails say its title to those who may stop them."""

    key: str
    title: str


class Followers(msgspec.Struct, frozen=True):
    """How many followers were added and ended; `unknown` are ids that are of none of your recipients."""

    added: int
    removed: int
    unknown: list[str]


class Told(msgspec.Struct, frozen=True):
    """What was taken on. `recipients` are those named who are told; None where a topic's followers are."""

    id: uuid.UUID
    recipients: int | None
    unknown: list[str]


class Outcome(msgspec.Struct, frozen=True):
    """How many messages stand how: one for each recipient and channel. `over`: nothing is left to do."""

    over: bool
    pending: int
    sent: int
    failed: int
    suppressed: int


class Delivery(msgspec.Struct, frozen=True):
    """A message to one recipient by one channel. `receipts` is what the mail provider said of it afterwards."""

    event_id: uuid.UUID
    recipient_id: uuid.UUID
    external_id: str
    channel: str
    state: str
    attempts: int
    last_error: str
    created_at: datetime
    receipts: list[str]


class Send(msgspec.Struct, frozen=True):
    """A message to a topic's followers and how far it has come. Counts are messages, one per follower and channel.

    `state` is running, paused, cancelled, finished or failed. Of the suppressed, `unwanted` are what nobody wanted and
    `late` what did not matter any more; `doubtful` mails may have come twice. `left_s`: seconds that the rest takes, as
    far as one knows.
    """

    event_id: uuid.UUID
    topic_id: uuid.UUID
    topic: str
    channels: list[str]
    lane: str
    state: str
    begun_at: datetime
    followers: int
    expected: int
    delivered: int
    failed: int
    suppressed: int
    unwanted: int
    late: int
    doubtful: int
    left_s: float | None

    @property
    def over(self) -> bool:
        """Whether nothing more is sent of it."""
        return self.state not in ("running", "paused")


class Preferences(msgspec.Struct, frozen=True):
    """What somebody wants of bulk messages: channels on which nothing is wanted, and quiet hours (`22:00`).

    `time_zone` is an IANA name; empty: that of notify's settings.
    """

    unwanted: list[str] = msgspec.field(default_factory=list)
    time_zone: str = ""
    quiet_from: str | None = None
    quiet_until: str | None = None


class ClassChoice(msgspec.Struct, frozen=True):
    """Channels on which nothing of a class (`bulk`) is wanted. A mandatory one (`transactional`) is always sent."""

    name: str
    mandatory: bool
    unwanted: list[str]


class TopicChoice(msgspec.Struct, frozen=True):
    """By which channels somebody is told of a topic that they follow; None: as of the class bulk."""

    key: str
    title: str
    channels: list[str] | None


class Message(msgspec.Struct, frozen=True):
    """A message in somebody's inbox; `id` is its event."""

    id: uuid.UUID
    subject: str
    body: str
    link: str
    created_at: datetime
    read_at: datetime | None


class Inbox(msgspec.Struct, frozen=True):
    """The newest messages of an inbox, and how many are unread (up to 999). `shown_at` is when that was so."""

    unread: int
    shown_at: datetime
    items: list[Message]
    next: str | None


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that failed for good; `recipient_id` of a webhook is its endpoint."""

    event_id: uuid.UUID
    recipient_id: uuid.UUID
    channel: str
    template: str
    about: str
    attempts: int
    status_code: int | None
    error: str
    created_at: datetime


class OpenedLetter(msgspec.Struct, frozen=True):
    """A dead letter with what it was to say, and the address it was for; empty where it is no mail."""

    letter: DeadLetter
    email: str
    variables: dict[str, Any]


class Webhook(msgspec.Struct, frozen=True):
    """An endpoint that is told of your messages to followers. `state` is active or disabled."""

    id: uuid.UUID
    url: str
    description: str
    events: list[str]
    topics: list[str]
    state: str
    disabled_why: str | None
    failures: int


class WebhookSecret(msgspec.Struct, frozen=True):
    """An endpoint with the secret that signs what it is told (Standard Webhooks), which is told here only."""

    endpoint: Webhook
    secret: str

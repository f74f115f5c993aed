"""What others may know of messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from tidegate.platform.ids import EventId
from tidegate.platform.problems import Problem


class Channel(StrEnum):
    """How a message reaches somebody."""

    EMAIL = "email"
    INBOX = "inbox"


class TopicKind(StrEnum):
    """What can be followed."""

    DROP = "drop"
    """Told once, when it opens."""
    PRODUCT = "product"
    """Told once, when there is something of it again."""
    COLLECTION = "collection"
    """Told whenever one of its drops opens."""
    SHOP = "shop"
    """Told whenever any drop opens."""
    CUSTOM = "custom"
    """An application's own: told of whatever it says."""


ONCE = (TopicKind.DROP, TopicKind.PRODUCT)
"""Kinds of which a follower is told once, and then no more."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Something to be followed. `key` is its address within its kind, `path` its page."""

    kind: TopicKind
    key: str
    title: str
    path: str


@dataclass(frozen=True, slots=True)
class Follow:
    """What somebody follows, since when (UTC), and by which ways they are told; None: as of others of its kind."""

    topic_id: UUID
    topic: Topic
    since: datetime
    channels: tuple[Channel, ...] | None = None


class SendState(StrEnum):
    """Where a send stands."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"
    FAILED = "failed"
    """Its words could not be written."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a send has come: followers found so far, and messages (one per follower and channel) by what became of
    them. `expected` are all messages as far as one knows yet; `doubtful` ones may have come twice by mail. `left_s` is
    how long the rest takes at the pace so far, in seconds; None where that cannot be said.
    """

    followers: int
    messages: int
    delivered: int
    failed: int
    suppressed: int
    doubtful: int
    expected: int
    over: bool
    left_s: float | None
    unwanted: int = 0
    """Of the suppressed: what nobody wanted."""
    late: int = 0
    """Of the suppressed: what did not matter any more when its turn came."""

    @property
    def done(self) -> int:
        """Messages of which nothing is left to do."""
        return self.delivered + self.failed + self.suppressed


@dataclass(frozen=True, slots=True)
class Send:
    """A message to the followers of a topic. `about` names what it tells of; times in UTC."""

    event_id: EventId
    topic_id: UUID
    kind: TopicKind
    title: str
    about: str
    channels: tuple[str, ...]
    lane: str
    begun_at: datetime
    state: SendState
    last_error: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Asked:
    """What a mailed link confirms: that an address follows something. `locale` is the language to write in."""

    email: str = field(repr=False)
    kind: TopicKind
    key: str
    locale: str


@dataclass(frozen=True, slots=True)
class Post:
    """What staff wrote to the followers of a topic, which is called `topic` and has its page at `path`."""

    post_id: EventId
    topic_id: UUID
    kind: str
    topic: str
    path: str
    title: str
    body: str
    created_at: datetime


class PostDiffers(Problem):
    """This Idempotency-Key has written another post; use a new one."""

    slug = "post-differs"
    status = 409


@dataclass(frozen=True, slots=True)
class MessageText:
    """What a merchant says instead of the built-in texts of a message, as templates. An empty part is the built-in one.

    `revision` counts its changes; 0 is a text that was not written yet.
    """

    PARTS: ClassVar = ("subject", "txt", "html", "inbox")

    template: str
    language: str
    subject: str = ""
    txt: str = ""
    html: str = ""
    inbox: str = ""
    revision: int = 0
    changed_at: datetime | None = None

    def part(self, name: str) -> str:
        """The text of a part by its name."""
        return str(getattr(self, name))

    def with_parts(self, parts: Mapping[str, str]) -> MessageText:
        """It with these parts, by their names; the others stay."""
        changes: dict[str, Any] = dict(parts)
        return replace(self, **changes)

    @property
    def is_built_in(self) -> bool:
        """Whether there is nothing of its own in it."""
        return not any(self.part(name) for name in self.PARTS)


class TextChanged(Problem):
    """Somebody else changed this text meanwhile."""

    slug = "text-changed"
    status = 409


class MessageUnfit(ValueError):
    """A message's variables are not what its texts may use. The text repeats no value."""


class InboxAway(Problem):
    """The inbox cannot be shown now; nothing is lost, look again in a minute."""

    slug = "inbox-away"
    status = 503

    def __init__(self, detail: str = "", *, retry_after_s: int | None = 60, **extra: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **extra)


class ClassMandatory(Problem):
    """What somebody waits for is always sent: this class of messages cannot be switched off."""

    slug = "class-mandatory"
    status = 409


class FollowsFull(Problem):
    """You follow as much as one can."""

    slug = "follows-full"
    status = 409


class FollowLinkOver(Problem):
    """This link does not work any more."""

    slug = "follow-link-over"
    status = 410


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """A message in somebody's inbox. `link` is empty or an address of this shop; times in UTC."""

    event_id: EventId
    subject: str
    body: str
    link: str
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """A mail that the mail catcher took. `text` and `html` are empty where the mail has no such part."""

    id: str
    at: datetime
    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    html: str
    message_id: str

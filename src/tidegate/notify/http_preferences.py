"""JSON routes by which an application shows its people their inbox, and keeps what they want to be told and when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from tidegate.notify.address_book import find_known
from tidegate.notify.contracts import Channel, ClassMandatory, InboxMessage, TopicKind
from tidegate.notify.http_choices import (
    ClassBody,
    ClassChoice,
    ClassChoices,
    QuietChoice,
    TopicChoiceBody,
    Unwanted,
    quiet_fields,
    unwanted_of,
)
from tidegate.notify.http_keys import FOUND_PROBLEMS, KEY_PROBLEMS, Reader, Sender, database_of
from tidegate.notify.inbox import count_unread, list_inbox, mark_all_read
from tidegate.notify.own_topics import OwnTopic, find_own_topic, list_choices
from tidegate.notify.preferences import (
    Preferences,
    find_preferences,
    set_follow_channels,
    set_preferences,
    set_unwanted,
)
from tidegate.notify.wording import Urgency
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.problems import NotFound

router = APIRouter(prefix="/api/v1/notify/recipients/{external_id}", tags=["notify"])

PAGE = 100
KINDS: Final = {Urgency.TRANSACTIONAL: None, Urgency.BULK: TopicKind.CUSTOM}
"""Where it is kept what somebody wants of a class; None for the mandatory one."""
CLASS_PROBLEMS = problems_by_status((*KEY_PROBLEMS, NotFound, ClassMandatory))


class RecipientPreferences(QuietChoice):
    """What somebody wants of bulk messages. Quiet hours are of a clock on their wall; mails wait until they end."""

    unwanted: Unwanted = Field(default_factory=list)

    @classmethod
    def of(cls, preferences: Preferences) -> RecipientPreferences:
        """The shape of preferences."""
        return cls(unwanted=unwanted_of(preferences, TopicKind.CUSTOM), **quiet_fields(preferences))

    @property
    def preferences(self) -> Preferences:
        """What it says. Raises: InvalidRequest for half of quiet hours."""
        wanted = frozenset((TopicKind.CUSTOM, each) for each in self.unwanted)
        return Preferences(wanted, self.time_zone, self.quiet)


class RecipientTopic(BaseModel):
    """A topic that somebody follows, and by which channels they are told of it; null: as of the class bulk."""

    key: str
    title: str
    channels: list[Channel] | None

    @classmethod
    def of(cls, topic: OwnTopic, channels: tuple[Channel, ...] | None) -> RecipientTopic:
        """The shape of a choice."""
        return cls(key=topic.key, title=topic.title, channels=None if channels is None else list(channels))


class RecipientTopics(BaseModel):
    """Topics that somebody follows; `next` is the address of the page behind, or null."""

    items: list[RecipientTopic]
    next: str | None


class RecipientMessage(BaseModel):
    """A message in somebody's inbox; `id` is its event."""

    id: UUID
    subject: str
    body: str
    link: str
    created_at: datetime
    read_at: datetime | None

    @classmethod
    def of(cls, message: InboxMessage) -> RecipientMessage:
        """The shape of a message."""
        return cls(
            id=message.event_id,
            subject=message.subject,
            body=message.body,
            link=message.link,
            created_at=message.created_at,
            read_at=message.read_at,
        )


class RecipientInbox(BaseModel):
    """Messages, the newest first, and how many are unread (up to 999); `next` is the page behind, or null."""

    unread: int
    shown_at: datetime
    items: list[RecipientMessage]
    next: str | None


class InboxRead(BaseModel):
    """Up to when messages were seen, as `shown_at` of the inbox said: later ones stay unread."""

    shown_at: datetime


class UnreadAnswer(BaseModel):
    """How many are unread now."""

    unread: int


@router.get("/preferences", responses=FOUND_PROBLEMS)
async def get_notify_preferences(request: Request, application: Reader, external_id: str) -> RecipientPreferences:
    """What somebody wants to be told, and when they want quiet."""
    async with database_of(request).connection() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        return RecipientPreferences.of(await find_preferences(conn, recipient_id=recipient_id))


@router.put("/preferences", responses=FOUND_PROBLEMS)
async def put_notify_preferences(
    request: Request, application: Sender, external_id: str, body: RecipientPreferences
) -> RecipientPreferences:
    """Replace what somebody wants. It holds for what is sent from now on, and never for what they wait for."""
    async with database_of(request).transaction() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        await set_preferences(conn, recipient_id=recipient_id, preferences=body.preferences)
        return RecipientPreferences.of(await find_preferences(conn, recipient_id=recipient_id))


@router.get("/preferences/classes", responses=FOUND_PROBLEMS)
async def get_notify_classes(request: Request, application: Reader, external_id: str) -> ClassChoices:
    """What somebody wants of each class of messages. Of a mandatory one nothing can be switched off."""
    async with database_of(request).connection() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        preferences = await find_preferences(conn, recipient_id=recipient_id)
    return ClassChoices(items=[_class_choice(each, preferences) for each in Urgency])


@router.put("/preferences/classes/{name}", responses=CLASS_PROBLEMS)
async def put_notify_class(
    request: Request, application: Sender, external_id: str, name: Urgency, body: ClassBody
) -> ClassChoice:
    """Say by which channels somebody wants nothing of a class. It holds for what is sent from now on."""
    async with database_of(request).transaction() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        kind = KINDS[name]
        await set_unwanted(conn, recipient_id=recipient_id, kind=kind, channels=body.unwanted)
        return _class_choice(name, await find_preferences(conn, recipient_id=recipient_id))


@router.get("/preferences/topics", responses=FOUND_PROBLEMS)
async def get_notify_topic_choices(
    request: Request,
    application: Reader,
    external_id: str,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    after: Annotated[str, Query(max_length=100)] = "",
) -> RecipientTopics:
    """The topics that somebody follows, in the order of their keys, and by which channels they are told of each."""
    async with database_of(request).connection() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        found = await list_choices(
            conn, application_id=application, recipient_id=recipient_id, limit=limit + 1, after=after
        )
    behind = None
    if len(found) > limit:
        last = found[limit - 1][0].key
        behind = f"/api/v1/notify/recipients/{external_id}/preferences/topics?limit={limit}&after={last}"
    return RecipientTopics(items=[RecipientTopic.of(*each) for each in found[:limit]], next=behind)


@router.put("/preferences/topics/{key}", responses=FOUND_PROBLEMS)
async def put_notify_topic_choice(
    request: Request, application: Sender, external_id: str, key: str, body: TopicChoiceBody
) -> RecipientTopic:
    """Say by which channels somebody is told of a topic that they follow. It holds for what is sent from now on."""
    async with database_of(request).transaction() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        topic = await find_own_topic(conn, application_id=application, key=key)
        ways = body.channels
        await set_follow_channels(conn, recipient_id=recipient_id, topic_id=topic.topic_id, channels=ways)
    return RecipientTopic.of(topic, None if ways is None else tuple(sorted(set(ways))))


@router.get("/inbox", responses=FOUND_PROBLEMS)
async def get_notify_recipient_inbox(
    request: Request,
    application: Reader,
    external_id: str,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    before: UUID | None = None,
) -> RecipientInbox:
    """Somebody's inbox."""
    async with database_of(request).connection() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        now = await database_now(conn)
        place = None if before is None else EventId(before)
        found = await list_inbox(conn, recipient_id=recipient_id, limit=limit + 1, before=place)
        unread = await count_unread(conn, recipient_id=recipient_id)
    behind = None
    if len(found) > limit:
        last = found[limit - 1].event_id
        behind = f"/api/v1/notify/recipients/{external_id}/inbox?limit={limit}&before={last}"
    items = [RecipientMessage.of(each) for each in found[:limit]]
    return RecipientInbox(unread=unread, shown_at=now, items=items, next=behind)


@router.post("/inbox/read", responses=FOUND_PROBLEMS)
async def post_notify_recipient_read(
    request: Request, application: Sender, external_id: str, body: InboxRead
) -> UnreadAnswer:
    """Note that somebody has seen their messages."""
    async with database_of(request).transaction() as conn:
        recipient_id = await _recipient(conn, application, external_id)
        await mark_all_read(conn, recipient_id=recipient_id, shown_at=body.shown_at)
        return UnreadAnswer(unread=await count_unread(conn, recipient_id=recipient_id))


def _class_choice(urgency: Urgency, preferences: Preferences) -> ClassChoice:
    kind = KINDS[urgency]
    unwanted = [] if kind is None else unwanted_of(preferences, kind)
    return ClassChoice(name=urgency.value, mandatory=kind is None, unwanted=unwanted)


async def _recipient(conn: Connection, application_id: UUID, external_id: str) -> PersonId:
    """Raises: NotFound."""
    return PersonId((await find_known(conn, application_id=application_id, external_id=external_id)).recipient_id)

"""JSON routes by which an application shows its people their inbox, and keeps what they want to be told and when."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from tidegate.notify.address_book import find_known
from tidegate.notify.contracts import Channel, InboxMessage, TopicKind
from tidegate.notify.fields import wrong_fields
from tidegate.notify.http_keys import FOUND_PROBLEMS, Reader, Sender, database_of
from tidegate.notify.inbox import count_unread, list_inbox, mark_all_read
from tidegate.notify.preferences import Preferences, QuietHours, find_preferences, set_preferences
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.texts import text as _

router = APIRouter(prefix="/api/v1/notify/recipients/{external_id}", tags=["notify"])

PAGE = 100
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["22:00"])]


class RecipientPreferences(BaseModel):
    """What somebody wants of bulk messages. Quiet hours are of a clock on their wall; mails wait until they end."""

    unwanted: Annotated[
        list[Channel], Field(max_length=len(Channel), description="Channels that they do not want.")
    ] = []
    time_zone: Annotated[str, Field(max_length=64, description="An IANA name; empty: that of notify's settings.")] = ""
    quiet_from: Clock | None = None
    quiet_until: Clock | None = None

    @classmethod
    def of(cls, preferences: Preferences) -> RecipientPreferences:
        """The shape of preferences."""
        quiet = preferences.quiet
        return cls(
            unwanted=sorted(channel for kind, channel in preferences.unwanted if kind is TopicKind.CUSTOM),
            time_zone=preferences.time_zone,
            quiet_from=None if quiet is None else quiet.starts.isoformat("minutes"),
            quiet_until=None if quiet is None else quiet.ends.isoformat("minutes"),
        )

    @property
    def preferences(self) -> Preferences:
        """What it says. Raises: InvalidRequest for half of quiet hours."""
        if (self.quiet_from is None) != (self.quiet_until is None):
            missing = "quiet_from" if self.quiet_from is None else "quiet_until"
            raise wrong_fields([(missing, _("Fill in both times, or none for no quiet hours."))])
        quiet = None
        if self.quiet_from is not None and self.quiet_until is not None:
            quiet = QuietHours(time.fromisoformat(self.quiet_from), time.fromisoformat(self.quiet_until))
        return Preferences(frozenset((TopicKind.CUSTOM, each) for each in self.unwanted), self.time_zone, quiet)


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


async def _recipient(conn: Connection, application_id: UUID, external_id: str) -> PersonId:
    """Raises: NotFound."""
    return PersonId((await find_known(conn, application_id=application_id, external_id=external_id)).recipient_id)

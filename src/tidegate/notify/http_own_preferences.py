"""JSON routes by which an account says what it wants to be told, by which channel, and when it wants quiet."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from tidegate.notify.contracts import Channel, ClassMandatory, Follow, TopicKind
from tidegate.notify.http_choices import (
    ClassBody,
    ClassChoice,
    QuietChoice,
    TopicChoiceBody,
    quiet_fields,
    unwanted_of,
)
from tidegate.notify.http_keys import database_of
from tidegate.notify.http_own_devices import Owner
from tidegate.notify.preferences import (
    MANDATORY,
    Preferences,
    ensure_recipient,
    find_account,
    find_followed_topic,
    find_preferences,
    list_own_follows,
    set_follow_channels,
    set_preferences,
    set_unwanted,
)
from tidegate.platform.database import Connection
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.problems import InvalidRequest, NotFound, NotSignedIn
from tidegate.web import request_locale

router = APIRouter(prefix="/api/v1/me/preferences", tags=["followers"])

PAGE = 100
KINDS: Final = tuple(kind for kind in TopicKind if kind is not TopicKind.CUSTOM)
PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest))
CLASS_PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest, ClassMandatory))


class OwnPreferences(QuietChoice):
    """What you want of each class of messages: of each kind of what you follow, and what is always sent."""

    classes: list[ClassChoice]

    @classmethod
    def of(cls, preferences: Preferences) -> OwnPreferences:
        """The shape of preferences."""
        classes = [ClassChoice(name=MANDATORY, mandatory=True, unwanted=[])]
        classes += [_class_choice(kind, preferences) for kind in KINDS]
        return cls(classes=classes, **quiet_fields(preferences))


class OwnTopic(BaseModel):
    """Something that you follow, and by which channels you are told of it; null: as of all of its kind."""

    kind: TopicKind
    slug: str
    title: str
    since: datetime
    channels: list[Channel] | None

    @classmethod
    def of(cls, follow: Follow) -> OwnTopic:
        """The shape of a follow."""
        topic, ways = follow.topic, follow.channels
        return cls(
            kind=topic.kind,
            slug=topic.key,
            title=topic.title,
            since=follow.since,
            channels=None if ways is None else list(ways),
        )


class OwnTopics(BaseModel):
    """What you follow; `next_after` asks for the page after."""

    items: list[OwnTopic]
    next_after: UUID | None


@router.get("", responses=PROBLEMS)
async def get_own_preferences(request: Request, owner: Owner) -> OwnPreferences:
    """What you want to be told, and when you want quiet."""
    async with database_of(request).connection() as conn:
        return OwnPreferences.of(await _found(conn, owner))


@router.put("/quiet", responses=PROBLEMS)
async def put_own_quiet(request: Request, owner: Owner, body: QuietChoice) -> OwnPreferences:
    """Say when you want quiet: mails that you do not wait for come after it."""
    async with database_of(request).transaction() as conn:
        recipient_id = await _ensured(request, conn, owner)
        before = await find_preferences(conn, recipient_id=recipient_id)
        wanted = Preferences(before.unwanted, body.time_zone, body.quiet)
        await set_preferences(conn, recipient_id=recipient_id, preferences=wanted)
    return OwnPreferences.of(wanted)


@router.put("/classes/{name}", responses=CLASS_PROBLEMS)
async def put_own_class(request: Request, owner: Owner, name: str, body: ClassBody) -> ClassChoice:
    """Say by which channels you want nothing of a class of messages. It holds for what is sent from now on."""
    if name not in (MANDATORY, *KINDS):
        raise NotFound()
    kind = None if name == MANDATORY else TopicKind(name)
    async with database_of(request).transaction() as conn:
        recipient_id = await _ensured(request, conn, owner)
        await set_unwanted(conn, recipient_id=recipient_id, kind=kind, channels=body.unwanted)
        preferences = await find_preferences(conn, recipient_id=recipient_id)
    if kind is None:
        return ClassChoice(name=name, mandatory=True, unwanted=[])
    return _class_choice(kind, preferences)


@router.get("/topics", responses=PROBLEMS)
async def get_own_topics(
    request: Request, owner: Owner, limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE, after: UUID | None = None
) -> OwnTopics:
    """What you follow, the newest topics first, and by which channels you are told of each."""
    person_id, email = owner
    async with database_of(request).connection() as conn:
        known = await find_account(conn, person_id=person_id, email=email)
        if known is None:
            return OwnTopics(items=[], next_after=None)
        found = await list_own_follows(conn, recipient_id=known.recipient_id, limit=limit + 1, after=after)
    behind = found[limit - 1].topic_id if len(found) > limit else None
    return OwnTopics(items=[OwnTopic.of(each) for each in found[:limit]], next_after=behind)


@router.put("/topics/{kind}/{slug}", responses=PROBLEMS)
async def put_own_topic(request: Request, owner: Owner, kind: TopicKind, slug: str, body: TopicChoiceBody) -> OwnTopic:
    """Say by which channels you are told of something that you follow. It holds for what is sent from now on."""
    async with database_of(request).transaction() as conn:
        recipient_id = await _ensured(request, conn, owner)
        known = await find_followed_topic(conn, recipient_id=recipient_id, kind=kind, key=slug)
        await set_follow_channels(conn, recipient_id=recipient_id, topic_id=known.topic_id, channels=body.channels)
        return OwnTopic.of(await find_followed_topic(conn, recipient_id=recipient_id, kind=kind, key=slug))


def _class_choice(kind: TopicKind, preferences: Preferences) -> ClassChoice:
    return ClassChoice(name=kind.value, mandatory=False, unwanted=unwanted_of(preferences, kind))


async def _found(conn: Connection, owner: Owner) -> Preferences:
    person_id, email = owner
    known = await find_account(conn, person_id=person_id, email=email)
    return Preferences() if known is None else await find_preferences(conn, recipient_id=known.recipient_id)


async def _ensured(request: Request, conn: Connection, owner: Owner) -> UUID:
    person_id, email = owner
    return await ensure_recipient(conn, person_id=person_id, email=email, locale=request_locale(request))

"""JSON routes of an application's topics and their followers."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from tidegate.notify.http_keys import FOUND_PROBLEMS, KEY_PROBLEMS, PROBLEMS, Reader, Sender, database_of
from tidegate.notify.own_topics import (
    MOST_NAMED,
    OwnTopic,
    TopicsFull,
    change_followers,
    delete_topic,
    find_own_topic,
    list_followers,
    list_own_topics,
    put_topic,
)
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.problems import NotFound

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])

PAGE = 100
MAX_ID = 100
MOST_LISTED = 1_000
WRITE_PROBLEMS = problems_by_status((*KEY_PROBLEMS, TopicsFull))
LIST_PROBLEMS = problems_by_status((*KEY_PROBLEMS, NotFound))
Ids = Annotated[list[Annotated[str, Field(max_length=MAX_ID)]], Field(max_length=MOST_NAMED)]


class TopicBody(BaseModel):
    """What the topic is called; mails say it to those who may stop them."""

    title: Annotated[str, Field(max_length=400)]


class TopicAnswer(BaseModel):
    """A topic of yours."""

    id: UUID
    key: str
    title: str

    @classmethod
    def of(cls, topic: OwnTopic) -> TopicAnswer:
        """The shape of a topic."""
        return cls(id=topic.topic_id, key=topic.key, title=topic.title)


class TopicPage(BaseModel):
    """Topics in the order of their keys; `next` is the address of the page behind, or null."""

    items: list[TopicAnswer]
    next: str | None


class FollowersBody(BaseModel):
    """Whom to add and whom to end, by your ids."""

    add: Ids = []
    remove: Ids = []


class FollowersAnswer(BaseModel):
    """What changed; `unknown` are ids that are of none of your recipients."""

    added: int
    removed: int
    unknown: list[str]


class FollowerPage(BaseModel):
    """Your ids of those who follow, in order; `next` is the address of the page behind, or null."""

    items: list[str]
    next: str | None


@router.put("/topics/{key}", responses=WRITE_PROBLEMS)
async def put_notify_topic(request: Request, application: Sender, key: str, body: TopicBody) -> TopicAnswer:
    """Make a topic, or give it another title."""
    async with database_of(request).transaction() as conn:
        return TopicAnswer.of(await put_topic(conn, application_id=application, key=key, title=body.title))


@router.get("/topics", responses=PROBLEMS)
async def get_notify_topics(
    request: Request,
    application: Reader,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    after: Annotated[str, Query(max_length=MAX_ID)] = "",
) -> TopicPage:
    """Your topics in the order of their keys."""
    async with database_of(request).connection() as conn:
        found = await list_own_topics(conn, application_id=application, limit=limit + 1, after=after)
    behind = f"/api/v1/notify/topics?limit={limit}&after={found[limit - 1].key}" if len(found) > limit else None
    return TopicPage(items=[TopicAnswer.of(each) for each in found[:limit]], next=behind)


@router.get("/topics/{key}", responses=FOUND_PROBLEMS)
async def get_notify_topic(request: Request, application: Reader, key: str) -> TopicAnswer:
    """One topic of yours."""
    async with database_of(request).connection() as conn:
        return TopicAnswer.of(await find_own_topic(conn, application_id=application, key=key))


@router.delete("/topics/{key}", status_code=204, responses=FOUND_PROBLEMS)
async def delete_notify_topic(request: Request, application: Sender, key: str) -> Response:
    """Delete a topic with its follows and its sends. What waits of it is not sent any more."""
    async with database_of(request).transaction() as conn:
        await delete_topic(conn, application_id=application, key=key)
    return Response(status_code=204)


@router.put("/topics/{key}/followers", responses=LIST_PROBLEMS)
async def put_notify_followers(request: Request, application: Sender, key: str, body: FollowersBody) -> FollowersAnswer:
    """Have up to 1,000 recipients follow a topic, and as many follow it no more. Doing it again changes nothing."""
    async with database_of(request).transaction() as conn:
        changed = await change_followers(conn, application_id=application, key=key, add=body.add, remove=body.remove)
    return FollowersAnswer(added=changed.added, removed=changed.removed, unknown=list(changed.unknown))


@router.get("/topics/{key}/followers", responses=LIST_PROBLEMS)
async def get_notify_followers(
    request: Request,
    application: Reader,
    key: str,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = MOST_LISTED,
    after: Annotated[str, Query(max_length=MAX_ID)] = "",
) -> FollowerPage:
    """Who follows a topic, by your ids."""
    async with database_of(request).connection() as conn:
        topic = await find_own_topic(conn, application_id=application, key=key)
        found = await list_followers(
            conn, application_id=application, topic_id=topic.topic_id, limit=limit + 1, after=after
        )
    behind = None
    if len(found) > limit:
        behind = f"/api/v1/notify/topics/{key}/followers?limit={limit}&after={found[limit - 1]}"
    return FollowerPage(items=found[:limit], next=behind)

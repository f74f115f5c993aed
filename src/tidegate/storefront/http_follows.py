"""JSON routes of followers: being told when a drop opens, when a product is back, and of a collection's drops."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from tidegate import notify
from tidegate.checkout import Shop
from tidegate.notify import Follow, FollowsFull, TopicKind
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.problems import NotFound, NotSignedIn, TooManyRequests
from tidegate.storefront.following import NothingToWaitFor, address_of, ask_by_mail, find_followable, follow_as
from tidegate.web import Visitor, client_address, request_locale, require_person

router = APIRouter(prefix="/api/v1", tags=["followers"])

MAX_EMAIL = 254
MAX_SLUG = 300


class FollowAnswer(BaseModel):
    """Something that is followed. A drop or a product is told of once; then it is not followed any more."""

    kind: TopicKind
    slug: str
    title: str
    path: str
    since: datetime

    @classmethod
    def of(cls, follow: Follow) -> FollowAnswer:
        """The shape of a follow."""
        topic = follow.topic
        return cls(kind=topic.kind, slug=topic.key, title=topic.title, path=topic.path, since=follow.since)


class FollowList(BaseModel):
    """What you follow; `next_after` asks for the page after."""

    items: list[FollowAnswer]
    next_after: UUID | None


class FollowRequest(BaseModel):
    """Whom to ask, and for what."""

    kind: TopicKind
    slug: Annotated[str, Field(min_length=1, max_length=MAX_SLUG)]
    email: Annotated[str, Field(min_length=1, max_length=MAX_EMAIL, repr=False)]


class AskedAnswer(BaseModel):
    """A mail is on its way, if its address exists; its link works for so many hours."""

    hours: int


@router.get("/follows", responses=problems_by_status((NotSignedIn,)))
async def get_follows(
    request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 50, after: UUID | None = None
) -> FollowList:
    """What your account follows, the newest topics first."""
    owner = await _owner(request)
    async with _shop(request).database.connection() as conn:
        email = await address_of(conn, owner.id)
        found = await notify.list_follows(conn, person_id=owner.id, email=email, limit=limit + 1, after=after)
    following = found[limit - 1].topic_id if len(found) > limit else None
    return FollowList(items=[FollowAnswer.of(each) for each in found[:limit]], next_after=following)


@router.put(
    "/follows/{kind}/{slug}",
    status_code=204,
    responses=problems_by_status((NotSignedIn, NotFound, NothingToWaitFor, FollowsFull)),
)
async def put_follow(request: Request, kind: str, slug: str) -> Response:
    """Follow something with your account; repeating it changes nothing."""
    owner = await _owner(request)
    topic = (await find_followable(_shop(request), kind=kind, slug=slug)).require_waiting()
    await follow_as(_shop(request), topic=topic, person_id=owner.id, locale=request_locale(request))
    return Response(status_code=204)


@router.delete("/follows/{kind}/{slug}", status_code=204, responses=problems_by_status((NotSignedIn, NotFound)))
async def delete_follow(request: Request, kind: str, slug: str) -> Response:
    """Stop following something."""
    owner = await _owner(request)
    if kind not in set(TopicKind):
        raise NotFound()
    async with _shop(request).database.transaction() as conn:
        email = await address_of(conn, owner.id)
        if not await notify.unfollow(conn, kind=TopicKind(kind), key=slug, person_id=owner.id, email=email):
            raise NotFound()
    return Response(status_code=204)


@router.post(
    "/follow-requests",
    status_code=202,
    responses=problems_by_status((NotFound, NothingToWaitFor, TooManyRequests)),
)
async def post_follow_request(request: Request, body: FollowRequest) -> AskedAnswer:
    """Mail a link by which an address follows something. The answer is the same for each address."""
    topic = (await find_followable(_shop(request), kind=body.kind, slug=body.slug)).require_waiting()
    network, locale = client_address(request), request_locale(request)
    await ask_by_mail(_shop(request), topic=topic, email=body.email, network=network, locale=locale)
    return AskedAnswer(hours=_shop(request).settings.follows.link_hours)


async def _owner(request: Request) -> Visitor:
    """Whose account it is. Raises: NotSignedIn for strangers and guests."""
    person = await require_person(request)
    if person.role == "guest":
        raise NotSignedIn()
    return person


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

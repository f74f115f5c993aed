"""Following a drop, a product or a collection: at once with an account, by a confirmed address without one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import notify
from tidegate.checkout import Shop
from tidegate.notify import Follow, FollowLinkOver, FollowsFull, Topic, TopicKind
from tidegate.platform.ids import PersonId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound, Problem, TooManyRequests
from tidegate.storefront.following import NothingToWaitFor, address_of, ask_by_mail, find_followable, follow_as
from tidegate.web import (
    NOT_KEPT,
    SignInFirst,
    Visitor,
    client_address,
    current_person,
    read_form,
    render,
    request_locale,
    see_other,
)

router = APIRouter(include_in_schema=False)

HOME: Final = "/account/follows"
SHOWN: Final = 50
"""Follows on one page."""


@dataclass(frozen=True, slots=True)
class AskContext:
    """Context of `storefront/follow.html`: where somebody without an account gives an address."""

    topic: Topic
    email: str = ""
    error: str = ""
    """What is wrong with the address."""
    problem: str = ""
    """Why no mail was sent, for people."""
    sent: bool = False
    hours: int = 0
    """Life of the link that was sent."""


@dataclass(frozen=True, slots=True)
class ConfirmContext:
    """Context of `storefront/follow_confirm.html`: where the mailed link leads. `topic` is None for a spent link."""

    topic: Topic | None
    token: str = ""
    problem: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class FollowsContext:
    """Context of `storefront/follows.html`."""

    follows: tuple[Follow, ...]
    new: Topic | None
    """What was just added."""
    problem: str = ""
    older: str = ""
    """Address of the next page; empty on the last."""


@router.post("/follow")
async def post_follow(request: Request) -> Response:
    """What the buttons on pages do, which are the same for everybody: an account follows, others are asked for more."""
    form = await read_form(request)
    kind, slug = form.get("kind"), form.get("slug")
    found = await find_followable(_shop(request), kind=kind, slug=slug)
    person = await _account(request)
    if found.here:
        return see_other(request, found.topic.path)
    if person is None:
        return see_other(request, _address("/follow", found.topic))
    try:
        await follow_as(_shop(request), topic=found.topic, person_id=person.id, locale=request_locale(request))
    except FollowsFull as problem:
        return await _show_follows(request, person.id, problem=problem.detail, status=problem.status)
    return see_other(request, _address(HOME, found.topic))


@router.get("/follow")
async def show_follow(request: Request, kind: str = "", slug: str = "") -> Response:
    """The form for an address; with an account, a button."""
    found = await find_followable(_shop(request), kind=kind, slug=slug)
    if found.here:
        return see_other(request, found.topic.path)
    return render(request, "storefront/follow.html", AskContext(found.topic), headers=NOT_KEPT)


@router.post("/follow/address")
async def post_address(request: Request) -> Response:
    """Mail the link that confirms a follow, to whichever address."""
    form = await read_form(request)
    shop, email = _shop(request), form.get("email")
    found = await find_followable(shop, kind=form.get("kind"), slug=form.get("slug"))
    if found.here:
        return see_other(request, found.topic.path)
    try:
        network, locale = client_address(request), request_locale(request)
        await ask_by_mail(shop, topic=found.topic, email=email, network=network, locale=locale)
    except InvalidRequest as problem:
        return _show_ask(request, AskContext(found.topic, email, error=problem.detail), problem)
    except TooManyRequests as problem:
        return _show_ask(request, AskContext(found.topic, email, problem=problem.detail), problem)
    hours = shop.settings.follows.link_hours
    return _show_ask(request, AskContext(found.topic, email, sent=True, hours=hours))


@router.get("/follow/confirm")
async def show_confirm(request: Request, token: str = "") -> Response:
    """Where the mailed link leads: a button, since mail scanners open links, too."""
    try:
        asked = notify.read_confirmation(token, now=datetime.now(UTC))
        topic = (await find_followable(_shop(request), kind=asked.kind, slug=asked.key)).require_waiting()
    except (FollowLinkOver, NothingToWaitFor) as problem:
        context = ConfirmContext(None, problem=problem.detail)
    except NotFound:
        context = ConfirmContext(None)
    else:
        context = ConfirmContext(topic, token)
    return render(request, "storefront/follow_confirm.html", context, headers=NOT_KEPT)


@router.post("/follow/confirm")
async def post_confirm(request: Request) -> Response:
    """Follow, as the mailed link says."""
    form = await read_form(request)
    shop = _shop(request)
    try:
        asked = notify.read_confirmation(form.get("token"), now=datetime.now(UTC))
        topic = (await find_followable(shop, kind=asked.kind, slug=asked.key)).require_waiting()
        async with shop.database.transaction() as conn:
            most = shop.settings.follows.max_per_recipient
            await notify.follow(conn, topic=topic, email=asked.email, locale=asked.locale, most=most)
    except (FollowLinkOver, FollowsFull, NothingToWaitFor) as problem:
        context = ConfirmContext(None, problem=problem.detail)
        return render(request, "storefront/follow_confirm.html", context, status=problem.status, headers=NOT_KEPT)
    return render(request, "storefront/follow_confirm.html", ConfirmContext(topic, done=True), headers=NOT_KEPT)


@router.get("/account/follows")
async def show_follows(request: Request, after: str = "") -> Response:
    """What the account follows."""
    owner = await _owner(request)
    return await _show_follows(request, owner.id, after=parse_id(after))


@router.post("/account/follows/end")
async def post_end(request: Request) -> Response:
    """Stop following something."""
    owner = await _owner(request)
    form = await read_form(request)
    kind = form.get("kind")
    if kind not in set(TopicKind):
        raise NotFound()
    async with _shop(request).database.transaction() as conn:
        email = await address_of(conn, owner.id)
        await notify.unfollow(conn, kind=TopicKind(kind), key=form.get("slug"), person_id=owner.id, email=email)
    return see_other(request, HOME)


def _show_ask(request: Request, context: AskContext, problem: Problem | None = None) -> Response:
    headers = dict(NOT_KEPT)
    if problem is not None and problem.retry_after_s:
        headers["retry-after"] = str(problem.retry_after_s)
    status = 200 if problem is None else problem.status
    return render(request, "storefront/follow.html", context, status=status, headers=headers)


async def _show_follows(
    request: Request, person_id: PersonId, *, after: UUID | None = None, problem: str = "", status: int = 200
) -> Response:
    async with _shop(request).database.connection() as conn:
        email = await address_of(conn, person_id)
        found = await notify.list_follows(conn, person_id=person_id, email=email, limit=SHOWN + 1, after=after)
    added = (request.query_params.get("kind"), request.query_params.get("slug"))
    new = next((each.topic for each in found if (each.topic.kind, each.topic.key) == added), None)
    older = f"{HOME}?{urlencode({'after': found[SHOWN - 1].topic_id})}" if len(found) > SHOWN else ""
    context = FollowsContext(tuple(found[:SHOWN]), new, problem, older)
    return render(request, "storefront/follows.html", context, status=status, headers=NOT_KEPT)


def _address(path: str, topic: Topic) -> str:
    return f"{path}?{urlencode({'kind': topic.kind.value, 'slug': topic.key})}"


async def _account(request: Request) -> Visitor | None:
    """Whose account it is; None for strangers and guests."""
    person = await current_person(request)
    return None if person is None or person.role == "guest" else person


async def _owner(request: Request) -> Visitor:
    """Whose account it is. Raises: SignInFirst for strangers and guests."""
    person = await _account(request)
    if person is None:
        raise SignInFirst(then=HOME)
    return person


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

"""A drop's waiting room in the browser: take a place, see where one stands, go in when it is one's turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import gate
from tidegate.gate import Gate, Joined, JoinWish, PlaceQuestion, PlaceState, Room
from tidegate.platform.problems import NotFound, Problem
from tidegate.storefront.contexts import whole_minutes
from tidegate.storefront.offers import DropOffer, find_drop_offer
from tidegate.storefront.pages import choice
from tidegate.storefront.room_drops import RoomDrops
from tidegate.storefront.room_line import GUEST, NOBODYS, LineContext, own_of, place_alike, room_alike
from tidegate.web import (
    NOT_KEPT,
    SignInFirst,
    Visitor,
    current_person,
    ensure_buyer,
    read_form,
    render,
    render_moulded,
    request_locale,
    see_other,
    words_of,
)

router = APIRouter(include_in_schema=False)

ROOM: Final = "storefront/room.html"
CROWDED: Final = ("before", "join", "line")
"""Stages in which everybody sees the same, but for what is their own, until they have numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomContext(LineContext):
    """Context of `storefront/room.html`."""

    drop: DropOffer | None
    """What there is to buy; only for those whose turn it is."""
    sku: str
    most: int
    hold_minutes: int
    has_account: bool
    """Whether the visitor has signed in; where guests may wait, others take part, too."""


@router.get("/drops/{slug}/room")
async def show_room(request: Request, slug: str) -> Response:
    """The waiting room of a drop, as its visitor sees it; a drop without a room is bought on its own page."""
    if slug not in _gate(request).statuses:
        return see_other(request, f"/drops/{slug}")
    return await _page(request, slug)


@router.post("/drops/{slug}/room")
async def post_room(request: Request, slug: str) -> Response:
    """Take a place, or one at the end again; a stranger becomes a guest where the room takes guests.

    Elsewhere they sign in first and come back here.
    """
    await read_form(request)
    if not _known(_gate(request).kept(slug).room, await current_person(request)):
        raise SignInFirst(then=f"/drops/{slug}/room")
    person, token = await ensure_buyer(request)
    try:
        await _gate(request).join(JoinWish(slug, person.id, guest=person.role == GUEST))
    except Problem as problem:
        return await _page(request, slug, problem=problem)
    return see_other(request, f"/drops/{slug}/room", session_token=token)


@router.post("/drops/{slug}/room/leave")
async def post_leave(request: Request, slug: str) -> Response:
    """Give a place up."""
    await read_form(request)
    person = await current_person(request)
    if person is not None and (joined := await _joined(request, slug, person)) is not None:
        async with _gate(request).database.transaction() as conn:
            await gate.leave(conn, place_id=joined.place.id, buyer_id=person.id)
    return see_other(request, f"/drops/{slug}/room")


async def _page(request: Request, slug: str, *, problem: Problem | None = None) -> Response:
    rooms = _gate(request)
    drops: RoomDrops = request.app.state.room_drops
    person = await current_person(request)
    joined = await _joined(request, slug, person) if person else None
    room = joined.room if joined else rooms.kept(slug).room
    place = joined.place if joined else None
    sku, most, offer = "", 0, None
    drop = await drops.find(slug)
    if drop is None:
        raise NotFound()
    if place is not None and place.state is PlaceState.ADMITTED:
        async with rooms.database.connection() as conn:
            offer = await find_drop_offer(conn, slug=slug, currency=rooms.settings.currency)
        if offer is not None and offer.offer is not None:
            sku, most = choice(offer.offer, at_most=min(drop.per_buyer, rooms.settings.holds.max_quantity))
    own = own_of(room, joined, rooms.ring, locale=request_locale(request))
    context = RoomContext(
        slug=slug,
        title=drop.title,
        room=room,
        place=place,
        own=own,
        known=_known(room, person),
        problem=words_of(problem) if problem else "",
        drop=offer,
        sku=sku,
        most=most,
        hold_minutes=whole_minutes(rooms.settings.holds.ttl_s),
        has_account=_has_account(person),
    )
    if problem is None and context.stage in CROWDED and (place is None or place.number is None):
        alike = replace(context, room=room_alike(room, place), place=place_alike(place), own=NOBODYS)
        return render_moulded(
            request, ROOM, same=alike, make=lambda own: replace(alike, own=own), own=own, headers=NOT_KEPT
        )
    return render(request, ROOM, context, status=problem.status if problem else 200, headers=NOT_KEPT)


def _known(room: Room, person: Visitor | None) -> bool:
    return room.guests or _has_account(person)


def _has_account(person: Visitor | None) -> bool:
    return person is not None and person.role != GUEST


async def _joined(request: Request, slug: str, person: Visitor) -> Joined | None:
    """Somebody's place with its room as of now. Raises: RoomUnknown."""
    return await _gate(request).find(PlaceQuestion(_gate(request).kept(slug).room.id, person.id))


def _gate(request: Request) -> Gate:
    found: Gate = request.app.state.gate
    return found

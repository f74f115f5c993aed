"""A drop's waiting room in the browser: take a place, see where one stands, go in when it is one's turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import gate
from tidegate.checkout import Shop
from tidegate.gate import Gate, Joined, JoinWish, Phase, Place, PlaceQuestion, PlaceState, Room
from tidegate.platform.problems import NotFound, Problem
from tidegate.storefront.contexts import whole_minutes
from tidegate.storefront.offers import DropOffer, find_drop_offer
from tidegate.storefront.pages import choice
from tidegate.storefront.room_drops import RoomDrops
from tidegate.web import (
    NOT_KEPT,
    SignInFirst,
    Visitor,
    current_person,
    read_form,
    render,
    see_other,
    words_of,
)

router = APIRouter(include_in_schema=False)

GUEST: Final = "guest"
LOOK_AGAIN_S: Final = 10
"""How often a browser without JavaScript loads the page of a room anew."""
SLOWEST_PER_S: Final = 0.001
"""Below this pace no time is told: nobody is being let in."""


@dataclass(frozen=True, slots=True)
class RoomContext:
    """Context of `storefront/room.html`."""

    slug: str
    title: str
    room: Room
    place: Place | None
    known: bool
    """Whether the visitor may take a place without signing in first."""
    drop: DropOffer | None
    """What there is to buy; only for those whose turn it is."""
    sku: str
    most: int
    hold_minutes: int
    problem: str
    look_again_s: int
    stage: str
    """See `stage_of`."""
    ahead: int | None
    """How many are before the visitor; None while nobody has a number."""
    minutes: int | None
    """About how long it will be until the visitor's turn; None when that cannot be told."""
    prospect: str
    """See `prospect_of`."""
    part: str
    """What is said to those in line: lobby, drawing, number or sold_out."""
    ticket: str
    receipt: str
    """Both are the visitor's own, empty for those without a place."""


def stage_of(room: Room, place: Place | None) -> str:
    """What the page is about: before, join, line, turn, spent, missed, left, sold_out or over."""
    state = place.state if place else None
    if state is PlaceState.ADMITTED and room.phase is not Phase.CLOSED:
        return "turn"
    if state is PlaceState.SPENT:
        return "spent"
    match room.phase:
        case Phase.CLOSED:
            return "over"
        case Phase.SOLD_OUT if state is not PlaceState.WAITING:
            return "sold_out"
        case Phase.SCHEDULED:
            return "before"
    if state is None:
        return "join"
    return {PlaceState.EXPIRED: "missed", PlaceState.LEFT: "left"}.get(state, "line")


def part_of(room: Room, place: Place | None) -> str:
    """What is said to somebody in line: see `RoomContext.part`. The page's script goes from one to the other."""
    if room.phase is Phase.SOLD_OUT:
        return "sold_out"
    if place is not None and place.number is not None:
        return "number"
    return "lobby" if room.cut is None else "drawing"


def ahead_of(room: Room, place: Place | None) -> int | None:
    """How many are before somebody; None while they have no number."""
    return None if place is None or place.number is None else max(place.number - room.serving, 0)


def prospect_of(room: Room, ahead: int | None) -> str:
    """What somebody in line should know of what is left: held (all of it, by others), short (of them), or nothing."""
    if ahead is None or room.phase is not Phase.OPEN or room.stock_left is None:
        return ""
    if room.stock_left == 0:
        return "held"
    return "short" if ahead >= room.stock_left else ""


def minutes_until(room: Room, ahead: int | None) -> int | None:
    """About how long it takes to let so many in; None when that cannot be told."""
    moves = room.phase is Phase.OPEN and not room.paused and room.stock_left != 0
    if ahead is None or not moves or room.pace_per_s < SLOWEST_PER_S:
        return None
    return whole_minutes(int(ahead / room.pace_per_s) + 1)


@router.get("/drops/{slug}/room")
async def show_room(request: Request, slug: str) -> Response:
    """The waiting room of a drop, as its visitor sees it; a drop without a room is bought on its own page."""
    if slug not in _gate(request).statuses:
        return see_other(request, f"/drops/{slug}")
    return await _page(request, slug)


@router.post("/drops/{slug}/room")
async def post_room(request: Request, slug: str) -> Response:
    """Take a place, or one at the end again. Who needs an account signs in first and comes back here."""
    await read_form(request)
    room = _gate(request).kept(slug).room
    person = await current_person(request)
    if not _known(room, person) or person is None:
        raise SignInFirst(then=f"/drops/{slug}/room")
    try:
        await _gate(request).join(JoinWish(slug, person.id, guest=person.role == GUEST))
    except Problem as problem:
        return await _page(request, slug, problem=problem)
    return see_other(request, f"/drops/{slug}/room")


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
    shop: Shop = request.app.state.shop
    drops: RoomDrops = request.app.state.room_drops
    person = await current_person(request)
    joined = await _joined(request, slug, person) if person else None
    room = joined.room if joined else _gate(request).kept(slug).room
    place = joined.place if joined else None
    sku, most, offer = "", 0, None
    drop = await drops.find(slug)
    if drop is None:
        raise NotFound()
    if place is not None and place.state is PlaceState.ADMITTED:
        async with shop.database.connection() as conn:
            offer = await find_drop_offer(conn, slug=slug, currency=shop.settings.currency)
        if offer is not None and offer.offer is not None:
            sku, most = choice(offer.offer, at_most=min(drop.per_buyer, shop.settings.holds.max_quantity))
    ahead = ahead_of(room, place)
    context = RoomContext(
        slug=slug,
        title=drop.title,
        room=room,
        place=place,
        known=_known(room, person),
        drop=offer,
        sku=sku,
        most=most,
        hold_minutes=whole_minutes(shop.settings.holds.ttl_s),
        problem=words_of(problem) if problem else "",
        look_again_s=LOOK_AGAIN_S,
        stage=stage_of(room, place),
        ahead=ahead,
        minutes=minutes_until(room, ahead),
        prospect=prospect_of(room, ahead),
        part=part_of(room, place),
        ticket=gate.ticket_of(_gate(request).ring, joined.place) if joined else "",
        receipt=gate.receipt_text(_gate(request).ring, joined.receipt) if joined else "",
    )
    status = problem.status if problem else 200
    return render(request, "storefront/room.html", context, status=status, headers=NOT_KEPT)


def _known(room: Room, person: Visitor | None) -> bool:
    return person is not None and (room.guests or person.role != GUEST)


async def _joined(request: Request, slug: str, person: Visitor) -> Joined | None:
    """Somebody's place with its room as of now. Raises: RoomUnknown."""
    return await _gate(request).find(PlaceQuestion(_gate(request).kept(slug).room.id, person.id))


def _gate(request: Request) -> Gate:
    found: Gate = request.app.state.gate
    return found

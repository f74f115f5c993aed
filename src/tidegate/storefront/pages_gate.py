"""The waiting room before a shop elsewhere, as a gate on its own shows it.

The shop sends people to `/drops/{slug}/room?return_to=ADDRESS`, with `&visitor=TOKEN` where it knows who they are. What
it said becomes cookies and leaves the address; when it is their turn, people are sent back to ADDRESS with their pass.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Request
from msgspec import structs
from starlette.responses import RedirectResponse, Response

from tidegate import gate
from tidegate.gate import ForeignRoom, Gate, Joined, JoinWish, Phase, Place, PlaceQuestion, PlaceState, Room
from tidegate.platform.problems import Problem
from tidegate.platform.settings import Settings
from tidegate.storefront.room_line import GUEST, LineContext, own_of, stage_of
from tidegate.web import (
    NOT_KEPT,
    Visitor,
    current_person,
    ensure_buyer,
    read_form,
    render,
    request_locale,
    see_other,
    set_session,
    words_of,
)

router = APIRouter(include_in_schema=False)

CUSTOMER: Final = "customer"
RETURN_COOKIE: Final = "tidegate_return"
PASS_PARAMETER: Final = "tidegate_pass"  # noqa: S105 - a name, not a secret
MAX_ADDRESS: Final = 2_000
MOST_LISTED: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRoomContext(LineContext):
    """Context of `storefront/gate_room.html`."""

    shop_name: str
    """Host name of the shop that people wait for."""
    vouched: bool
    back: str
    """Where the visitor came from, or the shop's first page."""
    onward: str
    """The same with their pass; empty while it is not their turn."""


@dataclass(frozen=True, slots=True)
class GateRoomsContext:
    """Context of `storefront/gate_rooms.html`: slugs and titles."""

    rooms: tuple[tuple[str, str], ...]


@router.get("/")
async def show_rooms(request: Request) -> Response:
    """Rooms that are not closed."""
    live = [kept.room for kept in _gate(request).statuses.values() if kept.room.phase is not Phase.CLOSED]
    foreign = _gate(request).foreign
    rooms = tuple((room.slug, foreign[room.id].title) for room in live[:MOST_LISTED] if room.id in foreign)
    return render(request, "storefront/gate_rooms.html", GateRoomsContext(rooms))


@router.get("/drops/{slug}/room")
async def show_room(request: Request, slug: str, return_to: str = "", visitor: str = "") -> Response:
    """The room as its visitor sees it; what the shop said in the address is noted first."""
    room, foreign = _gate(request).kept_foreign(slug)
    if return_to or visitor:
        return _arrived(request, room, foreign, return_to, visitor)
    return await _page(request, room, foreign)


@router.post("/drops/{slug}/room")
async def post_room(request: Request, slug: str) -> Response:
    """Take a place, or one at the end again; a stranger becomes a guest where the room takes guests."""
    await read_form(request)
    room, foreign = _gate(request).kept_foreign(slug)
    if not _known(room, await current_person(request)):
        return see_other(request, f"/drops/{slug}/room")
    person, token = await ensure_buyer(request)
    try:
        await _gate(request).join(JoinWish(slug, person.id, guest=person.role == GUEST))
    except Problem as problem:
        return await _page(request, room, foreign, problem=problem)
    return see_other(request, f"/drops/{slug}/room", session_token=token)


@router.post("/drops/{slug}/room/leave")
async def post_leave(request: Request, slug: str) -> Response:
    """Give a place up."""
    await read_form(request)
    room, _foreign = _gate(request).kept_foreign(slug)
    joined = await _joined(request, room, await current_person(request))
    if joined is not None:
        async with _gate(request).database.transaction() as conn:
            await gate.leave(conn, place_id=joined.place.id, buyer_id=joined.place.buyer_id)
    return see_other(request, f"/drops/{slug}/room")


def of_shop(foreign: ForeignRoom, address: str) -> bool:
    """Whether an address is a page of the shop: passes are sent nowhere else."""
    if not address.isascii() or not address.isprintable() or "\\" in address or len(address) > MAX_ADDRESS:
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}".lower() == foreign.shop


def with_pass(address: str, token: str) -> str:
    """An address of the shop with somebody's pass."""
    parts = urlsplit(address)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=query + urlencode({PASS_PARAMETER: token}), fragment=""))


def _arrived(request: Request, room: Room, foreign: ForeignRoom, return_to: str, visitor: str) -> Response:
    """Note who comes and where they want to go, and show the room without that in its address."""
    settings: Settings = request.app.state.settings
    now_s = time.time()
    path = f"/drops/{room.slug}/room"
    response = RedirectResponse(path, status_code=303, headers={**NOT_KEPT, "referrer-policy": "no-referrer"})
    if of_shop(foreign, return_to):
        response.set_cookie(
            RETURN_COOKIE,
            return_to,
            max_age=settings.accounts.session_days * 86_400,
            path=path,
            httponly=True,
            samesite="lax",
            secure=settings.security.cookie_secure,
        )
    person_id = gate.read_visitor(visitor, shop_key=foreign.shop_key, drop=room.drop_id, now_s=now_s)
    if person_id is not None:
        tokens: gate.VisitorTokens = request.app.state.visitor_tokens
        set_session(request, response, tokens.make(person_id, vouched=True, now_s=now_s))
    return response


async def _page(request: Request, room: Room, foreign: ForeignRoom, *, problem: Problem | None = None) -> Response:
    person = await current_person(request)
    joined = await _joined(request, room, person)
    room, place = (joined.room, joined.place) if joined else (room, None)
    if foreign.free is None:
        room = structs.replace(room, stock_left=None)  # nobody has said what is left
    wanted = request.cookies.get(RETURN_COOKIE, "")
    back = wanted if of_shop(foreign, wanted) else f"{foreign.shop}/"
    context = GateRoomContext(
        slug=room.slug,
        title=foreign.title,
        room=room,
        place=place,
        own=own_of(room, joined, _gate(request).ring, locale=request_locale(request)),
        known=_known(room, person),
        problem=words_of(problem) if problem else "",
        shop_name=urlsplit(foreign.shop).netloc,
        vouched=person is not None and person.role == CUSTOMER,
        back=back,
        onward=_onward(request, room, place, back) if place is not None and stage_of(room, place) == "turn" else "",
    )
    status = problem.status if problem else 200
    return render(request, "storefront/gate_room.html", context, status=status, headers=NOT_KEPT)


def _onward(request: Request, room: Room, place: Place, back: str) -> str:
    assert place.state is PlaceState.ADMITTED, "only those whose turn it is have a pass"
    assert place.expires_at is not None, "a turn ends"
    token = gate.pass_of(
        _gate(request).ring,
        drop_id=room.drop_id,
        place_id=place.id,
        buyer_id=place.buyer_id,
        ends_at=place.expires_at,
    )
    return with_pass(back, token)


def _known(room: Room, person: Visitor | None) -> bool:
    return room.guests or (person is not None and person.role == CUSTOMER)


async def _joined(request: Request, room: Room, person: Visitor | None) -> Joined | None:
    return None if person is None else await _gate(request).find(PlaceQuestion(room.id, person.id))


def _gate(request: Request) -> Gate:
    found: Gate = request.app.state.gate
    return found

"""The staff's pages of a gate on its own: its rooms, how their lines move, opening, pausing, the speed, a word to all.

The gate has no accounts. Who may run commands on its machine makes a key there (`tidegate room staff`) and signs in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from fastapi import APIRouter, Request
from msgspec import structs
from starlette.responses import Response

from tidegate import gate
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.admin.room_parts import LIVE_S, give_value, room_charts, set_speed_and_message
from tidegate.gate import DrawIsOver, ForeignRoom, Gate, Phase, Room, RoomUnknown, RoomView, VisitorTokens
from tidegate.ops import DropSample
from tidegate.platform.charts import Chart
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, forget_session, own_path, read_form, render, see_other

router = staff_router()
sign_in_router = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)

HOME: Final = "/admin"
KEY_PARAMETER: Final = "key="


@dataclass(frozen=True, slots=True)
class GateDrop:
    """What a room of another shop's is for, as far as the gate knows it."""

    slug: str
    title: str


@dataclass(frozen=True, slots=True)
class GateRoomsContext:
    """Context of `admin/gate_rooms.html`."""

    listed: tuple[tuple[Room, ForeignRoom], ...]


@dataclass(frozen=True, slots=True)
class GateLoginContext:
    """Context of `admin/gate_login.html`."""

    then: str
    typed: str
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GateLiveContext:
    """Context of `admin/room.html`, as `LiveRoomContext` of a shop's."""

    drop: GateDrop
    view: RoomView
    engine_p99_ms: float | None
    objective_ms: int
    charts: tuple[Chart, ...]
    now: datetime
    typed: Mapping[str, str]
    errors: Mapping[str, str]
    changed: bool
    live_s: int
    max_message: int
    value_wait_s: float


@dataclass(frozen=True, slots=True)
class GateChangeContext:
    """Context of `admin/room_open.html` and `admin/gate_room_close.html`: what a change means that cannot be undone."""

    drop: GateDrop
    view: RoomView
    error: str = ""


@sign_in_router.get("/login")
async def show_login(request: Request, key: str = "", next: str = "") -> Response:
    """Sign in with the key in the address, which leaves it; without one, ask for it."""
    if key:
        return _signed_in(request, key, next)
    return render(request, "admin/gate_login.html", GateLoginContext(own_path(next) or HOME, "", {}), headers=NOT_KEPT)


@sign_in_router.post("/login")
async def post_login(request: Request) -> Response:
    """Sign in with the key that was typed, or with the whole address that it came in."""
    form = await read_form(request)
    return _signed_in(request, form.get("key").rpartition(KEY_PARAMETER)[2], form.get("next"))


@sign_in_router.post("/logout")
async def post_logout(request: Request) -> Response:
    """Forget who this browser's was."""
    await read_form(request)
    response = see_other(request, "/login")
    forget_session(request, response)
    return response


@router.get("")
async def show_rooms(request: Request) -> Response:
    """All rooms, those that are not closed first."""
    rooms = _gate(request)
    found = tuple(
        (kept.room, rooms.foreign[kept.room.id]) for kept in rooms.statuses.values() if kept.room.id in rooms.foreign
    )
    return render(request, "admin/gate_rooms.html", GateRoomsContext(found), headers=NOT_KEPT)


@router.get("/drops/{slug}/room")
async def show_room(request: Request, slug: str, changed: str = "") -> Response:
    """How the line moves."""
    return await _page(request, slug, changed=changed == "1")


@router.post("/drops/{slug}/room")
async def change_room(request: Request, slug: str) -> Response:
    """Set the speed and the message, together."""
    form = await read_form(request)
    typed = {"speed": form.get("speed"), "message": form.get("message")}
    errors: dict[str, str] = {}
    try:
        async with _gate(request).database.transaction() as conn:
            await set_speed_and_message(conn, slug, typed, errors)
    except InvalidRequest:
        return await _page(request, slug, typed=typed, errors=errors)
    except RoomUnknown:
        return see_other(request, f"/admin/drops/{slug}/room")
    return await _changed(request, slug, "room changed")


@router.post("/drops/{slug}/room/pause")
async def pause(request: Request, slug: str) -> Response:
    """Let nobody in for now, or go on."""
    form = await read_form(request)
    paused = form.get("paused") == "1"
    try:
        async with _gate(request).database.transaction() as conn:
            await gate.pause_room(conn, slug=slug, paused=paused)
    except RoomUnknown:
        return see_other(request, f"/admin/drops/{slug}/room")
    return await _changed(request, slug, "room paused" if paused else "room goes on")


@router.post("/drops/{slug}/room/beacon")
async def give_draw_its_value(request: Request, slug: str) -> Response:
    """Put the value that was drawn in public into the draw that waits for it, once."""
    form = await read_form(request)
    typed, errors = {"value": form.get("value")}, dict[str, str]()
    try:
        async with _gate(request).database.transaction() as conn:
            await give_value(conn, slug, typed["value"], errors)
    except InvalidRequest:
        return await _page(request, slug, typed=typed, errors=errors)
    except RoomUnknown:
        return see_other(request, f"/admin/drops/{slug}/room")
    return await _changed(request, slug, "draw given its value")


@router.get("/drops/{slug}/room/open")
async def ask_open(request: Request, slug: str) -> Response:
    """What opening it now means, and whether to. Of a room that has opened it leads to the room."""
    return await _ask(request, slug, "admin/room_open.html", may=lambda room: room.cut is None)


@router.post("/drops/{slug}/room/open")
async def open_now(request: Request, slug: str) -> Response:
    """Open a room before its time: lots are drawn among all who are there."""
    await read_form(request)
    try:
        async with _gate(request).database.transaction() as conn:
            await gate.reschedule(conn, slug=slug, opens_at=await database_now(conn))
    except (RoomUnknown, DrawIsOver):
        return see_other(request, f"/admin/drops/{slug}/room")
    return await _changed(request, slug, "room opened")


@router.get("/drops/{slug}/room/close")
async def ask_close(request: Request, slug: str) -> Response:
    """What closing it means, and whether to. Of a closed room it leads to the room."""
    return await _ask(request, slug, "admin/gate_room_close.html", may=lambda room: True)


@router.post("/drops/{slug}/room/close")
async def close(request: Request, slug: str) -> Response:
    """End a room for good."""
    await read_form(request)
    async with _gate(request).database.transaction() as conn:
        await gate.close_room(conn, slug=slug)
    return await _changed(request, slug, "room closed")


def _signed_in(request: Request, key: str, then: str) -> Response:
    tokens: VisitorTokens = request.app.state.visitor_tokens
    token = tokens.sign_in(key, now_s=time.time())
    then = own_path(then) or HOME
    if token is None:
        errors = {"key": _("This key is not good, or older than ten minutes. Make a new one.")}
        context = GateLoginContext(then, "", errors)
        return render(request, "admin/gate_login.html", context, status=422, headers=NOT_KEPT)
    log.info("staff signed in")
    response = see_other(request, then, session_token=token)
    response.headers["referrer-policy"] = "no-referrer"
    return response


async def _changed(request: Request, slug: str, what: str) -> Response:
    person = await staff_member(request)
    log.info(what, drop=slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{slug}/room?changed=1")


async def _ask(request: Request, slug: str, template: str, *, may: Callable[[Room], bool]) -> Response:
    async with _gate(request).database.connection() as conn:
        drop, view, _engine = await _view(request, conn, slug)
    if view.room.phase is Phase.CLOSED or not may(view.room):
        return see_other(request, f"/admin/drops/{slug}/room")
    return render(request, template, GateChangeContext(drop, view), headers=NOT_KEPT)


async def _page(
    request: Request,
    slug: str,
    *,
    changed: bool = False,
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
) -> Response:
    rooms = _gate(request)
    async with rooms.database.connection() as conn:
        drop, view, engine_p99_ms = await _view(request, conn, slug)
        now = await database_now(conn)
    taken: Mapping[str, Sequence[DropSample]] = request.app.state.room_samples
    limit = view.speed_limit_per_min
    context = GateLiveContext(
        drop=drop,
        view=view,
        engine_p99_ms=engine_p99_ms,
        objective_ms=rooms.settings.admission.objective_ms,
        charts=room_charts(tuple(taken.get(slug, ())), (), end=time.time())[:-1],
        now=now,
        typed={"speed": "" if limit is None else str(limit), "message": view.room.message} | (typed or {}),
        errors=errors or {},
        changed=changed,
        live_s=LIVE_S,
        max_message=gate.MAX_MESSAGE,
        value_wait_s=rooms.settings.gate.beacon_staff_wait_s,
    )
    return render(request, "admin/room.html", context, status=422 if errors else 200, headers=NOT_KEPT)


async def _view(request: Request, conn: Connection, slug: str) -> tuple[GateDrop, RoomView, float | None]:
    """The room, and how long its shop's slowest percent of orders takes, if it said so. Raises: NotFound."""
    view = await gate.view_room(conn, slug=slug.replace("\0", ""), settings=_gate(request).settings.admission)
    if view is None:
        raise NotFound()
    foreign = (await gate.find_foreign_rooms(conn, room_ids=[view.room.id])).get(view.room.id)
    if foreign is None:
        raise NotFound()
    if foreign.free is None:
        view = structs.replace(view, room=structs.replace(view.room, stock_left=None))  # nobody has said what is left
    return GateDrop(view.room.slug, foreign.title), view, foreign.p99_ms


def _gate(request: Request) -> Gate:
    rooms: Gate = request.app.state.gate
    return rooms

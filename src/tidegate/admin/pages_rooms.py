"""The staff's view of a waiting room while it is open: how its line moves, pausing, the speed, a word to all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import catalog, gate, ops
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.admin.room_parts import LIVE_S, give_value, room_charts, set_speed_and_message
from tidegate.catalog import Drop, DropRuns, Room
from tidegate.checkout import Shop
from tidegate.gate import Phase, RoomUnknown, RoomView
from tidegate.platform.charts import Chart
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.web import NOT_KEPT, read_form, render, see_other, words_of

router = staff_router("/drops")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LiveRoomContext:
    """Context of `admin/room.html`. `typed` is what stands in the form, `errors` what is wrong with it, by field."""

    drop: Drop
    view: RoomView
    engine_p99_ms: float | None
    objective_ms: int
    charts: tuple[Chart, ...]
    now: datetime
    typed: dict[str, str]
    errors: dict[str, str]
    changed: bool
    live_s: int
    max_message: int
    value_wait_s: float


@dataclass(frozen=True, slots=True)
class OpenRoomContext:
    """Context of `admin/room_open.html`: what opening a room before its time means."""

    drop: Drop
    view: RoomView
    error: str


@router.get("/{slug}/room")
async def show_room(request: Request, slug: str, changed: str = "") -> Response:
    """How the line moves. Of a drop without a room it leads to the drop."""
    async with _shop(request).database.connection() as conn:
        drop = await catalog.find_drop(conn, slug=slug)
    if drop is not None and drop.room is Room.NONE:
        return see_other(request, f"/admin/drops/{drop.slug}")
    return await _page(request, slug, changed=changed == "1")


@router.post("/{slug}/room")
async def change_room(request: Request, slug: str) -> Response:
    """Set the speed and the message, together."""
    form, shop, person = await read_form(request), _shop(request), await staff_member(request)
    typed = {"speed": form.get("speed").strip(), "message": form.get("message")}
    errors: dict[str, str] = {}
    try:
        async with shop.database.transaction() as conn:
            await _view(conn, shop, slug)
            await set_speed_and_message(conn, slug, typed, errors)
    except InvalidRequest:
        return await _page(request, slug, typed=typed, errors=errors)
    except RoomUnknown:
        return see_other(request, f"/admin/drops/{slug}/room")
    log.info("room changed", drop=slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{slug}/room?changed=1")


@router.post("/{slug}/room/pause")
async def pause(request: Request, slug: str) -> Response:
    """Let nobody in for now, or go on."""
    form, shop, person = await read_form(request), _shop(request), await staff_member(request)
    paused = form.get("paused") == "1"
    try:
        async with shop.database.transaction() as conn:
            await _view(conn, shop, slug)
            await gate.pause_room(conn, slug=slug, paused=paused)
    except RoomUnknown:
        return see_other(request, f"/admin/drops/{slug}/room")
    log.info("room paused" if paused else "room goes on", drop=slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{slug}/room?changed=1")


@router.post("/{slug}/room/beacon")
async def give_draw_its_value(request: Request, slug: str) -> Response:
    """Put the value that was drawn in public into the draw that waits for it, once."""
    form, shop, person = await read_form(request), _shop(request), await staff_member(request)
    typed, errors = {"value": form.get("value")}, dict[str, str]()
    try:
        async with shop.database.transaction() as conn:
            await _view(conn, shop, slug)
            await give_value(conn, slug, typed["value"], errors)
    except InvalidRequest:
        return await _page(request, slug, typed=typed, errors=errors)
    except RoomUnknown:
        return see_other(request, f"/admin/drops/{slug}/room")
    log.info("draw given its value", drop=slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{slug}/room?changed=1")


@router.get("/{slug}/room/open")
async def ask_open(request: Request, slug: str) -> Response:
    """What opening it now means, and whether to. Of a room that has opened it leads to the room."""
    return await _ask_open(request, slug)


@router.post("/{slug}/room/open")
async def open_now(request: Request, slug: str) -> Response:
    """Open the drop and its room before their time: lots are drawn among all who are there."""
    await read_form(request)
    shop, person = _shop(request), await staff_member(request)
    try:
        async with shop.database.transaction() as conn:
            drop, _view_of = await _view(conn, shop, slug)
            await ops.change_drop(
                conn,
                slug=drop.slug,
                title=drop.title,
                quantity=sum(item.quantity for item in drop.items),
                opens_at=await database_now(conn),
                per_buyer=drop.per_buyer,
                guests=drop.guests,
                by=PersonId(person.id),
            )
    except DropRuns:
        return see_other(request, f"/admin/drops/{slug}/room")
    except InvalidRequest as problem:
        return await _ask_open(request, slug, error=words_of(problem))
    log.info("room opened", drop=slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{slug}/room?changed=1")


async def _ask_open(request: Request, slug: str, *, error: str = "") -> Response:
    shop = _shop(request)
    async with shop.database.connection() as conn:
        drop = await catalog.find_drop(conn, slug=slug)
        view = await gate.view_room(conn, slug=slug, settings=shop.settings.admission) if drop else None
    if drop is None:
        raise NotFound()
    if view is None or view.room.cut is not None or view.room.phase is Phase.CLOSED:
        return see_other(request, f"/admin/drops/{slug}/room")
    context = OpenRoomContext(drop, view, error)
    return render(request, "admin/room_open.html", context, status=422 if error else 200, headers=NOT_KEPT)


async def _page(
    request: Request,
    slug: str,
    *,
    changed: bool = False,
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
) -> Response:
    shop = _shop(request)
    async with shop.database.connection() as conn:
        drop, view = await _view(conn, shop, slug)
        now = await database_now(conn)
    samples = await ops.read_drop_samples(shop.settings, drop_id=drop.id)
    measured = await ops.read_samples(shop.settings)
    limit = view.speed_limit_per_min
    context = LiveRoomContext(
        drop=drop,
        view=view,
        engine_p99_ms=measured[-1].engine_p99_ms if measured else None,
        objective_ms=shop.settings.admission.objective_ms,
        charts=room_charts(samples, measured, end=time.time()),
        now=now,
        typed={"speed": "" if limit is None else str(limit), "message": view.room.message} | (typed or {}),
        errors=errors or {},
        changed=changed,
        live_s=LIVE_S,
        max_message=gate.MAX_MESSAGE,
        value_wait_s=shop.settings.gate.beacon_staff_wait_s,
    )
    return render(request, "admin/room.html", context, status=422 if errors else 200, headers=NOT_KEPT)


async def _view(conn: Connection, shop: Shop, slug: str) -> tuple[Drop, RoomView]:
    """Raises: NotFound, also for a drop without a room."""
    drop = await catalog.find_drop(conn, slug=slug)
    view = None if drop is None else await gate.view_room(conn, slug=drop.slug, settings=shop.settings.admission)
    if drop is None or view is None:
        raise NotFound()
    return drop, view


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

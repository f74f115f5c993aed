"""The gate on its own: waiting rooms before shops elsewhere, in one process that needs PostgreSQL only.

It serves the rooms' API and pages and moves their lines, and reads and writes no tables but the gate's. Several such
processes may share a database and a port. Without TIDEGATE_DATABASE_URL it runs a PostgreSQL of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.types import ASGIApp

from tidegate.admin import pages_gate as admin_pages_gate
from tidegate.entrypoints.admission import clear_rooms, gate_admission
from tidegate.entrypoints.room_samples import EVERY_S, RoomSamples
from tidegate.entrypoints.serving import (
    add_routers,
    bare_app,
    database_checks,
    listening_sockets,
    make_entrance,
    stop_on,
    told_to_commands,
)
from tidegate.gate import (
    Gate,
    GateVisitor,
    RoomClock,
    VisitorTokens,
    draw_rooms_once,
    fetch_beacon,
    http_pace,
    open_gate,
)
from tidegate.gate import http as gate_http
from tidegate.gate import http_shop as gate_http_shop
from tidegate.ops import database_at_hand
from tidegate.platform.database import Database, open_database
from tidegate.platform.edge.health import health_router
from tidegate.platform.edge.lean import Shelf
from tidegate.platform.edge.openapi import describe, openapi_router
from tidegate.platform.edge.server import make_server
from tidegate.platform.edge.stack import make_app
from tidegate.platform.loops import Loop, run_loops
from tidegate.platform.observability import PROCESS_NAME_VARIABLE, configure_logging, start_metrics
from tidegate.platform.settings import Settings, current_settings
from tidegate.storefront import pages_draw, pages_gate
from tidegate.web import StaticTree, error_page, form_key, pages_language, pages_problems

ROUTERS = (
    pages_gate.router,
    pages_draw.router,
    pages_problems.router,
    pages_language.router,
    admin_pages_gate.sign_in_router,
    admin_pages_gate.router,
)
HOT_ROUTES = (*gate_http.ROUTES, *gate_http_shop.ROUTES)


def create_app(settings: Settings, *, shelf: Shelf | None = None) -> ASGIApp:
    """The gate with its edge; its start and stop open and close what it needs (ASGI lifespan).

    `shelf` is what its server answers by itself.
    Raises: StartupError when a key or a setting of the edge is missing or wrong.
    """
    form_key(settings.security)
    app = bare_app(settings, lifespan=_running)
    app.state.bare = True
    app.state.shelf = shelf or Shelf(settings)
    add_routers(app, health_router(database_checks(app)), openapi_router(partial(describe, app, HOT_ROUTES)), *ROUTERS)
    app.mount("/static", StaticTree())
    return make_app(app, settings, hot=HOT_ROUTES, error_page=error_page)


def serve() -> None:
    """Serve until SIGTERM or SIGINT, with a PostgreSQL of its own unless the settings name one.

    Raises: StartupError when something must be mended first; SystemExit(0) after an orderly stop.
    """
    stop_on(signal.SIGTERM, signal.SIGINT)
    with database_at_hand(Settings(), may_make=True) as found, told_to_commands(found):
        settings = current_settings()
        name = os.environ.get(PROCESS_NAME_VARIABLE, "gate")
        configure_logging(settings, process_name=name)
        shelf = Shelf(settings)
        app = create_app(settings, shelf=shelf)
        sockets = listening_sockets(settings)
        start_metrics(settings, process_name=name)
        sys.stdout.write(
            f"The gate is at {settings.base_url}; `tidegate room create` makes a room,"
            " `tidegate room staff` signs you in to lead it.\n"
        )
        sys.stdout.flush()
        make_server(app, settings.http, shelf=shelf, entrance=make_entrance(settings)).run(sockets=sockets)


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    tokens = VisitorTokens(form_key(settings.security), days=settings.accounts.session_days)
    app.state.visitor_tokens = tokens

    async def resolve_person(token: str) -> GateVisitor | None:
        return tokens.read(token, now_s=time.time())

    async def make_guest() -> object:
        return tokens.make_guest(now_s=time.time())

    app.state.resolve_person = resolve_person
    app.state.make_guest = make_guest
    stop = asyncio.Event()
    show = partial(gate_http.shelve, app.state.shelf)
    async with open_database(settings) as database, open_gate(database, settings, show=show) as rooms:
        app.state.database = database
        app.state.gate = rooms
        app.state.room_title = partial(_title, rooms)
        app.state.shelf.guard = http_pace.pace_guard(rooms)
        samples = RoomSamples(database, settings)
        app.state.room_samples = samples.taken
        loops = [*make_loops(database, settings), Loop("sample-rooms", samples.take, EVERY_S)]
        moving = asyncio.create_task(run_loops(loops, stop=stop, grace_s=1.0), name="loops")
        try:
            yield
        finally:
            stop.set()
            await moving


async def _title(rooms: Gate, slug: str) -> str | None:
    return rooms.kept_foreign(slug)[1].title


def make_loops(database: Database, settings: Settings) -> list[Loop]:
    """What the gate does by itself; the same as a shop's scheduler does for its rooms, and both at once do no harm."""
    rooms = settings.gate
    ask = partial(fetch_beacon, timeout_s=rooms.beacon_timeout_s)

    async def clear() -> int:
        async with database.transaction() as conn:
            return await clear_rooms(settings, conn)

    return [
        Loop("clear-rooms", clear, 3_600.0),
        Loop("open-rooms", RoomClock(database).once, rooms.rounds_ms / 1000),
        Loop("draw-rooms", partial(draw_rooms_once, database, rooms, ask), 1.0),
        Loop("admission", gate_admission(database, settings).once, settings.admission.interval_ms / 1000),
    ]

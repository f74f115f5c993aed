"""Notify on its own: messages of any application, in one process with its API and what it does by itself.

Mails are sent by `tidegate worker` processes beside it. It reads and writes no tables but notify's and the platform's.
Several such processes may share a database and a port. Without TIDEGATE_DATABASE_URL and TIDEGATE_VALKEY_URL it runs a
PostgreSQL and a Valkey of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from tidegate.entrypoints.message_loops import make_message_loops
from tidegate.entrypoints.serving import (
    add_routers,
    bare_app,
    database_checks,
    listening_sockets,
    make_entrance,
    stop_on,
    told_to_commands,
)
from tidegate.notify import (
    http_dead_letters,
    http_deliveries,
    http_devices,
    http_events,
    http_preferences,
    http_receipts,
    http_recipients,
    http_staff,
    http_templates,
    http_topics,
    http_webhooks,
)
from tidegate.notify import pages_follow as notify_pages_follow
from tidegate.notify import pages_preferences as notify_pages_preferences
from tidegate.ops import servers_at_hand
from tidegate.platform.database import open_database
from tidegate.platform.edge.health import health_router
from tidegate.platform.edge.openapi import describe, openapi_router
from tidegate.platform.edge.server import make_server
from tidegate.platform.edge.stack import make_app
from tidegate.platform.ids import PersonId
from tidegate.platform.jobs import make_app as make_jobs
from tidegate.platform.loops import run_loops
from tidegate.platform.observability import PROCESS_NAME_VARIABLE, configure_logging, start_metrics
from tidegate.platform.relay import listen
from tidegate.platform.settings import Settings, current_settings
from tidegate.web import StaticTree, error_page, form_key, pages_docs, pages_language, pages_problems, see_other

ROUTERS = (
    http_recipients.router,
    http_preferences.router,
    http_devices.router,
    http_topics.router,
    http_events.router,
    http_deliveries.router,
    http_receipts.router,
    http_staff.router,
    http_webhooks.router,
    http_dead_letters.router,
    http_templates.router,
    notify_pages_follow.router,
    notify_pages_preferences.router,
    pages_docs.router,
    pages_problems.router,
    pages_language.router,
)


def create_app(settings: Settings, *, moving: bool = True) -> ASGIApp:
    """Notify with its edge; its start and stop open and close what it needs (ASGI lifespan).

    With `moving` it also does what must happen though nobody asks.
    Raises: StartupError when a key or a setting of the edge is missing or wrong.
    """
    form_key(settings.security)
    app = bare_app(settings, lifespan=_running)
    app.state.bare = True
    app.state.moving = moving
    first = APIRouter(include_in_schema=False)

    @first.get("/")
    async def show_first_page(request: Request) -> Response:
        return see_other(request, "/docs")

    health, document = health_router(database_checks(app)), openapi_router(partial(describe, app, ()))
    add_routers(app, health, document, first, *ROUTERS)
    app.mount("/static", StaticTree())
    return make_app(app, settings, error_page=error_page)


def serve() -> None:
    """Serve until SIGTERM or SIGINT, with servers of its own unless the settings name others.

    Raises: StartupError when something must be mended first; SystemExit(0) after an orderly stop.
    """
    stop_on(signal.SIGTERM, signal.SIGINT)
    with servers_at_hand(Settings()) as found, told_to_commands(found):
        settings = current_settings()
        name = os.environ.get(PROCESS_NAME_VARIABLE, "notify")
        configure_logging(settings, process_name=name)
        app = create_app(settings)
        sockets = listening_sockets(settings)
        start_metrics(settings, process_name=name)
        sys.stdout.write(f"Notify is at {settings.base_url}; `tidegate notify key create` lets an application in.\n")
        sys.stdout.flush()
        make_server(app, settings.http, entrance=make_entrance(settings)).run(sockets=sockets)


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings

    async def resolve_person(token: str) -> None:
        """Nobody has a session here."""

    async def address_of(person_id: PersonId) -> None:
        """Nor an account."""

    app.state.resolve_person = resolve_person
    app.state.address_of = address_of
    stop, wake = asyncio.Event(), asyncio.Event()
    async with open_database(settings) as database:
        app.state.database = database
        if not app.state.moving:
            yield
            return
        make_jobs(settings)
        listener = asyncio.create_task(listen(settings, wake=[wake], draw=random.random), name="listen")
        loops = make_message_loops(database, settings, wake=wake)
        moving = asyncio.create_task(run_loops(loops, stop=stop, grace_s=settings.jobs.soft_shutdown_s), name="loops")
        try:
            yield
        finally:
            listener.cancel()
            stop.set()
            await asyncio.gather(listener, moving, return_exceptions=True)

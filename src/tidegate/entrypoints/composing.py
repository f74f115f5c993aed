"""What the processes of a shop are composed of: who people are, buying, waiting, and what pages are made from."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.types import ASGIApp

from tidegate import accounts
from tidegate.checkout import open_shop
from tidegate.entrypoints.serving import listening_sockets, make_entrance, say_started, sockets_beside, stop_on
from tidegate.gate import http as gate_http
from tidegate.gate import http_pace as gate_http_pace
from tidegate.gate import open_gate
from tidegate.payments import make_providers
from tidegate.platform.database import Database, open_database
from tidegate.platform.edge.lean import Shelf
from tidegate.platform.edge.server import make_server
from tidegate.platform.garbage import look_when_calm, spare_what_is_there
from tidegate.platform.ids import PersonId
from tidegate.platform.latency_sharing import sharing_latency
from tidegate.platform.observability import PROCESS_NAME_VARIABLE, configure_logging, start_metrics
from tidegate.platform.settings import Settings
from tidegate.storefront import RoomDrops, open_answers
from tidegate.storefront import pages_visit as storefront_pages_visit


@asynccontextmanager
async def open_people(app: FastAPI) -> AsyncIterator[None]:
    """The database, Valkey, and who somebody is."""
    settings: Settings = app.state.settings
    async with (
        open_database(settings) as database,
        _open_valkey(settings) as valkey,
        accounts.open_sessions(database, settings, valkey=valkey) as sessions,
        sharing_latency(valkey),
    ):
        app.state.database = database
        app.state.valkey = valkey
        app.state.sessions = sessions
        app.state.resolve_person = sessions.find
        app.state.resolve_buyer = sessions.find_buyer
        app.state.address_of = partial(_address_of, database)
        app.state.make_guest = sessions.make_guest
        yield


@asynccontextmanager
async def open_buying(app: FastAPI) -> AsyncIterator[None]:
    """The sale engine and the ways to pay."""
    database, settings = app.state.database, app.state.settings
    providers = make_providers(database, settings, extra=app.state.extra_providers)
    async with open_shop(database, settings, providers) as shop:
        app.state.shop = shop
        yield


@asynccontextmanager
async def open_waiting(app: FastAPI) -> AsyncIterator[None]:
    """The waiting rooms."""
    show = partial(gate_http.shelve, app.state.shelf)
    async with open_gate(app.state.database, app.state.settings, show=show) as rooms:
        app.state.gate = rooms
        app.state.shelf.guard = gate_http_pace.pace_guard(rooms)
        yield


@asynccontextmanager
async def open_pages(app: FastAPI) -> AsyncIterator[None]:
    """What pages of the shop are made from, and how fresh that is."""
    async with open_answers(app.state.database, app.state.settings) as (answers, freshness):
        app.state.visit = storefront_pages_visit.visit_of
        app.state.inboxes = storefront_pages_visit.watch_inboxes(app.state.settings)
        app.state.freshness = freshness
        app.state.answers = answers
        app.state.room_drops = RoomDrops(app.state.database, answers)
        app.state.room_title = app.state.room_drops.title
        yield


def serve_app(
    settings: Settings,
    create: Callable[[Settings, Shelf], ASGIApp],
    *,
    default_name: str,
    on_stop: Callable[[ASGIApp], None] = lambda _: None,
) -> None:
    """Serve an application until SIGTERM, SIGINT or SIGQUIT, on the inherited socket or on the settings' address.

    Raises: StartupError when something must be mended first; SystemExit(0) after an orderly stop.
    """
    stop_on(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    name = os.environ.get(PROCESS_NAME_VARIABLE, default_name)
    configure_logging(settings, process_name=name)
    settings.require_database_url()
    settings.require_valkey_url()
    shelf = Shelf(settings)
    app = create(settings, shelf)
    sockets = listening_sockets(settings)
    start_metrics(settings, process_name=name)
    spare_what_is_there()
    server = make_server(
        app,
        settings.http,
        shelf=shelf,
        entrance=make_entrance(settings),
        on_start=_started,
        on_stop=partial(on_stop, app),
        beside=sockets_beside(),
    )
    server.run(sockets=sockets)


def _started() -> None:
    look_when_calm()
    say_started()


@asynccontextmanager
async def _open_valkey(settings: Settings) -> AsyncIterator[Redis]:
    timeout_s = settings.cache.timeout_ms / 1000
    valkey: Redis = Redis.from_url(
        settings.require_valkey_url(), socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None
    )
    try:
        yield valkey
    finally:
        await valkey.aclose()


async def _address_of(database: Database, person_id: PersonId) -> str | None:
    async with database.connection() as conn:
        return (await accounts.addresses_of(conn, people=[person_id])).get(person_id)

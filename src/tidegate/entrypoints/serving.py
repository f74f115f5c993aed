"""What every serving process of ours begins with: its app, its socket, its end, and whether its database is there."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from types import FrameType

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from tidegate import __version__, inventory
from tidegate.entrypoints.prepare import migrate_database
from tidegate.entrypoints.priorities import Priorities
from tidegate.migrations.run import known_revisions
from tidegate.ops import write_endpoints
from tidegate.platform.edge.health import HealthCheck
from tidegate.platform.edge.refusals import Entrance, Refusals
from tidegate.platform.edge.server import listen
from tidegate.platform.overload.doors import Doors, show
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings
from tidegate.web import busy_pages

log = structlog.get_logger(__name__)

LISTEN_FD_VARIABLE = "TIDEGATE_LISTEN_FD"
"""How `tidegate up` tells a process which inherited file descriptors are its listening sockets: `7` or `7,9`."""

BESIDE_FD_VARIABLE = "TIDEGATE_BESIDE_FD"
"""How it tells which of them are the sockets of the processes beside it, written likewise."""

STARTED_FILE_VARIABLE = "TIDEGATE_STARTED_FILE"
"""How `tidegate up` tells a process which file to make as soon as it serves."""


def bare_app(settings: Settings, *, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    """An app without routes, which documents itself by our own pages only."""
    app = FastAPI(
        title=settings.shop_name,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    if inventory.skip_stock_check_if_asked(demo=settings.demo, home=settings.home.absolute()):
        log.error("stock_check_skipped", why="a rehearsal asks for a broken engine")
    return app


def add_routers(app: FastAPI, *routers: APIRouter) -> None:
    """Let `app` answer the routes of `routers` as they are.

    An app that includes a router works out all of its routes anew, at the first request, and looks through them twice.
    """
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute), f"{route} is no route of a router of its own"
            route.unique_id = _operation_id(route)
            app.router.routes.append(route)


def _operation_id(route: APIRoute) -> str:
    return route.name


def database_checks(app: FastAPI) -> Mapping[str, HealthCheck]:
    """Whether the database answers and has this program's revision.

    One of a newer program will do: migrations leave running processes what they need, and a shop is replaced process by
    process behind them.
    """
    revision = known_revisions()[-1]

    async def database_answers() -> None:
        async with app.state.database.connection() as conn:
            await conn.execute("SELECT 1")

    async def migrations_are_done() -> None:
        async with app.state.database.connection() as conn:
            row = await (await conn.execute("SELECT version_num FROM public.alembic_version")).fetchone()
        if row is None or row[0] < revision:
            raise StartupError("the database lacks migrations of this program")

    return {"database": database_answers, "migrations": migrations_are_done}


def shop_checks(app: FastAPI) -> Mapping[str, HealthCheck]:
    """Whether the servers answer that every process of a shop with people in it needs."""

    async def valkey_answers() -> None:
        await app.state.valkey.ping()

    return {**database_checks(app), "valkey": valkey_answers}


def say_started() -> None:
    """Tell `tidegate up` that requests are served from now on."""
    if file := os.environ.get(STARTED_FILE_VARIABLE):
        with suppress(OSError):
            Path(file).touch(mode=0o600)


def listening_sockets(settings: Settings) -> list[socket.socket]:
    """The inherited sockets, else one on the settings' address. Raises: StartupError."""
    inherited = os.environ.get(LISTEN_FD_VARIABLE)
    try:
        if inherited:
            return [socket.socket(fileno=int(number)) for number in inherited.split(",")]
        return [listen(settings.host, settings.port)]
    except (OSError, ValueError) as error:
        place = f"{LISTEN_FD_VARIABLE}={inherited}" if inherited else f"{settings.host}:{settings.port}"
        raise StartupError(f"cannot listen on {place}: {error}") from None


def sockets_beside() -> list[socket.socket]:
    """The inherited sockets of the processes beside this one. Raises: StartupError."""
    inherited = os.environ.get(BESIDE_FD_VARIABLE, "")
    try:
        return [socket.socket(fileno=int(number)) for number in inherited.split(",") if number]
    except (OSError, ValueError) as error:
        raise StartupError(f"cannot use {BESIDE_FD_VARIABLE}={inherited}: {error}") from None


def stop_on(*signals: signal.Signals) -> None:
    """Leave at these signals until uvicorn takes over, and again when it raises them at its end."""
    for number in signals:
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


@contextmanager
def told_to_commands(found: Settings) -> Iterator[None]:
    """Tell commands which servers of our own they find; such a database is brought to this version first."""
    given = Settings()
    own = [name for name in ("database_url", "valkey_url") if not getattr(given, name).get_secret_value()]
    urls = {name: url for name in own if (url := getattr(found, name).get_secret_value())}
    if not urls:
        yield
        return
    urls["base_url"] = found.base_url
    write_endpoints(found.endpoints_file, urls=urls, demo=False, supervisor_pid=os.getpid(), processes=[])
    try:
        if "database_url" in urls:
            migrate_database(found)
        yield
    finally:
        found.endpoints_file.unlink(missing_ok=True)


def make_entrance(settings: Settings) -> Entrance | None:
    """How this process lets requests in; None where everybody may come in always."""
    if not settings.overload.enabled:
        return None
    doors = Doors(settings)
    show(doors)
    return Entrance(doors, Priorities(), Refusals(settings, busy_pages(settings)))

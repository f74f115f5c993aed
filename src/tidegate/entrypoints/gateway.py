"""The sandbox as a process of its own, which can fail like a real gateway. A rehearsal with faults runs it."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Route
from uvicorn import Config, Server

from tidegate.entrypoints.serving import stop_on
from tidegate.payments import SandboxProvider
from tidegate.payments.http_gateway import answer_question
from tidegate.platform.database import open_database
from tidegate.platform.edge.server import listen
from tidegate.platform.observability import configure_logging, start_metrics
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

NAME = "gateway"


def create_app(settings: Settings) -> Starlette:
    """One route, and the sandbox's ledger behind it."""

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        async with open_database(settings) as database:
            app.state.provider = SandboxProvider(database, settings)
            yield

    return Starlette(routes=[Route("/", answer_question, methods=["POST"])], lifespan=running)


def serve(settings: Settings) -> None:
    """Answer at `payments.sandbox_url` until SIGTERM. Raises: StartupError outside of demo mode, or without a port."""
    where = urlsplit(settings.payments.sandbox_url)
    if not settings.demo or where.hostname is None or where.port is None:
        raise StartupError("the sandbox runs by itself only in demo mode, where TIDEGATE_PAYMENTS__SANDBOX_URL says")
    stop_on(signal.SIGTERM, signal.SIGINT)
    configure_logging(settings, process_name=NAME)
    start_metrics(settings, process_name=NAME)
    server = Server(Config(create_app(settings), log_config=None, access_log=False, server_header=False))
    server.run(sockets=[_listen(where.hostname, where.port)])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror}") from None

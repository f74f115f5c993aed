"""The floor: a bare Starlette route on uvicorn (httptools, uvloop) that reads a purchase and answers the same bytes.

What the framework and the machine could do if an order cost nothing. Started like a site process.
"""

from __future__ import annotations

import os
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LISTEN_FD_VARIABLE = "TIDEGATE_LISTEN_FD"
ANSWER_VARIABLE = "TIDEGATE_BENCHMARK_ANSWER"
"""The body of a real answer, so that both send the same bytes."""


def make_app(answer: bytes) -> Starlette:
    """An application that answers every purchase and every look with `answer`."""

    async def purchase(request: Request) -> Response:
        await request.body()
        return Response(answer, 201, {"cache-control": "no-store"}, "application/json")

    async def ready(request: Request) -> Response:
        return Response(b"{}", media_type="application/json")

    async def look(request: Request) -> Response:
        return Response(answer, 200, {"cache-control": "no-cache"}, "application/json")

    return Starlette(
        routes=[
            Route("/api/v1/purchases", purchase, methods=["POST"]),
            Route("/look", look, methods=["GET"]),
            Route("/readyz", ready, methods=["GET"]),
        ]
    )


def main() -> None:
    """Serve until SIGTERM, on the inherited socket."""
    config = uvicorn.Config(
        make_app(os.environ[ANSWER_VARIABLE].encode()),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    inherited = socket.socket(fileno=int(os.environ[LISTEN_FD_VARIABLE]))
    uvicorn.Server(config).run(sockets=[inherited])


if __name__ == "__main__":
    main()

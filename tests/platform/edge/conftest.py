"""A small shop behind the real edge: no database, routes that misbehave on demand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import msgspec
import psycopg
import pytest
from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp

from tests.logs import CaughtLogs, caught_logs
from tidegate.platform.edge.hot import HeaderParameter, HotRoute, answer, hot_route
from tidegate.platform.edge.limits import Upload
from tidegate.platform.edge.stack import make_app
from tidegate.platform.problems import NotFound, NotSignedIn, Overloaded, Problem
from tidegate.platform.settings import HttpSettings, Settings

HOST = "http://127.0.0.1:8000"
UPLOADS = (Upload(re.compile("/files/[a-z]+"), 200),)
SECRET_WORDS = "the vault stands open"


class Gone(Problem):
    """It is gone."""

    slug = "gone-for-good"
    status = 409


class Colour(BaseModel):
    name: str
    shade: int


class LineBody(msgspec.Struct):
    sku: str
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100)]


class BasketBody(msgspec.Struct):
    lines: Annotated[list[LineBody], msgspec.Meta(min_length=1, max_length=3)]
    note: str | None = None


class BasketAnswer(msgspec.Struct):
    id: str
    quantity: int


@hot_route(
    "POST",
    "/api/v1/baskets",
    body=BasketBody,
    returns=(201, BasketAnswer),
    problems=(Gone,),
    headers=(HeaderParameter("Idempotency-Key", "New for each basket.", required=True),),
    signed_in=True,
    tag="baskets",
)
async def post_basket(request: Request, body: BasketBody) -> Response:
    """Put goods into a basket.

    All of them or none.
    """
    if body.note == "gone":
        raise Gone("It is gone; your basket is kept.", left=0)
    return answer(BasketAnswer("b1", sum(line.quantity for line in body.lines)), status=201)


@hot_route("GET", "/api/v1/baskets/{basket_id}", returns=(200, BasketAnswer), problems=(NotFound,), tag="baskets")
async def get_basket(request: Request) -> Response:
    """A basket."""
    if request.path_params["basket_id"] == "broken":
        raise RuntimeError(SECRET_WORDS)
    return answer(BasketAnswer(request.path_params["basket_id"], 1))


ROUTES: tuple[HotRoute, ...] = (post_basket, get_basket)


def small_shop() -> FastAPI:
    """The routes behind the hot ones."""
    app = FastAPI(openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.get("/", response_class=HTMLResponse)
    async def home() -> str:
        return "<p>home</p>"

    @app.get("/api/v1/things/{number}")
    async def thing(number: int, limit: Annotated[int, Query(le=100)] = 10) -> dict[str, int]:
        return {"number": number}

    @app.post("/api/v1/colours", status_code=201)
    async def colour(body: Colour) -> Colour:
        return body

    @app.post("/form")
    async def form(request: Request) -> dict[str, int]:
        async with request.form() as posted:
            return {"fields": len(posted)}

    @app.post("/count")
    @app.post("/files/{name}")
    async def count(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/whoami")
    async def whoami(request: Request) -> dict[str, Any]:
        return {"client": request.client.host if request.client else None, "scheme": request.url.scheme}

    @app.get("/raise/{what}")
    async def misbehave(what: str) -> None:
        raise {
            "bug": RuntimeError(SECRET_WORDS),
            "database": psycopg.OperationalError("connection to server at 10.0.0.1 failed"),
            "data": psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
            "stranger": NotSignedIn(),
            "full": Overloaded(retry_after_s=7),
        }[what]

    @app.get("/cut")
    async def cut() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError(SECRET_WORDS)

        return StreamingResponse(parts())

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(60)

    return app


def small_settings(**http: Any) -> Settings:
    return Settings(http=HttpSettings(**http))


Client = Callable[..., Any]


@pytest.fixture(autouse=True)
def logs() -> Iterator[CaughtLogs]:
    """What the edge logs."""
    with caught_logs(small_settings()) as caught:
        yield caught


@pytest.fixture
def edge() -> Callable[..., ASGIApp]:
    """`edge(max_body_bytes=10)`: the small shop behind an edge with these HTTP settings."""

    def make(**http: Any) -> ASGIApp:
        return make_app(small_shop(), small_settings(**http), hot=ROUTES, uploads=UPLOADS)

    return make


@pytest.fixture
def client(edge: Callable[..., ASGIApp]) -> Client:
    """`async with client(max_body_bytes=10) as http`: speaks to such an edge, as a program."""

    @asynccontextmanager
    async def open_client(*, peer: str = "127.0.0.1", **http: Any) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(edge(**http), client=(peer, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as opened:
            yield opened

    return open_client

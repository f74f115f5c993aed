"""Pages behind the real edge, without a database: people are found in a dict."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from jinja2 import ChoiceLoader, DictLoader
from pydantic import SecretStr
from starlette.responses import Response
from starlette.types import ASGIApp

from tests.logs import caught_logs
from tidegate.platform.edge.stack import make_app
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.settings import SecuritySettings, Settings
from tidegate.web import (
    StaticTree,
    current_person,
    ensure_buyer,
    environment,
    error_page,
    forget_session,
    pages_docs,
    pages_language,
    pages_problems,
    read_form,
    render,
    require_person,
    see_other,
)

ORIGIN = "http://127.0.0.1:8000"
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
PAGE = {"accept": "text/html"}


@dataclass(frozen=True)
class Somebody:
    id: PersonId
    role: str


@dataclass(frozen=True)
class Made:
    token: str
    person: Somebody


@dataclass
class People:
    """The sessions that exist."""

    known: dict[str, Somebody] = field(default_factory=dict)
    asked: int = 0

    async def resolve(self, token: str) -> Somebody | None:
        self.asked += 1
        return self.known.get(token)

    async def make_guest(self) -> Made:
        return self.add("guest")

    def add(self, role: str) -> Made:
        token = f"token-of-{role}-{len(self.known):06}"
        self.known[token] = Somebody(PersonId(new_id()), role)
        return Made(token, self.known[token])


def web_settings(*, secure: bool = False) -> Settings:
    key = SecretStr(base64.b64encode(b"k" * 32).decode())
    return Settings(security=SecuritySettings(form_key=key, cookie_secure=secure), shop_name="Quay & <Sons>")


def web_shop(people: People, settings: Settings) -> ASGIApp:
    app = FastAPI(openapi_url=None)
    app.state.settings = settings
    app.state.resolve_person = people.resolve
    app.state.make_guest = people.make_guest

    @app.get("/me")
    async def me(request: Request) -> dict[str, Any]:
        person = await current_person(request)
        again = await current_person(request)
        assert person == again
        return {"role": person.role if person else None}

    @app.get("/own")
    async def own(request: Request) -> dict[str, str]:
        return {"role": (await require_person(request)).role}

    @app.get("/buy")
    async def show_form(request: Request) -> Response:
        return render(request, "test/form.html")

    @app.post("/buy")
    async def buy(request: Request) -> Response:
        form = await read_form(request)
        _, token = await ensure_buyer(request)
        return see_other(request, f"/bought?n={len(form.fields)}&sku={form.get('sku')}", session_token=token)

    @app.post("/leave")
    async def leave(request: Request) -> Response:
        response = see_other(request, "/")
        forget_session(request, response)
        return response

    app.include_router(pages_problems.router)
    app.include_router(pages_docs.router)
    app.include_router(pages_language.router)
    app.mount("/static", StaticTree())
    return make_app(app, settings, error_page=error_page)


FORM = """{% extends 'web/layout.html' %}{% from 'web/parts.html' import field with context %}
{% block title %}Form{% endblock %}
{% block main %}<form method="post">{{ token_field() }}{{ field('sku', 'SKU') }}</form>{% endblock %}"""


@pytest.fixture(autouse=True)
def _form_template() -> Iterator[None]:
    """A page with a form, beside the real templates."""
    templates = environment("en_GB")
    real = templates.loader
    assert real is not None
    templates.loader = ChoiceLoader([DictLoader({"test/form.html": FORM}), real])
    yield
    templates.loader = real


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with caught_logs(web_settings()):
        yield


@pytest.fixture
def people() -> People:
    return People()


@asynccontextmanager
async def browser(people: People, *, secure: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps cookies, as a browser of its own does."""
    origin = ORIGIN.replace("http:", "https:") if secure else ORIGIN
    transport = httpx.ASGITransport(web_shop(people, web_settings(secure=secure)))
    async with httpx.AsyncClient(transport=transport, base_url=origin) as client:
        yield client

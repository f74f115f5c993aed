"""The routes of sessions."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from tidegate.accounts.account import Desk
from tidegate.accounts.contracts import SignInBusy, WrongCredentials
from tidegate.accounts.rules import MAX_EMAIL, MAX_PASSWORD
from tidegate.accounts.session_cache import Sessions
from tidegate.accounts.sessions import sign_in
from tidegate.platform.database import Database
from tidegate.platform.edge.hot import answer, hot_route
from tidegate.platform.edge.openapi import SIGNED_IN, problems_by_status
from tidegate.platform.problems import NotSignedIn, Overloaded, TooManyRequests
from tidegate.platform.settings import Settings
from tidegate.web import client_address, make_guest, require_person, session_token

router = APIRouter(prefix="/api/v1", tags=["sessions"])


class Credentials(BaseModel):
    """Who signs in."""

    email: Annotated[str, Field(min_length=1, max_length=MAX_EMAIL)]
    password: Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD, repr=False)]


class SessionAnswer(BaseModel):
    """A new session: send its token as `Authorization: Bearer TOKEN`. It is told only here."""

    token: str


class GuestAnswer(msgspec.Struct, frozen=True):
    """A guest's session: send its token as `Authorization: Bearer TOKEN`. It is told only here."""

    token: str


@hot_route("POST", "/api/v1/guests", returns=(201, GuestAnswer), problems=(Overloaded,), tag="sessions")
async def post_guest(request: Request) -> Response:
    """Become a guest, who can buy without an account."""
    return answer(GuestAnswer((await make_guest(request)).token), status=201)


ROUTES = (post_guest,)


@router.post(
    "/sessions", status_code=201, responses=problems_by_status((WrongCredentials, TooManyRequests, SignInBusy))
)
async def post_session(request: Request, body: Credentials) -> SessionAnswer:
    """Sign in. The session that the request came with ends; what a guest has becomes the account's."""
    signed_in = await sign_in(
        _database(request),
        _settings(request),
        email=body.email,
        password=body.password,
        address=client_address(request),
        before=session_token(request),
        take_over=desk(request).take_over,
    )
    before = session_token(request)
    if before is not None:
        await sessions(request).end(before)
    return SessionAnswer(token=signed_in.token)


@router.delete("/sessions", status_code=204, openapi_extra=SIGNED_IN)
async def delete_session(request: Request) -> Response:
    """Sign out: the session that the request came with ends."""
    await require_person(request)
    token = session_token(request)
    if token is None:
        raise NotSignedIn()
    await sessions(request).end(token)
    return Response(status_code=204)


def sessions(request: Request) -> Sessions:
    """The sessions of this process."""
    found: Sessions = request.app.state.sessions
    return found


def desk(request: Request) -> Desk:
    """What the use cases of accounts stand on; `app.state.take_over` is composed by the site's entry point."""
    state = request.app.state
    return Desk(state.database, state.settings, state.sessions, getattr(state, "take_over", ()))


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings

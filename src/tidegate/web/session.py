"""Who is asking: by the bearer token of a program, or by the cookie of a browser.

The site's entry point puts `resolve_person`, `resolve_buyer` and `make_guest` (see `contracts`) and `settings` into
`app.state`.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tidegate.platform.attempts import Limit
from tidegate.platform.problems import NotFound, NotSignedIn
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _
from tidegate.web.contracts import MakeGuest, NewSession, ResolveBuyer, ResolvePerson, Visitor
from tidegate.web.unread import LIVE_COOKIE

SESSION_COOKIE: Final = "tidegate_session"
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,256}")
"""Anything else is no token of ours, and is not looked up."""

PERSON_KEY = "tidegate.person"


def session_token(request: Request) -> str | None:
    """The token that came with a request; a bearer token wins over the cookie, whose request passed the CSRF checks."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    token = credentials.strip() if scheme.lower() == "bearer" else request.cookies.get(SESSION_COOKIE, "")
    return token if TOKEN.fullmatch(token) else None


def client_address(request: Request) -> str:
    """The caller's network address, as the edge found it; empty when there is none."""
    return request.client.host if request.client else ""


class SignInFirst(NotSignedIn):
    """This page is for people who have signed in.

    A browser is led to `/login`, and from there to `then`, a path of our own.
    """

    slug = "sign-in-first"

    def __init__(self, *, then: str) -> None:
        super().__init__()
        self.then = then


async def current_person(request: Request) -> Visitor | None:
    """Whose session it is, or None. Looked up once per request."""
    if PERSON_KEY not in request.scope:
        token = session_token(request)
        resolve: ResolvePerson = request.app.state.resolve_person
        request.scope[PERSON_KEY] = None if token is None else await resolve(token)
    person: Visitor | None = request.scope[PERSON_KEY]
    return person


def known_role(request: Request) -> str:
    """The role of whose session it is, where that was looked up for this request; else empty."""
    person: Visitor | None = request.scope.get(PERSON_KEY)
    return "" if person is None else person.role


async def require_person(request: Request) -> Visitor:
    """Whose session it is. Raises: NotSignedIn."""
    person = await current_person(request)
    if person is None:
        raise NotSignedIn()
    return person


def is_guest(person: Visitor) -> bool:
    """Whether somebody has a session and no account."""
    return person.role == "guest"


async def require_account(request: Request) -> Visitor:
    """Whose account it is. Raises: NotSignedIn for strangers and guests."""
    person = await require_person(request)
    if is_guest(person):
        raise NotSignedIn(_("A guest has no account. Sign in to one, or register."))
    return person


async def require_staff(request: Request) -> Visitor:
    """Who is asking, when that is staff; for others there is no such address. Raises: NotSignedIn, NotFound."""
    person = await require_person(request)
    if person.role not in ("staff", "admin"):
        raise NotFound()
    return person


async def require_buyer(request: Request, *, within: Limit | None = None) -> Visitor:
    """The same for a request that buys, which counts towards the limit of its session; ask for it once a request.

    `within` is looked at along with it, for nothing more. Raises: NotSignedIn, TooManyRequests.
    """
    token = session_token(request)
    resolve: ResolveBuyer = request.app.state.resolve_buyer
    person = None if token is None else await resolve(token, within)
    request.scope[PERSON_KEY] = person
    if person is None:
        raise NotSignedIn()
    return person


async def make_guest(request: Request) -> NewSession:
    """A new guest with a session, whoever is asking."""
    make: MakeGuest = request.app.state.make_guest
    return await make()


async def ensure_buyer(request: Request) -> tuple[Visitor, str | None]:
    """Whose session it is; a stranger becomes a guest, whose token the caller must `set_session` on its response."""
    person = await current_person(request)
    if person is not None:
        return person, None
    made = await make_guest(request)
    request.scope[PERSON_KEY] = made.person
    return made.person, made.token


def set_session(request: Request, response: Response, token: str) -> None:
    """Let the browser keep the session: for this host only, out of reach of scripts, not sent by foreign pages."""
    settings: Settings = request.app.state.settings
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=settings.accounts.session_days * 86_400,
        httponly=True,
        samesite="lax",
        secure=settings.security.cookie_secure,
    )


def forget_session(request: Request, response: Response) -> None:
    """Let the browser drop the session's cookie, and listen no more."""
    settings: Settings = request.app.state.settings
    secure = settings.security.cookie_secure
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=secure)
    response.delete_cookie(LIVE_COOKIE, samesite="lax", secure=secure)

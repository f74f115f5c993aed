"""The pages on which people sign in and out, with a password or with a mailed link.

Opening a mailed link shows a page with a button, and only the button acts: mail scanners open links too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.accounts.account import enter_by_link
from tidegate.accounts.contracts import LinkKind, LinkSpent, SignedIn, SignInBusy, WrongCredentials
from tidegate.accounts.http import desk, sessions
from tidegate.accounts.links import PAGES, send_link
from tidegate.accounts.rules import MIN_PASSWORD
from tidegate.accounts.sessions import sign_in
from tidegate.platform.problems import InvalidRequest, Problem, TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.web import (
    NOT_KEPT,
    PostedForm,
    blamed,
    client_address,
    forget_session,
    let_listen,
    own_path,
    read_form,
    render,
    see_other,
    session_token,
    words_of,
)

router = APIRouter(include_in_schema=False)

STAFF_HOME: Final = "/admin"
CUSTOMER_HOME: Final = "/account"
AFTER_SIGN_OUT: Final = "/"


@dataclass(frozen=True, slots=True)
class LoginContext:
    """Context of `accounts/login.html`."""

    email: str = ""
    """What was typed before; the password is never shown again."""

    problem: str = ""
    """Why it did not work, for people."""

    errors: dict[str, str] = field(default_factory=dict)
    """The same by the field that it is about."""

    then: str = ""
    """The path of our own to go on to; empty for the usual one."""


@dataclass(frozen=True, slots=True)
class AskContext:
    """Context of `accounts/ask.html`: where a link is asked for."""

    kind: LinkKind
    action: str
    email: str = ""
    problem: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    sent: bool = False
    minutes: int = 0
    """Life of the link that was sent."""

    then: str = ""


@dataclass(frozen=True, slots=True)
class LinkContext:
    """Context of `accounts/link.html`: where a mailed link leads."""

    kind: LinkKind
    action: str
    token: str
    min_password: int = MIN_PASSWORD
    problem: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    spent: bool = False
    then: str = ""


@router.get("/login")
async def show_login(request: Request) -> Response:
    """The form."""
    return render(request, "accounts/login.html", LoginContext(then=_then(request)), headers=NOT_KEPT)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Start a session. The one that the browser had ends, so that nobody can have planted it."""
    form = await read_form(request)
    email = form.get("email")
    room, before = desk(request), session_token(request)
    try:
        signed_in = await sign_in(
            room.database,
            room.settings,
            email=email,
            password=form.raw("password"),
            address=client_address(request),
            before=before,
            take_over=room.take_over,
        )
    except (WrongCredentials, TooManyRequests, SignInBusy) as problem:
        context = LoginContext(
            email=email, problem=_words(problem), errors=_wrong(problem), then=own_path(form.get("next"))
        )
        return render(request, "accounts/login.html", context, status=problem.status, headers=_headers(problem))
    if before is not None:
        await sessions(request).end(before)
    return _go_on(request, signed_in, own_path(form.get("next")))


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session."""
    await read_form(request)
    token = session_token(request)
    if token is not None:
        await sessions(request).end(token)
    response = see_other(request, AFTER_SIGN_OUT)
    forget_session(request, response)
    return response


@router.get("/register")
async def show_register(request: Request) -> Response:
    """Where an account begins: with an e-mail address."""
    return _show_ask(request, AskContext(LinkKind.REGISTER, "/register", then=_then(request)))


@router.post("/register")
async def register(request: Request) -> Response:
    """Mail a link, to whichever address."""
    return await _ask(request, LinkKind.REGISTER, "/register")


@router.get("/reset")
async def show_reset(request: Request) -> Response:
    """Where a forgotten password is replaced."""
    return _show_ask(request, AskContext(LinkKind.RESET, "/reset", then=_then(request)))


@router.post("/reset")
async def reset(request: Request) -> Response:
    """Mail a link, to whichever address."""
    return await _ask(request, LinkKind.RESET, "/reset")


@router.get("/login/link")
async def show_login_link(request: Request) -> Response:
    """Where a link to sign in is asked for, and where it leads."""
    if request.query_params.get("token"):
        return _show_link(request, LinkKind.LOGIN)
    return _show_ask(request, AskContext(LinkKind.LOGIN, "/login/link", then=_then(request)))


@router.post("/login/link")
async def login_link(request: Request) -> Response:
    """Mail a link, or sign in by it."""
    form = await read_form(request)
    if form.get("token"):
        return await _enter(request, LinkKind.LOGIN, form)
    return await _ask(request, LinkKind.LOGIN, "/login/link")


@router.get("/confirm")
async def show_confirm(request: Request) -> Response:
    """Where the mail of a registration leads."""
    return _show_link(request, LinkKind.REGISTER)


@router.post("/confirm")
async def confirm(request: Request) -> Response:
    """Open the account."""
    return await _enter(request, LinkKind.REGISTER, await read_form(request))


@router.get("/reset/new")
async def show_new_password(request: Request) -> Response:
    """Where the mail of a reset leads."""
    return _show_link(request, LinkKind.RESET)


@router.post("/reset/new")
async def new_password(request: Request) -> Response:
    """Replace the password."""
    return await _enter(request, LinkKind.RESET, await read_form(request))


@router.get("/invitation")
async def show_invitation(request: Request) -> Response:
    """Where the mail of an invitation leads."""
    return _show_link(request, LinkKind.INVITE)


@router.post("/invitation")
async def accept_invitation(request: Request) -> Response:
    """Join the staff."""
    return await _enter(request, LinkKind.INVITE, await read_form(request))


async def _ask(request: Request, kind: LinkKind, action: str) -> Response:
    form = await read_form(request)
    email, then = form.get("email"), own_path(form.get("next"))
    room, address = desk(request), client_address(request)
    try:
        await send_link(room.database, room.settings, kind=kind, email=email, address=address, then=then)
    except (InvalidRequest, TooManyRequests) as problem:
        context = AskContext(kind, action, email=email, problem=words_of(problem), errors=blamed(problem), then=then)
        return _show_ask(request, context, status=problem.status, headers=_headers(problem))
    minutes = room.settings.accounts.link_minutes
    return _show_ask(request, AskContext(kind, action, email=email, sent=True, minutes=minutes, then=then))


async def _enter(request: Request, kind: LinkKind, form: PostedForm) -> Response:
    token, then = form.get("token"), own_path(form.get("next"))
    password = None if kind == LinkKind.LOGIN else form.raw("password")
    try:
        signed_in = await enter_by_link(
            desk(request), kind=kind, token=token, password=password, before=session_token(request)
        )
    except (LinkSpent, InvalidRequest, SignInBusy) as problem:
        spent = isinstance(problem, LinkSpent)
        context = LinkContext(
            kind, PAGES[kind], token, problem=words_of(problem), errors=blamed(problem), spent=spent, then=then
        )
        return render(request, "accounts/link.html", context, status=problem.status, headers=_headers(problem))
    return _go_on(request, signed_in, then)


def _show_ask(
    request: Request, context: AskContext, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return render(request, "accounts/ask.html", context, status=status, headers=headers or NOT_KEPT)


def _show_link(request: Request, kind: LinkKind) -> Response:
    context = LinkContext(kind, PAGES[kind], request.query_params.get("token", ""), then=_then(request))
    return render(request, "accounts/link.html", context, headers={**NOT_KEPT, "Referrer-Policy": "no-referrer"})


def _go_on(request: Request, signed_in: SignedIn, then: str) -> Response:
    """To where somebody wanted to go; the staff's rooms are not there for others."""
    is_staff = signed_in.person.is_staff
    home = STAFF_HOME if is_staff else CUSTOMER_HOME
    fits = then and (is_staff or not then.startswith(STAFF_HOME))
    response = see_other(request, then if fits else home, session_token=signed_in.token)
    let_listen(request, response)
    return response


def _then(request: Request) -> str:
    """Where somebody is to go on to, from the page's address; only a path of our own."""
    return own_path(request.query_params.get("next", ""))


def _headers(problem: Problem) -> dict[str, str]:
    if problem.retry_after_s is None:
        return NOT_KEPT
    return {**NOT_KEPT, "Retry-After": str(problem.retry_after_s)}


def _wrong(problem: Problem) -> dict[str, str]:
    return {"password": str(_words(problem))} if isinstance(problem, WrongCredentials) else {}


def _words(problem: Problem) -> str:
    if isinstance(problem, WrongCredentials):
        return _("The e-mail address or the password is not right.")
    return words_of(problem)

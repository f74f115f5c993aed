"""The pages on which the shop's staff signs in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.accounts.contracts import WrongCredentials
from tidegate.accounts.http import client_address, sessions
from tidegate.accounts.sessions import sign_in
from tidegate.platform.database import Database
from tidegate.platform.problems import Overloaded, Problem, TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.web import forget_session, read_form, render, see_other, session_token

router = APIRouter(include_in_schema=False)

STAFF_HOME: Final = "/admin"
CUSTOMER_HOME: Final = "/"
AFTER_SIGN_OUT: Final = "/"


@dataclass(frozen=True, slots=True)
class LoginContext:
    """Context of `accounts/login.html`."""

    email: str = ""
    """What was typed before; the password is never shown again."""

    problem: str = ""
    """Why it did not work, for people."""


@router.get("/login")
async def show_login(request: Request) -> Response:
    """The form."""
    return render(request, "accounts/login.html", LoginContext(), headers={"Cache-Control": "no-store"})


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Start a session. The one that the browser had ends, so that nobody can have planted it."""
    form = await read_form(request)
    email = form.get("email")
    passwords = form.all("password")  # as it was typed: spaces at its ends belong to it
    database: Database = request.app.state.database
    try:
        signed_in = await sign_in(
            database,
            request.app.state.settings,
            email=email,
            password=passwords[-1] if passwords else "",
            address=client_address(request),
        )
    except (WrongCredentials, TooManyRequests, Overloaded) as problem:
        return _show_again(request, email, problem)
    before = session_token(request)
    if before is not None:
        await sessions(request).end(before)
    home = STAFF_HOME if signed_in.person.is_staff else CUSTOMER_HOME
    return see_other(request, home, session_token=signed_in.token)


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


def _show_again(request: Request, email: str, problem: Problem) -> Response:
    headers = {"Cache-Control": "no-store"}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    context = LoginContext(email=email, problem=_words(problem))
    return render(request, "accounts/login.html", context, status=problem.status, headers=headers)


def _words(problem: Problem) -> str:
    if isinstance(problem, WrongCredentials):
        return _("The e-mail address or the password is not right.")
    return problem.detail

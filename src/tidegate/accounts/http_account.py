"""JSON routes of accounts: how one begins, and what its owner does with it.

Asking for a mail answers the same for every address. What the mail's link carries as `token` is spent by a second POST.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from tidegate.accounts.account import (
    change_password,
    end_session,
    enter_by_link,
    erase_account,
    find_account,
)
from tidegate.accounts.contracts import (
    LastAdmin,
    LinkKind,
    LinkSpent,
    OpenSession,
    Role,
    SignInBusy,
    WrongCredentials,
)
from tidegate.accounts.http import SessionAnswer, desk
from tidegate.accounts.links import send_link
from tidegate.accounts.rules import MAX_EMAIL, MAX_PASSWORD, MIN_PASSWORD
from tidegate.accounts.sessions import list_sessions
from tidegate.platform.edge.openapi import SIGNED_IN, problems_by_status
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import NotFound, TooManyRequests
from tidegate.web import Visitor, client_address, require_account, require_person, session_token

router = APIRouter(prefix="/api/v1", tags=["accounts"])

MAX_TOKEN = 200
"""Longest text that is looked up as a link's token, in characters."""


class Addressee(BaseModel):
    """Whom to mail a link."""

    email: Annotated[str, Field(min_length=1, max_length=MAX_EMAIL)]


class MailAnswer(BaseModel):
    """A mail is on its way, if its address exists; its link works once and for so many minutes."""

    minutes: int


class LinkToken(BaseModel):
    """What a mailed link carries as `token`."""

    token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN, repr=False)]


class LinkWithPassword(LinkToken):
    """The same with the password that is chosen."""

    password: Annotated[str, Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD, repr=False)]


class NewPassword(BaseModel):
    """A change of password."""

    present: Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD, repr=False)]
    password: Annotated[str, Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD, repr=False)]


class MeAnswer(BaseModel):
    """Who the session belongs to. A guest has no address and no password."""

    id: UUID
    role: Role
    email: str | None
    has_password: bool


class SessionItem(BaseModel):
    """A session that can be used. Its id is good for ending it, nothing else."""

    id: str
    started_at: datetime
    seen_at: datetime
    current: bool

    @classmethod
    def of(cls, session: OpenSession) -> SessionItem:
        """The shape of a session."""
        return cls(id=session.id, started_at=session.started_at, seen_at=session.seen_at, current=session.current)


class SessionList(BaseModel):
    """Sessions, the one used last first; at most a hundred."""

    items: list[SessionItem]


ASKED = problems_by_status((TooManyRequests,))
ENTERED = problems_by_status((LinkSpent, SignInBusy))


@router.post("/registrations", status_code=202, responses=ASKED)
async def post_registration(request: Request, body: Addressee) -> MailAnswer:
    """Mail a link that makes an account."""
    return await _mail(request, LinkKind.REGISTER, body)


@router.post("/registrations/confirm", status_code=201, responses=ENTERED)
async def confirm_registration(request: Request, body: LinkWithPassword) -> SessionAnswer:
    """Make the account of a mailed link and sign in; what a guest has becomes the account's."""
    return await _enter(request, LinkKind.REGISTER, body, body.password)


@router.post("/login-links", status_code=202, responses=ASKED)
async def post_login_link(request: Request, body: Addressee) -> MailAnswer:
    """Mail a link that signs in without a password."""
    return await _mail(request, LinkKind.LOGIN, body)


@router.post("/login-links/use", status_code=201, responses=problems_by_status((LinkSpent,)))
async def use_login_link(request: Request, body: LinkToken) -> SessionAnswer:
    """Sign in by a mailed link; what a guest has becomes the account's."""
    return await _enter(request, LinkKind.LOGIN, body, None)


@router.post("/password-resets", status_code=202, responses=ASKED)
async def post_password_reset(request: Request, body: Addressee) -> MailAnswer:
    """Mail a link that replaces a forgotten password."""
    return await _mail(request, LinkKind.RESET, body)


@router.post("/password-resets/confirm", status_code=201, responses=ENTERED)
async def confirm_password_reset(request: Request, body: LinkWithPassword) -> SessionAnswer:
    """Replace the password by a mailed link, end every other session, and sign in."""
    return await _enter(request, LinkKind.RESET, body, body.password)


Owner = Annotated[Visitor, Depends(require_account)]


@router.get("/me", openapi_extra=SIGNED_IN)
async def get_me(request: Request) -> MeAnswer:
    """Who the session belongs to."""
    person = await require_person(request)
    if person.role == Role.GUEST:
        return MeAnswer(id=person.id, role=Role.GUEST, email=None, has_password=False)
    account = await find_account(desk(request), person_id=PersonId(person.id), token=session_token(request))
    return MeAnswer(id=person.id, role=account.role, email=account.email, has_password=account.has_password)


@router.delete("/me", status_code=204, openapi_extra=SIGNED_IN, responses=problems_by_status((LastAdmin,)))
async def delete_me(request: Request, owner: Owner) -> Response:
    """Erase the account: address, password and sessions. Its orders stay in the shop's books."""
    await erase_account(desk(request), person_id=PersonId(owner.id), forget=request.app.state.forget_person)
    return Response(status_code=204)


@router.put(
    "/me/password",
    status_code=204,
    openapi_extra=SIGNED_IN,
    responses=problems_by_status((WrongCredentials, TooManyRequests, SignInBusy)),
)
async def put_password(request: Request, owner: Owner, body: NewPassword) -> Response:
    """Change the password; every other session ends."""
    keep = session_token(request)
    await change_password(
        desk(request), person_id=PersonId(owner.id), present=body.present, new=body.password, keep=keep
    )
    return Response(status_code=204)


@router.get("/sessions", openapi_extra=SIGNED_IN)
async def get_sessions(request: Request) -> SessionList:
    """The sessions of whoever asks."""
    person = await require_person(request)
    async with desk(request).database.connection() as conn:
        found = await list_sessions(conn, person_id=PersonId(person.id), token=session_token(request))
    return SessionList(items=[SessionItem.of(session) for session in found])


@router.delete(
    "/sessions/{session}", status_code=204, openapi_extra=SIGNED_IN, responses=problems_by_status((NotFound,))
)
async def delete_one_session(request: Request, session: str) -> Response:
    """End one of one's own sessions, which may be the asking one."""
    person = await require_person(request)
    await end_session(desk(request), person_id=PersonId(person.id), session=session)
    return Response(status_code=204)


async def _mail(request: Request, kind: LinkKind, body: Addressee) -> MailAnswer:
    room = desk(request)
    await send_link(room.database, room.settings, kind=kind, email=body.email, address=client_address(request))
    return MailAnswer(minutes=room.settings.accounts.link_minutes)


async def _enter(request: Request, kind: LinkKind, body: LinkToken, password: str | None) -> SessionAnswer:
    signed_in = await enter_by_link(
        desk(request), kind=kind, token=body.token, password=password, before=session_token(request)
    )
    return SessionAnswer(token=signed_in.token)

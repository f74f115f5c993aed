"""The page of one's own account. Strangers and guests are led to sign in."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.accounts.account import (
    Account,
    change_password,
    end_everywhere,
    end_session,
    erase_account,
    find_account,
)
from tidegate.accounts.contracts import LastAdmin, Role, SignInBusy, WrongCredentials
from tidegate.accounts.http import desk
from tidegate.accounts.rules import MIN_PASSWORD
from tidegate.platform.problems import InvalidRequest, TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.web import (
    NOT_KEPT,
    SignInFirst,
    Visitor,
    current_person,
    forget_session,
    read_form,
    render,
    see_other,
    session_token,
)

router = APIRouter(include_in_schema=False)

HOME = "/account"


@dataclass(frozen=True, slots=True)
class AccountContext:
    """Context of `accounts/account.html`."""

    account: Account
    min_password: int = MIN_PASSWORD
    problem: str = ""
    """Why nothing was changed, for people."""


@router.get("/account")
async def show_account(request: Request) -> Response:
    """The account."""
    return await _show(request, await _owner(request))


@router.post("/account/password")
async def post_password(request: Request) -> Response:
    """Change the password; other sessions end."""
    owner = await _owner(request)
    form = await read_form(request)
    try:
        await change_password(
            desk(request),
            person_id=owner.id,
            present=form.raw("present"),
            new=form.raw("password"),
            keep=session_token(request),
        )
    except (WrongCredentials, InvalidRequest, TooManyRequests, SignInBusy) as problem:
        return await _show(request, owner, problem=problem.detail, status=problem.status)
    return see_other(request, HOME)


@router.post("/account/sessions/{session}/end")
async def post_end_session(request: Request, session: str) -> Response:
    """End one session."""
    owner = await _owner(request)
    await read_form(request)
    await end_session(desk(request), person_id=owner.id, session=session)
    return see_other(request, HOME)


@router.post("/account/sessions/end")
async def post_end_everywhere(request: Request) -> Response:
    """End every session, this one too."""
    owner = await _owner(request)
    await read_form(request)
    await end_everywhere(desk(request), person_id=owner.id)
    return _leave(request, "/login")


@router.post("/account/delete")
async def post_delete(request: Request) -> Response:
    """Erase who this is; orders stay."""
    owner = await _owner(request)
    form = await read_form(request)
    if form.get("sure") != "yes":
        return await _show(
            request, owner, problem=_("Tick the box to delete the account. Nothing was changed."), status=422
        )
    try:
        await erase_account(desk(request), person_id=owner.id, forget=request.app.state.forget_person)
    except LastAdmin as problem:
        told = _("You are the only administrator. Make somebody else one first; nothing was changed.")
        return await _show(request, owner, problem=told, status=problem.status)
    return _leave(request, "/")


async def _owner(request: Request) -> Visitor:
    """Who is asking. Raises: SignInFirst for strangers and guests."""
    person = await current_person(request)
    if person is None or person.role == Role.GUEST:
        raise SignInFirst(then=HOME)
    return person


async def _show(request: Request, owner: Visitor, *, problem: str = "", status: int = 200) -> Response:
    account = await find_account(desk(request), person_id=owner.id, token=session_token(request))
    context = AccountContext(account, problem=problem)
    return render(request, "accounts/account.html", context, status=status, headers=NOT_KEPT)


def _leave(request: Request, address: str) -> Response:
    response = see_other(request, address)
    forget_session(request, response)
    return response

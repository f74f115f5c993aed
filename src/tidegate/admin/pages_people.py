"""The staff's room for people: who has an account, who works here, and who made them that. Only administrators act."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from tidegate import accounts
from tidegate.accounts import Desk, Invitation, LastAdmin, PeoplePage, PersonAccount, Role, RoleChange
from tidegate.admin.pages_shell import ADMINS, staff_member, staff_router
from tidegate.platform.ids import PersonId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other

router = staff_router("/people")
admin_router = staff_router("/people", roles=ADMINS)

HOME = "/admin/people"
MAX_TYPED = 254


@dataclass(frozen=True, slots=True)
class PeopleContext:
    """Context of `admin/people.html`."""

    page: PeoplePage
    invitations: tuple[Invitation, ...]
    typed: dict[str, str]
    may_change: bool
    invite: dict[str, str]
    """What was typed into the form of an invitation."""

    error: str
    told: str


@dataclass(frozen=True, slots=True)
class PersonContext:
    """Context of `admin/person.html`."""

    account: PersonAccount
    changes: tuple[RoleChange, ...]
    may_change: bool
    is_self: bool
    error: str
    saved: bool


@router.get("")
async def list_people(request: Request, invited: str = "", withdrawn: str = "") -> Response:
    """Accounts, the newest first, or the one with an address."""
    told = _("The invitation is on its way.") if invited else _("The invitation is withdrawn.") if withdrawn else ""
    return await _list(request, told=told)


@router.get("/{person_id}")
async def show_person(request: Request, person_id: str, saved: str = "") -> Response:
    """One account and what happened to its role."""
    return await _show(request, _person_id(person_id), saved=bool(saved))


@admin_router.post("/invitations")
async def post_invitation(request: Request) -> Response:
    """Invite somebody to work here."""
    form = await read_form(request)
    typed = {"email": form.get("invite_email")[:MAX_TYPED], "role": form.get("invite_role")}
    actor = await staff_member(request)
    try:
        role = next((each for each in Role if each == typed["role"]), Role.GUEST)
        await accounts.invite_staff(_desk(request), actor=PersonId(actor.id), email=typed["email"], role=role)
    except InvalidRequest as problem:
        return await _list(request, invite=typed, error=problem.detail)
    return see_other(request, f"{HOME}?invited=1")


@admin_router.post("/invitations/{invitation_id}/withdraw")
async def post_withdrawal(request: Request, invitation_id: str) -> Response:
    """Let an invitation work no more."""
    await read_form(request)
    wanted = parse_id(invitation_id)
    if wanted is None:
        raise NotFound()
    actor = await staff_member(request)
    await accounts.withdraw_invitation(_desk(request), actor=PersonId(actor.id), invitation_id=wanted)
    return see_other(request, f"{HOME}?withdrawn=1")


@admin_router.post("/{person_id}/role")
async def post_role(request: Request, person_id: str) -> Response:
    """Give somebody another role."""
    wanted, form = _person_id(person_id), await read_form(request)
    actor = await staff_member(request)
    try:
        role = next((each for each in Role if each == form.get("role")), Role.GUEST)
        await accounts.change_role(_desk(request), actor=PersonId(actor.id), person_id=wanted, role=role)
    except InvalidRequest as problem:
        return await _show(request, wanted, error=problem.detail, status=problem.status)
    except LastAdmin as problem:
        told = _("This is the only administrator. Make somebody else one first; nothing was changed.")
        return await _show(request, wanted, error=told, status=problem.status)
    return see_other(request, "/login" if wanted == actor.id else f"{HOME}/{wanted}?saved=1")


async def _list(request: Request, *, invite: dict[str, str] | None = None, error: str = "", told: str = "") -> Response:
    desk = _desk(request)
    asked = request.query_params
    typed = {name: asked.get(name, "").replace("\0", "").strip()[:MAX_TYPED] for name in ("email", "role")}
    actor = await staff_member(request)
    async with desk.database.connection() as conn:
        page = await accounts.list_people(
            conn,
            limit=desk.settings.accounts.people_page,
            before=parse_id(asked.get("before", "")),
            role=next((each for each in Role if each == typed["role"]), None),
            email=typed["email"],
        )
        invitations = await accounts.list_invitations(conn)
    context = PeopleContext(
        page=page,
        invitations=invitations,
        typed=typed,
        may_change=actor.role in ADMINS,
        invite=invite or {"email": "", "role": Role.STAFF.value},
        error=error,
        told=told,
    )
    return render(request, "admin/people.html", context, status=422 if error else 200, headers=NOT_KEPT)


async def _show(
    request: Request, person_id: PersonId, *, error: str = "", saved: bool = False, status: int = 200
) -> Response:
    desk, actor = _desk(request), await staff_member(request)
    async with desk.database.connection() as conn:
        account = await accounts.find_person_account(conn, person_id=person_id)
        changes = await accounts.list_role_changes(conn, person_id=person_id)
    context = PersonContext(
        account=account,
        changes=changes,
        may_change=actor.role in ADMINS,
        is_self=actor.id == person_id,
        error=error,
        saved=saved,
    )
    return render(request, "admin/person.html", context, status=status, headers=NOT_KEPT)


def _person_id(text: str) -> PersonId:
    wanted = parse_id(text)
    if wanted is None:
        raise NotFound()
    return PersonId(wanted)


def _desk(request: Request) -> Desk:
    state = request.app.state
    return Desk(state.database, state.settings, state.sessions, state.take_over)

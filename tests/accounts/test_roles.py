"""Roles: invitations and changes, each with a row that says who did it, and always an administrator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import httpx
import pytest

from tests.accounts.visitor import EMAIL, PASSWORD, newest_link, post, register
from tests.guests import make_guest
from tidegate import accounts
from tidegate.accounts import Desk, LastAdmin, Role
from tidegate.accounts.account import erase_account
from tidegate.accounts.people import add_person
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import InvalidRequest, NotAllowed, NotFound
from tidegate.web import SESSION_COOKIE

pytestmark = pytest.mark.anyio

Add = Callable[[str, Role], Coroutine[None, None, PersonId]]


@pytest.fixture
def add(database: Database) -> Add:
    """Adds an account."""

    async def add(email: str, role: Role) -> PersonId:
        made = await add_person(database, email=email, role=role, password_hash=None)
        assert made is not None
        return made

    return add


async def role_of(database: Database, person: PersonId) -> Role:
    async with database.connection() as conn:
        return (await accounts.find_person_account(conn, person_id=person)).role


async def history(database: Database, person: PersonId) -> list[tuple[str, Role | None, Role, str | None]]:
    async with database.connection() as conn:
        changes = await accounts.list_role_changes(conn, person_id=person)
    return [(change.what, change.before, change.after, change.actor) for change in changes]


async def test_a_change_is_written_down_and_ends_sessions(
    browser: httpx.AsyncClient, desk: Desk, database: Database, add: Add
) -> None:
    boss = await add("boss@post.example", Role.ADMIN)
    await register(browser, database)
    async with database.connection() as conn:
        page = await accounts.list_people(conn, limit=10, email=EMAIL.upper())
    (mira,) = page.people
    assert (await browser.get("/account")).status_code == 200
    await accounts.change_role(desk, actor=boss, person_id=mira.id, role=Role.STAFF)
    assert (await browser.get("/account")).status_code == 303
    assert await role_of(database, mira.id) == Role.STAFF
    await accounts.change_role(desk, actor=boss, person_id=mira.id, role=Role.STAFF)
    assert await history(database, mira.id) == [("changed", Role.CUSTOMER, Role.STAFF, "boss@post.example")]


@pytest.mark.parametrize("role", [Role.STAFF, Role.CUSTOMER])
async def test_only_administrators_change_roles(desk: Desk, database: Database, add: Add, role: Role) -> None:
    boss, other = await add("boss@post.example", Role.ADMIN), await add("other@post.example", role)
    for target, wanted in ((other, Role.ADMIN), (boss, Role.CUSTOMER)):
        with pytest.raises(NotAllowed):
            await accounts.change_role(desk, actor=other, person_id=target, role=wanted)
    with pytest.raises(NotAllowed):
        await accounts.invite_staff(desk, actor=other, email="x@post.example", role=Role.STAFF)
    assert [await role_of(database, each) for each in (boss, other)] == [Role.ADMIN, role]


async def test_guests_and_unknown_people_get_no_role(desk: Desk, database: Database, add: Add) -> None:
    boss = await add("boss@post.example", Role.ADMIN)
    async with database.transaction() as conn:
        guest = (await make_guest(conn)).person.id
    for target in (guest, PersonId(new_id())):
        with pytest.raises(NotFound):
            await accounts.change_role(desk, actor=boss, person_id=target, role=Role.STAFF)
    with pytest.raises(InvalidRequest):
        await accounts.change_role(desk, actor=boss, person_id=boss, role=Role.GUEST)


async def test_administrators_who_step_down_at_once_leave_one(desk: Desk, database: Database, add: Add) -> None:
    bosses = [await add(f"boss{number}@post.example", Role.ADMIN) for number in range(3)]
    done = await asyncio.gather(
        *(accounts.change_role(desk, actor=boss, person_id=boss, role=Role.STAFF) for boss in bosses),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in done) == ["LastAdmin", "NoneType", "NoneType"]
    assert sorted([await role_of(database, boss) for boss in bosses]) == [Role.ADMIN, Role.STAFF, Role.STAFF]
    (last,) = [boss for boss in bosses if await role_of(database, boss) == Role.ADMIN]
    with pytest.raises(LastAdmin):
        await accounts.change_role(desk, actor=last, person_id=last, role=Role.CUSTOMER)


async def test_an_invitation_makes_staff_once(
    browser: httpx.AsyncClient, desk: Desk, database: Database, add: Add
) -> None:
    boss = await add("boss@post.example", Role.ADMIN)
    await accounts.invite_staff(desk, actor=boss, email=EMAIL, role=Role.STAFF)
    path, token = (await newest_link(database)).split("?token=")
    assert (await browser.get(f"{path}?token={token}")).status_code == 200
    assert SESSION_COOKIE not in browser.cookies
    answer = await post(browser, path, token=token, password=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    assert (await post(browser, path, token=token, password=PASSWORD)).status_code == 410
    async with database.connection() as conn:
        (mira,) = (await accounts.list_people(conn, limit=10, role=Role.STAFF)).people
        assert await accounts.list_invitations(conn) == ()
    by = "boss@post.example"
    assert await history(database, mira.id) == [
        ("accepted", None, Role.STAFF, by),
        ("invited", None, Role.STAFF, by),
    ]


async def test_an_invitation_never_takes_a_role_away(
    browser: httpx.AsyncClient, desk: Desk, database: Database, add: Add
) -> None:
    boss, other = await add("boss@post.example", Role.ADMIN), await add(EMAIL, Role.ADMIN)
    await accounts.invite_staff(desk, actor=boss, email=EMAIL, role=Role.STAFF)
    path, token = (await newest_link(database)).split("?token=")
    assert (await post(browser, path, token=token, password=PASSWORD)).status_code == 303
    assert await role_of(database, other) == Role.ADMIN


async def test_invitations_end_with_their_sender_or_when_withdrawn_or_when_the_role_is_taken(
    browser: httpx.AsyncClient, desk: Desk, database: Database, add: Add
) -> None:
    boss, second = await add("boss@post.example", Role.ADMIN), await add("second@post.example", Role.ADMIN)
    mira = await add(EMAIL, Role.STAFF)
    links = []
    await accounts.invite_staff(desk, actor=second, email="one@post.example", role=Role.ADMIN)
    links.append(await newest_link(database))
    withdrawn = await accounts.invite_staff(desk, actor=boss, email="two@post.example", role=Role.ADMIN)
    links.append(await newest_link(database))
    await accounts.invite_staff(desk, actor=boss, email=EMAIL, role=Role.STAFF)
    links.append(await newest_link(database))
    await accounts.change_role(desk, actor=boss, person_id=second, role=Role.STAFF)
    await accounts.withdraw_invitation(desk, actor=boss, invitation_id=withdrawn)
    await accounts.change_role(desk, actor=boss, person_id=mira, role=Role.CUSTOMER)
    with pytest.raises(NotFound):
        await accounts.withdraw_invitation(desk, actor=boss, invitation_id=withdrawn)
    for link in links:
        path, token = link.split("?token=")
        assert (await post(browser, path, token=token, password=PASSWORD)).status_code == 410
    assert await role_of(database, mira) == Role.CUSTOMER


async def test_people_come_in_pages_the_newest_first(database: Database, add: Add) -> None:
    made = [await add(f"person{number}@post.example", Role.CUSTOMER) for number in range(5)]
    async with database.transaction() as conn:
        await make_guest(conn)
    seen: list[PersonId] = []
    before: PersonId | None = None
    async with database.connection() as conn:
        for _ in range(3):
            page = await accounts.list_people(conn, limit=2, before=before)
            seen += [person.id for person in page.people]
            before = page.next_before
    assert seen == made[::-1]
    assert before is None


async def test_an_erased_account_leaves_no_address_in_the_history(desk: Desk, database: Database, add: Add) -> None:
    boss, second = await add("boss@post.example", Role.ADMIN), await add("second@post.example", Role.ADMIN)
    mira = await add(EMAIL, Role.CUSTOMER)
    await accounts.change_role(desk, actor=second, person_id=mira, role=Role.STAFF)
    await accounts.change_role(desk, actor=boss, person_id=second, role=Role.CUSTOMER)
    await erase_account(desk, person_id=second, forget=())
    assert await history(database, mira) == [("changed", Role.CUSTOMER, Role.STAFF, None)]

"""Who works here: accounts in a list, invitations, and changes of roles. Each leaves a row that says who did it.

A changed role ends the sessions of whoever has it, so that no process goes by the old one.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any
from uuid import UUID

from tidegate.accounts.account import Desk
from tidegate.accounts.contracts import (
    Invitation,
    LinkKind,
    PeoplePage,
    PersonAccount,
    Role,
    RoleChange,
)
from tidegate.accounts.links import LINK_EMAIL, NewLink, mail_link
from tidegate.accounts.people import EMAIL, EMAIL_FINGERPRINT, an_admin_stays
from tidegate.accounts.rules import check_email
from tidegate.accounts.sessions import TOKEN_BYTES, end_all_sessions
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import InvalidRequest, NotAllowed, NotFound
from tidegate.platform.sealing import current_sealer
from tidegate.platform.texts import text as _

MAX_SHOWN = 100
"""Most invitations, and most changes of one person's role, that are shown."""

GIVEN = (Role.CUSTOMER, Role.STAFF, Role.ADMIN)
"""Roles that an account may have."""

INVITED = (Role.STAFF, Role.ADMIN)
"""Roles that an invitation may give."""


async def list_people(
    conn: Connection,
    *,
    limit: int,
    before: UUID | None = None,
    role: Role | None = None,
    email: str = "",
) -> PeoplePage:
    """Accounts, the newest first, `limit` at most; from the one after `before`. `email` finds its account exactly."""
    sealer = current_sealer()
    rows = await (
        await conn.execute(
            """
            SELECT id, role, email_sealed, created_at, confirmed_at FROM accounts.people
            WHERE role <> 'guest' AND (%(role)s::text IS NULL OR role = %(role)s)
              AND (%(before)s::uuid IS NULL OR id < %(before)s)
              AND (%(email)s::bytea IS NULL OR email_fingerprint = %(email)s)
            ORDER BY id DESC LIMIT %(limit)s
            """,
            {
                "role": role,
                "before": before,
                "email": sealer.fingerprint(email, column=EMAIL_FINGERPRINT) if email else None,
                "limit": limit + 1,
            },
        )
    ).fetchall()
    people = tuple(_account(row) for row in rows[:limit])
    return PeoplePage(people, people[-1].id if len(rows) > limit else None)


async def find_accounts(conn: Connection, *, people: Collection[PersonId]) -> dict[PersonId, PersonAccount]:
    """The accounts of these people; guests and those who are gone are absent."""
    rows = await (
        await conn.execute(
            """
            SELECT id, role, email_sealed, created_at, confirmed_at FROM accounts.people
            WHERE id = ANY(%s) AND role <> 'guest'
            """,
            (list(people),),
        )
    ).fetchall()
    return {PersonId(row[0]): _account(row) for row in rows}


async def find_person_account(conn: Connection, *, person_id: PersonId) -> PersonAccount:
    """One account. Raises: NotFound, for guests too."""
    found = (await find_accounts(conn, people=[person_id])).get(person_id)
    if found is None:
        raise NotFound()
    return found


def _account(row: tuple[Any, ...]) -> PersonAccount:
    email = current_sealer().open(bytes(row[2]), column=EMAIL)
    return PersonAccount(PersonId(row[0]), Role(row[1]), email, row[3], row[4])


async def list_role_changes(conn: Connection, *, person_id: PersonId) -> tuple[RoleChange, ...]:
    """What happened to somebody's role, the newest first; the address of whoever did it, where it is still known."""
    rows = await (
        await conn.execute(
            """
            SELECT c.what, c.role_before, c.role_after, c.at, c.actor_id, p.email_sealed
            FROM accounts.role_changes c LEFT JOIN accounts.people p ON p.id = c.actor_id
            WHERE c.person_id = %(id)s OR c.invitation_id IN (
                SELECT invitation_id FROM accounts.role_changes WHERE person_id = %(id)s)
            ORDER BY c.id DESC LIMIT %(limit)s
            """,
            {"id": person_id, "limit": MAX_SHOWN},
        )
    ).fetchall()
    sealer = current_sealer()
    return tuple(
        RoleChange(
            what=row[0],
            before=None if row[1] is None else Role(row[1]),
            after=Role(row[2]),
            at=row[3],
            actor_id=PersonId(row[4]),
            actor=None if row[5] is None else sealer.open(bytes(row[5]), column=EMAIL),
        )
        for row in rows
    )


async def change_role(desk: Desk, *, actor: PersonId, person_id: PersonId, role: Role) -> None:
    """Give an account another role; its sessions and its open invitations end. The same role changes nothing.

    Raises: NotAllowed unless `actor` is an administrator at this moment; NotFound for guests and unknown ids;
    LastAdmin when nobody else would be one.
    """
    if role not in GIVEN:
        raise InvalidRequest(_("An account is a customer's, a staff member's or an administrator's."))
    ended: list[bytes] = []
    with an_admin_stays():
        async with desk.database.transaction() as conn:
            present = await _lock_roles(conn, actor=actor, person_id=person_id)
            if present != role:
                await conn.execute("UPDATE accounts.people SET role = %s WHERE id = %s", (role, person_id))
                await _end_invitations(conn, person_id)
                await _note(conn, "changed", actor=actor, person_id=person_id, before=present, after=role)
                ended = await end_all_sessions(conn, person_id=person_id)
    await desk.sessions.end_hashes(ended)


async def sign_out_everywhere(desk: Desk, *, actor: PersonId, person_id: PersonId) -> int:
    """End every session of an account, as its owner can; returns how many there were.

    Raises: NotAllowed unless `actor` is an administrator at this moment; NotFound for guests and unknown ids.
    """
    async with desk.database.transaction() as conn:
        role = await _lock_roles(conn, actor=actor, person_id=person_id)
        ended = await end_all_sessions(conn, person_id=person_id)
        await _note(conn, "signed_out", actor=actor, person_id=person_id, before=role, after=role)
    await desk.sessions.end_hashes(ended)
    return len(ended)


async def invite_staff(desk: Desk, *, actor: PersonId, email: str, role: Role) -> UUID:
    """Mail a link by which whoever reads it gets an account with `role`; returns the invitation's id.

    Raises: InvalidRequest for what is no address or no role to be invited to; NotAllowed unless `actor` is an
    administrator at this moment.
    """
    check_email(email)
    if role not in INVITED:
        raise InvalidRequest(_("Invite somebody as staff or as an administrator."))
    invitation = new_id()
    link = NewLink(
        kind=LinkKind.INVITE,
        email=email,
        token=secrets.token_urlsafe(TOKEN_BYTES),
        minutes=desk.settings.accounts.invitation_hours * 60,
        role=role,
        invited_by=actor,
        invitation_id=invitation,
    )
    async with desk.database.transaction() as conn:
        await _lock_roles(conn, actor=actor)
        await mail_link(conn, desk.settings, link)
        await _note(conn, "invited", actor=actor, invitation_id=invitation, after=role)
    return invitation


async def withdraw_invitation(desk: Desk, *, actor: PersonId, invitation_id: UUID) -> None:
    """Let an invitation work no more.

    Raises: NotFound when it is spent, withdrawn, or never was; NotAllowed unless `actor` is an administrator.
    """
    async with desk.database.transaction() as conn:
        await _lock_roles(conn, actor=actor)
        row = await (
            await conn.execute(
                """
                DELETE FROM accounts.links
                WHERE invitation_id = %s AND used_at IS NULL AND expires_at > clock_timestamp() RETURNING role
                """,
                (invitation_id,),
            )
        ).fetchone()
        if row is None:
            raise NotFound()
        await _note(conn, "withdrawn", actor=actor, invitation_id=invitation_id, after=Role(row[0]))


async def list_invitations(conn: Connection) -> tuple[Invitation, ...]:
    """Invitations that wait to be accepted, the newest first."""
    rows = await (
        await conn.execute(
            """
            SELECT invitation_id, email_sealed, role, expires_at FROM accounts.links
            WHERE invitation_id IS NOT NULL AND used_at IS NULL AND expires_at > clock_timestamp()
            ORDER BY invitation_id DESC LIMIT %s
            """,
            (MAX_SHOWN,),
        )
    ).fetchall()
    sealer = current_sealer()
    return tuple(
        Invitation(row[0], sealer.open(bytes(row[1]), column=LINK_EMAIL), Role(row[2]), row[3]) for row in rows
    )


async def _lock_roles(conn: Connection, *, actor: PersonId, person_id: PersonId | None = None) -> Role:
    """Hold the roles of both, in the order of ids, until the transaction ends; returns the person's (or actor's)."""
    rows = await (
        await conn.execute(
            "SELECT id, role FROM accounts.people WHERE id = ANY (%s) ORDER BY id FOR UPDATE",
            ([each for each in (actor, person_id) if each is not None],),
        )
    ).fetchall()
    roles = {row[0]: Role(row[1]) for row in rows}
    if roles.get(actor) != Role.ADMIN:
        raise NotAllowed()
    present = roles.get(person_id or actor)
    if present is None or present == Role.GUEST:
        raise NotFound()
    return present


async def _end_invitations(conn: Connection, person_id: PersonId) -> None:
    await conn.execute(
        """
        DELETE FROM accounts.links
        WHERE kind = 'invite' AND used_at IS NULL
          AND email_fingerprint = (SELECT email_fingerprint FROM accounts.people WHERE id = %s)
        """,
        (person_id,),
    )


async def _note(
    conn: Connection,
    what: str,
    *,
    actor: PersonId,
    after: Role,
    before: Role | None = None,
    person_id: PersonId | None = None,
    invitation_id: UUID | None = None,
) -> None:
    await conn.execute(
        """
        INSERT INTO accounts.role_changes (id, what, actor_id, person_id, invitation_id, role_before, role_after)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (new_id(), what, actor, person_id, invitation_id, before, after),
    )

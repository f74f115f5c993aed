"""What the owner of an account does with it: enter by a mailed link, change the password, end sessions, delete it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tidegate.accounts.attempts import counted_attempt
from tidegate.accounts.contracts import LinkKind, OpenSession, Role, SignedIn, WrongCredentials
from tidegate.accounts.links import check_link, delete_links, use_link
from tidegate.accounts.passwords import Passwords, process_passwords
from tidegate.accounts.people import EMAIL, an_admin_stays
from tidegate.accounts.rules import check_new_password, plausible_password
from tidegate.accounts.session_cache import Sessions
from tidegate.accounts.sessions import (
    TakeOver,
    begin_session,
    end_all_sessions,
    find_own_sessions,
    list_sessions,
    token_hash,
)
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import NotFound
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

PRESENT = "present password of "
"""Guesses of it are counted apart from log-ins: whoever took a session over cannot keep its owner out."""

NOT_PRESENT = _("The present password is not right. Nothing was changed.")


Forget = Callable[[Connection, PersonId], Awaitable[None]]
"""Erases what a module above this one keeps of a person; `app.state.forget_person` has all of them."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its owner sees it."""

    email: str
    role: Role
    has_password: bool
    sessions: tuple[OpenSession, ...]


@dataclass(frozen=True, slots=True)
class Desk:
    """What these use cases stand on: the database, the settings, and the sessions of this process."""

    database: Database
    settings: Settings
    sessions: Sessions
    take_over: Sequence[TakeOver] = ()

    @property
    def passwords(self) -> Passwords:
        """The pool that hashes."""
        limits = self.settings.accounts
        return process_passwords(workers=limits.hash_workers, queue=limits.hash_queue)


async def enter_by_link(
    desk: Desk, *, kind: LinkKind, token: str, password: str | None, before: str | None
) -> SignedIn:
    """Sign in by a mailed link; with a new password unless the link is for signing in alone.

    `before` is the token of the caller's session so far; a guest's things become the account's.
    Raises: LinkSpent; InvalidRequest for a password that cannot be taken; SignInBusy when too many hash at once.
    """
    hashed = None
    if kind != LinkKind.LOGIN:
        check_new_password(password or "")
        async with desk.database.connection() as conn:
            await check_link(conn, kind=kind, token=token)
        hashed = await desk.passwords.hash(password or "")
    async with desk.database.transaction() as conn:
        used = await use_link(conn, kind=kind, token=token, password_hash=hashed)
        signed_in = await begin_session(conn, desk.settings, used.person, before=before, take_over=desk.take_over)
    ended = [*used.ended, *([] if before is None else [token_hash(before)])]
    if ended:
        await desk.sessions.end_hashes(ended)
    return signed_in


async def find_account(desk: Desk, *, person_id: PersonId, token: str | None) -> Account:
    """The account of somebody who is signed in. Raises: NotFound when they have none."""
    async with desk.database.connection() as conn:
        row = await (
            await conn.execute(
                """
                SELECT email_sealed, role, password_hash IS NOT NULL FROM accounts.people
                WHERE id = %s AND role <> 'guest'
                """,
                (person_id,),
            )
        ).fetchone()
        if row is None:
            raise NotFound()
        sessions = await list_sessions(conn, person_id=person_id, token=token)
    email = current_sealer().open(bytes(row[0]), column=EMAIL)
    return Account(email, Role(row[1]), row[2], tuple(sessions))


async def end_session(desk: Desk, *, person_id: PersonId, session: str) -> None:
    """End one of somebody's own sessions. Raises: NotFound for everyone else's."""
    async with desk.database.connection() as conn:
        hashed = (await find_own_sessions(conn, person_id=person_id)).get(session)
    if hashed is None:
        raise NotFound()
    await desk.sessions.end_hashes([hashed])


async def end_everywhere(desk: Desk, *, person_id: PersonId) -> None:
    """End all of somebody's sessions, the asking one too."""
    async with desk.database.connection() as conn:
        hashes = list((await find_own_sessions(conn, person_id=person_id)).values())
    await desk.sessions.end_hashes(hashes)


async def change_password(desk: Desk, *, person_id: PersonId, present: str, new: str, keep: str | None) -> None:
    """Set a new password; every session ends but `keep`'s.

    Raises: WrongCredentials when `present` is not right; InvalidRequest for a new one that cannot be taken;
    TooManyRequests after too many wrong ones; SignInBusy.
    """
    check_new_password(new)
    async with desk.database.connection() as conn:
        row = await (
            await conn.execute("SELECT password_hash FROM accounts.people WHERE id = %s", (person_id,))
        ).fetchone()
    async with counted_attempt(desk.settings, email=f"{PRESENT}{person_id}", address=""):
        known = plausible_password(present)
        if not known or not await desk.passwords.verify(None if row is None else row[0], present):
            raise WrongCredentials(NOT_PRESENT)
    hashed = await desk.passwords.hash(new)
    kept = None if keep is None else token_hash(keep)
    async with desk.database.transaction() as conn:
        await conn.execute("UPDATE accounts.people SET password_hash = %s WHERE id = %s", (hashed, person_id))
        own = await find_own_sessions(conn, person_id=person_id)
    await desk.sessions.end_hashes([each for each in own.values() if each != kept])


async def erase_account(desk: Desk, *, person_id: PersonId, forget: Sequence[Forget]) -> None:
    """Erase who somebody is: address, password, links and sessions. What they ordered stays, as a guest's.

    `forget` erases what other modules keep of them, in the same transaction.

    Raises: LastAdmin; NotFound when there is no account.
    """
    with an_admin_stays():
        ended = await _erase(desk.database, person_id, forget)
    await desk.sessions.end_hashes(ended)


async def _erase(database: Database, person_id: PersonId, forget: Sequence[Forget]) -> list[bytes]:
    """Erase somebody; returns the hashes of the sessions that ended."""
    async with database.transaction() as conn:
        row = await (
            await conn.execute(
                "SELECT email_fingerprint FROM accounts.people WHERE id = %s AND role <> 'guest' FOR UPDATE",
                (person_id,),
            )
        ).fetchone()
        if row is None:
            raise NotFound()
        await delete_links(conn, fingerprint=bytes(row[0]))
        await conn.execute(
            """
            UPDATE accounts.people SET role = 'guest', email_sealed = NULL, email_fingerprint = NULL,
                password_hash = NULL, confirmed_at = NULL
            WHERE id = %s
            """,
            (person_id,),
        )
        for each in forget:
            await each(conn, person_id)
        return await end_all_sessions(conn, person_id=person_id)

"""People whom the shop knows by e-mail address."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg.errors import CheckViolation

from tidegate.accounts.contracts import LastAdmin, Person, Role
from tidegate.accounts.passwords import process_passwords
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import current_settings

EMAIL = "accounts.people.email_sealed"
EMAIL_FINGERPRINT = "accounts.people.email_fingerprint"
GENERATED_BYTES = 15
"""Randomness of a generated password: 120 bits, 20 characters."""

ADMIN_EMAIL = "admin@tidegate.example"


@dataclass(frozen=True, slots=True)
class Login:
    """What is needed to check a password."""

    person: Person
    password_hash: str | None = field(repr=False)


async def find_login(conn: Connection, *, email: str) -> Login | None:
    """The account of an e-mail address, however its letters are cased."""
    row = await (
        await conn.execute(
            "SELECT id, role, password_hash FROM accounts.people WHERE email_fingerprint = %s",
            (current_sealer().fingerprint(email, column=EMAIL_FINGERPRINT),),
        )
    ).fetchone()
    return None if row is None else Login(Person(PersonId(row[0]), Role(row[1])), row[2])


async def addresses_of(conn: Connection, *, people: Collection[PersonId]) -> dict[PersonId, str]:
    """The e-mail addresses of these accounts; those who have none, or are gone, are absent."""
    rows = await conn.execute(
        "SELECT id, email_sealed FROM accounts.people WHERE id = ANY(%s) AND email_sealed IS NOT NULL", (list(people),)
    )
    return {PersonId(row[0]): current_sealer().open(bytes(row[1]), column=EMAIL) for row in await rows.fetchall()}


async def replace_hash(conn: Connection, *, login: Login, password_hash: str) -> None:
    """Keep the same password under today's parameters, unless it was changed meanwhile."""
    await conn.execute(
        "UPDATE accounts.people SET password_hash = %s WHERE id = %s AND password_hash = %s",
        (password_hash, login.person.id, login.password_hash),
    )


async def ensure_admin(database: Database, *, email: str = ADMIN_EMAIL) -> str | None:
    """See to it that there is an administrator.

    Returns the generated password the first time, which is told nowhere else, and None from then on.
    """
    async with database.connection() as conn:
        known = await (await conn.execute("SELECT 1 FROM accounts.people WHERE role = 'admin' LIMIT 1")).fetchone()
    if known is not None:
        return None
    limits = current_settings().accounts
    password = secrets.token_urlsafe(GENERATED_BYTES)
    passwords = process_passwords(workers=limits.hash_workers, queue=limits.hash_queue)
    made = await add_person(database, email=email, role=Role.ADMIN, password_hash=await passwords.hash(password))
    return password if made is not None else None


@contextmanager
def an_admin_stays() -> Iterator[None]:
    """Around a transaction that may take the last administrator away, which the database refuses as it commits.

    Raises: LastAdmin.
    """
    try:
        yield
    except CheckViolation as error:
        if error.diag.constraint_name == "an_admin_stays":
            raise LastAdmin() from None
        raise


async def add_person(database: Database, *, email: str, role: Role, password_hash: str | None) -> PersonId | None:
    """Add an account; None when the e-mail address has one already, which then stays as it is."""
    sealer = current_sealer()
    async with database.transaction() as conn:
        row = await (
            await conn.execute(
                """
                INSERT INTO accounts.people (id, role, email_sealed, email_fingerprint, password_hash)
                VALUES (%s, %s, %s, %s, %s) ON CONFLICT (email_fingerprint) DO NOTHING RETURNING id
                """,
                (
                    new_id(),
                    role,
                    sealer.seal(email, column=EMAIL),
                    sealer.fingerprint(email, column=EMAIL_FINGERPRINT),
                    password_hash,
                ),
            )
        ).fetchone()
    return None if row is None else PersonId(row[0])

"""People of a rehearsal: many at once, each with a session."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from tidegate.accounts.contracts import Role
from tidegate.accounts.passwords import process_passwords
from tidegate.accounts.people import EMAIL, EMAIL_FINGERPRINT, add_person
from tidegate.accounts.sessions import TOKEN_BYTES, token_hash
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import new_id
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import current_settings

LIFE_HOURS = 6
"""Life of a session: no rehearsal lasts longer."""


async def make_account(database: Database, *, password: str) -> str:
    """A customer with a password, for whom nothing else exists; their address."""
    email = f"{new_id()}@crowd.invalid"
    limits = current_settings().accounts
    passwords = process_passwords(workers=limits.hash_workers, queue=limits.hash_queue)
    made = await add_person(database, email=email, role=Role.CUSTOMER, password_hash=await passwords.hash(password))
    assert made is not None
    return email


async def make_crowd(conn: Connection, *, count: int) -> Sequence[str]:
    """`count` customers with a session each, in the caller's transaction; the sessions' tokens.

    Their addresses end in `.invalid`, where no mail can go.
    """
    people = [new_id() for _ in range(count)]
    tokens = [secrets.token_urlsafe(TOKEN_BYTES) for _ in range(count)]
    ends_at = await database_now(conn) + timedelta(hours=LIFE_HOURS)
    sealer = current_sealer()
    sealed = sealer.seal("rehearsal@crowd.invalid", column=EMAIL)
    async with conn.cursor() as cursor:
        columns = "id, role, email_sealed, email_fingerprint"
        async with cursor.copy(f"COPY accounts.people ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(("uuid", "text", "bytea", "bytea"))
            for person in people:
                fingerprint = sealer.fingerprint(f"{person}@crowd.invalid", column=EMAIL_FINGERPRINT)
                await copy.write_row((person, Role.CUSTOMER.value, sealed, fingerprint))
        columns = "token_hash, person_id, expires_at"
        async with cursor.copy(f"COPY accounts.sessions ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(("bytea", "uuid", "timestamptz"))
            for person, token in zip(people, tokens, strict=True):
                await copy.write_row((token_hash(token), person, ends_at))
    return tokens

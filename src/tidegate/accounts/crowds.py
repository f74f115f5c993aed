"""People of a rehearsal: many at once, each with a session, or with what they sign in by."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from tidegate.accounts.contracts import LinkKind, Role
from tidegate.accounts.links import LINK_EMAIL
from tidegate.accounts.passwords import process_passwords
from tidegate.accounts.people import EMAIL, EMAIL_FINGERPRINT
from tidegate.accounts.sessions import TOKEN_BYTES, token_hash
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.sealing import current_sealer

LIFE_HOURS = 6
"""Life of a session: no rehearsal lasts longer."""


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


async def make_links(conn: Connection, *, count: int) -> Sequence[str]:
    """`count` one-time links by which as many new people sign in, in the caller's transaction; their tokens.

    No mail is written for them.
    """
    tokens = [secrets.token_urlsafe(TOKEN_BYTES) for _ in range(count)]
    ends_at = await database_now(conn) + timedelta(hours=LIFE_HOURS)
    sealer = current_sealer()
    async with conn.cursor() as cursor:
        columns = "token_hash, kind, email_sealed, email_fingerprint, expires_at"
        async with cursor.copy(f"COPY accounts.links ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(("bytea", "text", "bytea", "bytea", "timestamptz"))
            for token in tokens:
                email = f"{new_id()}@crowd.invalid"
                sealed = sealer.seal(email, column=LINK_EMAIL)
                fingerprint = sealer.fingerprint(email, column=EMAIL_FINGERPRINT)
                await copy.write_row((token_hash(token), LinkKind.LOGIN.value, sealed, fingerprint, ends_at))
    return tokens


async def make_members(conn: Connection, *, count: int, password: str) -> Sequence[str]:
    """`count` customers who sign in with the same password, in the caller's transaction; their e-mail addresses.

    It is hashed once: what this costs is felt where they sign in.
    """
    hashed = await process_passwords(workers=1, queue=1).hash(password)
    emails = []
    sealer = current_sealer()
    async with conn.cursor() as cursor:
        columns = "id, role, email_sealed, email_fingerprint, password_hash"
        async with cursor.copy(f"COPY accounts.people ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(("uuid", "text", "bytea", "bytea", "text"))
            for _ in range(count):
                person = new_id()
                email = f"{person}@crowd.invalid"
                sealed = sealer.seal(email, column=EMAIL)
                fingerprint = sealer.fingerprint(email, column=EMAIL_FINGERPRINT)
                await copy.write_row((person, Role.CUSTOMER.value, sealed, fingerprint, hashed))
                emails.append(email)
    return emails

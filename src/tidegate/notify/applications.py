"""Applications that have messages sent, and the access keys by which they are known."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.platform.texts import text as _

TOKEN_BYTES: Final = 32
PREFIX: Final = "tgn_"
"""Begins every key's token, so that a leaked one is known for what it is."""

SLUG: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
MAX_LABEL: Final = 100


class KeyRole(StrEnum):
    """What an access key may do."""

    SENDER = "sender"
    """All that an application can ask for."""
    READER = "reader"
    """Look, and change nothing."""
    RECEIPTS = "receipts"
    """Say what became of mails: for the mail provider, and of no application."""
    OPERATOR = "operator"
    """All that staff of a shop can do with messages, for all applications, and of none: where notify runs alone."""


OF_NOBODY: Final = (KeyRole.RECEIPTS, KeyRole.OPERATOR)
"""Roles of keys that belong to no application."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key came with a request."""

    key_id: UUID
    role: KeyRole
    application_id: UUID | None


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key as it is listed. `application` is empty where it belongs to none; times in UTC."""

    key_id: UUID
    application: str
    role: str
    label: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. Its token is told once: only a hash of it is kept."""

    key_id: UUID
    token: str = field(repr=False)


class KeyMade(Problem):
    """This form has made a key already, which is not shown again; revoke it and make another one."""

    slug = "key-made"
    status = 409


async def create_key(
    conn: Connection, *, application: str = "", role: KeyRole, label: str = "", key_id: UUID | None = None
) -> NewKey:
    """Make a key, in the caller's transaction, and its application where that is new; with this id, at most once.

    Raises: InvalidRequest for a name or label that cannot be; KeyMade when there is a key with this id.
    """
    if (role in OF_NOBODY) != (not application):
        raise InvalidRequest(
            _("A key has an application, but for one of the roles `receipts` and `operator`, which has none."),
            field="application",
        )
    if application and not SLUG.fullmatch(application):
        raise InvalidRequest(
            _("Name an application with 1 to 40 letters a-z, digits and hyphens, a letter first."), field="application"
        )
    if len(label) > MAX_LABEL or not label.isprintable():
        raise InvalidRequest(
            _("A key's label has at most %(most)s characters, in one line.", most=MAX_LABEL), field="label"
        )
    application_id = await _application(conn, application) if application else None
    made = NewKey(key_id or new_id(), PREFIX + secrets.token_urlsafe(TOKEN_BYTES))
    done = await conn.execute(
        """
        INSERT INTO notify.keys (key_id, application_id, role, label, token_hash) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (key_id) DO NOTHING
        """,
        (made.key_id, application_id, role.value, label, _hash(made.token)),
    )
    if not done.rowcount:
        raise KeyMade()
    return made


async def list_keys(conn: Connection, *, limit: int, before: UUID | None = None) -> Sequence[AccessKey]:
    """The newest keys, also those that were revoked, and only those before `before`."""
    async with conn.cursor(row_factory=class_row(AccessKey)) as cursor:
        await cursor.execute(
            """
            SELECT k.key_id, coalesce(a.slug, '') AS application, k.role, k.label, k.created_at, k.revoked_at
            FROM notify.keys AS k LEFT JOIN notify.applications AS a USING (application_id)
            WHERE %(before)s::uuid IS NULL OR k.key_id < %(before)s ORDER BY k.key_id DESC LIMIT %(limit)s
            """,
            {"before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def revoke_key(conn: Connection, *, key_id: UUID) -> None:
    """Have a key be good for nothing from now on; what it has asked for goes on. Raises: NotFound."""
    done = await conn.execute(
        "UPDATE notify.keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE key_id = %s", (key_id,)
    )
    if not done.rowcount:
        raise NotFound()


async def find_caller(conn: Connection, *, token: str) -> Caller | None:
    """Whose key a token is; None for one that was revoked or never made."""
    if not token.startswith(PREFIX):
        return None
    found = await conn.execute(
        "SELECT key_id, role, application_id FROM notify.keys WHERE token_hash = %s AND revoked_at IS NULL",
        (_hash(token),),
    )
    row = await found.fetchone()
    return None if row is None else Caller(row[0], KeyRole(row[1]), row[2])


async def _application(conn: Connection, slug: str) -> UUID:
    await conn.execute(
        "INSERT INTO notify.applications (application_id, slug) VALUES (%s, %s) ON CONFLICT (slug) DO NOTHING",
        (new_id(), slug),
    )
    row = await (
        await conn.execute("SELECT application_id FROM notify.applications WHERE slug = %s", (slug,))
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def _hash(token: str) -> bytes:
    """SHA-256: a token is random, so nothing slower is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

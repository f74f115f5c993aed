"""Erasing people."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from tidegate.platform.database import Connection
from tidegate.platform.erasing import delete_from, delete_rows


async def erase_people(conn: Connection, *, people: Collection[UUID]) -> list[UUID]:
    """Erase guests and customers with their sessions; returns who that were: staff among `people` stay."""
    found = await conn.execute(
        "SELECT id FROM accounts.people WHERE id = ANY(%s) AND role IN ('guest', 'customer') FOR UPDATE",
        (list(people),),
    )
    erased = [row[0] for row in await found.fetchall()]
    await delete_rows(conn, schema="accounts", column="person_id", ids=erased)
    await delete_from(conn, schema="accounts", table="people", column="id", ids=erased)
    return erased

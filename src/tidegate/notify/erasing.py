"""Erasing the messages of people."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from tidegate.notify.outcomes import suppress
from tidegate.platform.database import Connection
from tidegate.platform.erasing import delete_rows


async def erase_messages(conn: Connection, *, people: Collection[UUID]) -> None:
    """Erase deliveries, inboxes and what else is kept for people."""
    found = await conn.execute(
        "SELECT former_id FROM notify.recipients WHERE recipient_id = ANY (%s) AND former_id IS NOT NULL",
        (list(people),),
    )
    known_as = [*people, *(row[0] for row in await found.fetchall())]
    whom = "d.recipient_id = ANY (%(people)s)"
    await suppress(conn, whom=whom, values={"people": known_as}, reason="its recipient was erased")
    for column in ("recipient_id", "person_id"):
        await delete_rows(conn, schema="notify", column=column, ids=known_as)

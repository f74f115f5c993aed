"""Erasing the messages of people."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from tidegate.notify.outcomes import suppress
from tidegate.platform.database import Connection
from tidegate.platform.erasing import delete_rows


async def erase_messages(conn: Connection, *, people: Collection[UUID]) -> None:
    """Erase deliveries, inboxes and what else is kept for people."""
    whom = "d.recipient_id = ANY (%(people)s)"
    await suppress(conn, whom=whom, values={"people": list(people)}, reason="its recipient was erased")
    for column in ("recipient_id", "person_id"):
        await delete_rows(conn, schema="notify", column=column, ids=people)

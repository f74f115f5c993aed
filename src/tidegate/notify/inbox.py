"""Messages in somebody's inbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from tidegate.notify.contracts import InboxMessage
from tidegate.notify.messages import Words
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, PersonId


@dataclass(frozen=True, slots=True)
class Note:
    """A message to be put into an inbox."""

    event_id: EventId
    recipient_id: PersonId
    words: Words


async def add_notes(conn: Connection, notes: Sequence[Note]) -> None:
    """Put messages into inboxes in the caller's transaction; one that is there already stays as it is."""
    await conn.execute(
        """
        INSERT INTO notify.inbox_messages (event_id, recipient_id, subject, body, link)
        SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[])
        ON CONFLICT (recipient_id, event_id) DO NOTHING
        """,
        (
            [note.event_id for note in notes],
            [note.recipient_id for note in notes],
            [note.words.subject for note in notes],
            [note.words.text for note in notes],
            [note.words.link for note in notes],
        ),
    )


async def list_inbox(conn: Connection, *, recipient_id: PersonId, limit: int) -> list[InboxMessage]:
    """Somebody's messages, the newest first, at most `limit`."""
    async with conn.cursor(row_factory=class_row(InboxMessage)) as cursor:
        await cursor.execute(
            """
            SELECT event_id, subject, body, link, created_at, read_at FROM notify.inbox_messages
            WHERE recipient_id = %s ORDER BY event_id DESC LIMIT %s
            """,
            (recipient_id, limit),
        )
        return await cursor.fetchall()


async def take_over_messages(conn: Connection, guest: PersonId, person: PersonId) -> None:
    """Make the messages in a guest's inbox a person's, in the caller's transaction."""
    await conn.execute("UPDATE notify.inbox_messages SET recipient_id = %s WHERE recipient_id = %s", (person, guest))

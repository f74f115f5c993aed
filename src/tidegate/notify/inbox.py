"""Messages in somebody's inbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row

from tidegate.notify.contracts import InboxMessage
from tidegate.notify.messages import Words
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, PersonId

MOST_COUNTED: Final = 999
"""Unread messages beyond this are not counted."""


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


async def list_inbox(
    conn: Connection, *, recipient_id: PersonId, limit: int, before: EventId | None = None
) -> list[InboxMessage]:
    """Somebody's messages, the newest first, at most `limit`, and only those before `before`."""
    async with conn.cursor(row_factory=class_row(InboxMessage)) as cursor:
        await cursor.execute(
            """
            SELECT m.event_id, coalesce(w.subject, m.subject) AS subject, coalesce(w.body, m.body) AS body,
                coalesce(w.link, m.link) AS link, m.created_at, m.read_at
            FROM notify.inbox_messages AS m LEFT JOIN notify.words AS w USING (words_id)
            WHERE m.recipient_id = %(recipient)s AND (%(before)s::uuid IS NULL OR m.event_id < %(before)s)
            ORDER BY m.event_id DESC LIMIT %(limit)s
            """,
            {"recipient": recipient_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def count_unread(conn: Connection, *, recipient_id: PersonId, at_most: int = MOST_COUNTED) -> int:
    """How many of somebody's messages are unread, counted up to `at_most`."""
    row = await (
        await conn.execute(
            """
            SELECT count(*) FROM (
                SELECT 1 FROM notify.inbox_messages WHERE recipient_id = %s AND read_at IS NULL LIMIT %s
            ) AS unread
            """,
            (recipient_id, at_most),
        )
    ).fetchone()
    assert row is not None
    return int(row[0])


async def mark_read(conn: Connection, *, recipient_id: PersonId, event_id: EventId) -> bool:
    """Note that somebody has read a message; says whether there is such a message of theirs."""
    done = await conn.execute(
        """
        UPDATE notify.inbox_messages SET read_at = coalesce(read_at, clock_timestamp())
        WHERE recipient_id = %s AND event_id = %s
        """,
        (recipient_id, event_id),
    )
    return done.rowcount > 0


async def mark_all_read(conn: Connection, *, recipient_id: PersonId, shown_at: datetime) -> None:
    """Note that somebody has read all messages that were there when they looked; later ones stay unread."""
    await conn.execute(
        """
        UPDATE notify.inbox_messages SET read_at = clock_timestamp()
        WHERE recipient_id = %s AND read_at IS NULL AND created_at <= %s
        """,
        (recipient_id, shown_at),
    )


async def take_over_messages(conn: Connection, guest: PersonId, person: PersonId) -> None:
    """Make the messages in a guest's inbox a person's, in the caller's transaction."""
    await conn.execute("UPDATE notify.inbox_messages SET recipient_id = %s WHERE recipient_id = %s", (person, guest))

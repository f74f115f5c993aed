"""Messages in somebody's inbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tidegate.notify.contracts import InboxMessage
from tidegate.notify.messages import Words
from tidegate.notify.sealed_words import open_words, seal_words
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.sealing import SealBroken
from tidegate.platform.texts import text as _

MOST_COUNTED: Final = 999
"""Unread messages beyond this are not counted."""


@dataclass(frozen=True, slots=True)
class Note:
    """A message to be put into an inbox; `sealed` if its words are an application's."""

    event_id: EventId
    recipient_id: PersonId
    words: Words
    sealed: bool = False


SHOWN: Final = """
    m.event_id, coalesce(w.subject, m.subject) AS subject, coalesce(w.body, m.body) AS body,
    coalesce(w.link, m.link) AS link, coalesce(w.words_sealed, m.words_sealed) AS words_sealed, m.created_at, m.read_at
"""
"""What `as_shown` takes, of inbox_messages `m` and words `w`."""


def as_shown(row: Sequence[Any]) -> InboxMessage:
    """A message as its reader sees it."""
    event_id, subject, body, link, sealed, created_at, read_at = row
    if sealed is not None:
        try:
            words = open_words(sealed)
        except SealBroken:
            words = {"subject": _("This message cannot be read any more."), "body": "", "link": ""}
        subject, body, link = words["subject"], words["body"], words["link"]
    return InboxMessage(event_id, subject, body, link, created_at, read_at)


def kept_words(words: Words, *, sealed: bool) -> tuple[str, str, str, bytes | None]:
    """Subject, body, link and sealed words as an inbox keeps them: in the clear, or sealed."""
    if not sealed:
        return words.subject, words.text, words.link, None
    return "", "", "", seal_words({"subject": words.subject, "body": words.text, "link": words.link})


async def add_notes(conn: Connection, notes: Sequence[Note]) -> None:
    """Put messages into inboxes in the caller's transaction; one that is there already stays as it is."""
    kept = [kept_words(note.words, sealed=note.sealed) for note in notes]
    await conn.execute(
        """
        INSERT INTO notify.inbox_messages (event_id, recipient_id, subject, body, link, words_sealed)
        SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::bytea[])
        ON CONFLICT (recipient_id, event_id) DO NOTHING
        """,
        (
            [note.event_id for note in notes],
            [note.recipient_id for note in notes],
            *([words[place] for words in kept] for place in range(4)),
        ),
    )


async def list_inbox(
    conn: Connection, *, recipient_id: PersonId, limit: int, before: EventId | None = None
) -> list[InboxMessage]:
    """Somebody's messages, the newest first, at most `limit`, and only those before `before`."""
    rows = await conn.execute(
        f"""
        SELECT {SHOWN} FROM notify.inbox_messages AS m LEFT JOIN notify.words AS w USING (words_id)
        WHERE m.recipient_id = %(recipient)s AND (%(before)s::uuid IS NULL OR m.event_id < %(before)s)
        ORDER BY m.event_id DESC LIMIT %(limit)s
        """,  # noqa: S608 - a constant
        {"recipient": recipient_id, "before": before, "limit": limit},
    )
    return [as_shown(row) for row in await rows.fetchall()]


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

"""Followers of a rehearsal: very many at once, whom nobody can mail."""

from __future__ import annotations

from tidegate.notify.contracts import TopicKind
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id


async def make_followers(conn: Connection, *, kind: TopicKind, key: str, count: int) -> None:
    """A new topic with `count` new followers, each with an inbox and no address, in the caller's transaction."""
    topic_id = new_id()
    await conn.execute(
        "INSERT INTO notify.topics (topic_id, kind, key, title, path) VALUES (%s, %s, %s, %s, %s)",
        (topic_id, kind.value, key, key.title(), f"/{key}"),
    )
    await conn.execute(
        """
        WITH people AS (
            INSERT INTO notify.recipients (recipient_id, address_sealed, email_fingerprint, has_inbox, locale)
            SELECT id, ''::bytea, sha256(uuid_send(id)), true, 'en_GB'
            FROM (SELECT uuidv7() AS id FROM generate_series(1, %s)) AS made RETURNING recipient_id
        )
        INSERT INTO notify.follows (topic_id, recipient_id) SELECT %s, recipient_id FROM people
        """,
        (count, topic_id),
    )

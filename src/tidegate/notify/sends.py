"""Messages to the followers of a topic: what is told of which event, to whom, and how far it has come.

A send is a row; its audience is cut into shards (`shards`), so that any worker goes on where the last one ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tidegate.notify.contracts import ONCE, Channel, Topic, TopicKind
from tidegate.notify.sealed_words import seal_words
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event, write_events

SEND_TOPIC: Final = "follow.send"

TELLING: Final = """(s.finished_at IS NULL AND (s.planned_at IS NULL OR EXISTS (
    SELECT FROM notify.send_shards AS h
    WHERE h.event_id = s.event_id AND h.topic_id = s.topic_id AND h.done_at IS NULL AND h.expanded_at IS NULL
)))"""
"""Of a send `s`: whether it will still tell more followers, rather than only deliver what it has written."""


@dataclass(frozen=True, slots=True)
class WaitingTopic:
    """A topic with followers who wait to be told. `ended`: not of what is the case now, but when it came anew."""

    topic_id: UUID
    topic: Topic
    ended: bool = False


async def waiting_topics(
    conn: Connection, *, kind: TopicKind, after: UUID | None, limit: int
) -> Sequence[WaitingTopic]:
    """Topics of a kind with followers whom no running send will tell, in order, behind the topic `after`."""
    rows = await conn.execute(
        f"""
        SELECT t.topic_id, t.kind, t.key, t.title, t.path, t.ended_at IS NOT NULL FROM notify.topics AS t
        WHERE t.kind = %(kind)s AND (%(after)s::uuid IS NULL OR t.topic_id > %(after)s)
            AND EXISTS (SELECT FROM notify.follows AS f WHERE f.topic_id = t.topic_id AND f.told_at IS NULL)
            AND NOT EXISTS (SELECT FROM notify.sends AS s WHERE s.topic_id = t.topic_id AND {TELLING})
        ORDER BY t.topic_id LIMIT %(limit)s
        """,  # noqa: S608 - a constant
        {"kind": kind, "after": after, "limit": limit},
    )
    return [
        WaitingTopic(row[0], Topic(TopicKind(row[1]), row[2], row[3], row[4]), ended=row[5])
        for row in await rows.fetchall()
    ]


async def find_followed(conn: Connection, *, topics: Mapping[TopicKind, Sequence[str]]) -> Sequence[WaitingTopic]:
    """Which of these topics, by kind and key, have followers."""
    pairs = [(kind.value, key) for kind, keys in topics.items() for key in keys]
    rows = await conn.execute(
        """
        SELECT t.topic_id, t.kind, t.key, t.title, t.path
        FROM unnest(%s::text[], %s::text[]) AS asked (kind, key) JOIN notify.topics AS t USING (kind, key)
        WHERE EXISTS (SELECT FROM notify.follows AS f WHERE f.topic_id = t.topic_id AND f.told_at IS NULL)
        ORDER BY t.topic_id
        """,
        ([kind for kind, _ in pairs], [key for _, key in pairs]),
    )
    return [WaitingTopic(row[0], Topic(TopicKind(row[1]), row[2], row[3], row[4])) for row in await rows.fetchall()]


async def list_topics(
    conn: Connection, *, limit: int, kind: TopicKind | None = None, key: str | None = None
) -> Sequence[WaitingTopic]:
    """The shop's topics that somebody has followed, the newest first; an application's are for itself to write to."""
    rows = await conn.execute(
        """
        SELECT topic_id, kind, key, title, path FROM notify.topics
        WHERE kind <> 'custom'
            AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(key)s::text IS NULL OR key = %(key)s)
        ORDER BY topic_id DESC LIMIT %(limit)s
        """,
        {"kind": kind, "key": key, "limit": limit},
    )
    return [WaitingTopic(row[0], Topic(TopicKind(row[1]), row[2], row[3], row[4])) for row in await rows.fetchall()]


async def begin_send(
    conn: Connection,
    *,
    event_id: EventId,
    topic: WaitingTopic,
    template: str,
    variables: Mapping[str, Any],
    words: Mapping[str, Any] | None = None,
    channels: Sequence[Channel] = tuple(Channel),
    once: bool | None = None,
    expires_at: datetime | None = None,
) -> bool:
    """Begin to tell a topic's followers of an event, in the caller's transaction; says whether that is new.

    `once` says whether a follower who is told is told no more; the topic's kind knows unless it is said. What is not
    told by `expires_at` is not told: it does not matter any more. What is too late already is not begun.

    `words` are variables that an application said, and are sealed.

    An event is told to a topic once; where it is told once to each follower, whoever came later is told it, too, by
    beginning again. Whoever follows several topics of one event is told by the first.
    """
    once = topic.topic.kind in ONCE if once is None else once
    done = await conn.execute(
        f"""
        INSERT INTO notify.sends AS s
            (event_id, topic_id, template, variables, words_sealed, channels, once, expires_at)
        SELECT %(event)s, topic_id, %(template)s, %(variables)s, %(words)s, %(channels)s, %(once)s, %(expires)s
        FROM notify.topics
        WHERE topic_id = %(topic)s AND coalesce(%(expires)s::timestamptz > clock_timestamp(), true) FOR NO KEY UPDATE
        ON CONFLICT (event_id, topic_id) DO UPDATE
        SET finished_at = NULL, planned_at = NULL, revisited_at = NULL, told_to = NULL, created_at = clock_timestamp(),
            due_at = clock_timestamp(), expires_at = excluded.expires_at
        WHERE NOT {TELLING} AND s.cancelled_at IS NULL AND %(once)s
        """,  # noqa: S608 - a constant
        {
            "event": event_id,
            "topic": topic.topic_id,
            "template": template,
            "variables": json.dumps({**variables, "topic_title": topic.topic.title}),
            "words": None if words is None else seal_words(words),
            "once": once,
            "expires": expires_at,
            "channels": [channel.value for channel in channels],
        },
    )
    if not done.rowcount:
        return False
    await write_events(conn, [Event(EventId(new_id()), SEND_TOPIC, {"event_id": str(event_id)})])
    return True


async def end_telling(conn: Connection, *, event_id: EventId, topic_id: UUID) -> None:
    """Tell nobody else of a product's being back, in the caller's transaction, until `tell_anew`.

    Followers whom a send that was ended, or is too late, has not told wait for the next time.
    """
    await conn.execute(
        """
        UPDATE notify.topics AS t SET ended_at = clock_timestamp() FROM notify.sends AS s
        WHERE s.event_id = %s AND s.topic_id = %s AND s.once IS NOT FALSE
            AND t.topic_id = s.topic_id AND t.kind = 'product' AND t.ended_at IS NULL
        """,
        (event_id, topic_id),
    )


async def tell_anew(conn: Connection, *, topic_ids: Sequence[UUID]) -> None:
    """What these topics' followers wait for is not the case: when it is, they are told, whatever was ended before."""
    await conn.execute("UPDATE notify.topics SET ended_at = NULL WHERE topic_id = ANY (%s)", (list(topic_ids),))


async def expire_sends(conn: Connection, *, event_ids: Sequence[EventId]) -> int:
    """Say that events do not matter any more: what is not sent yet of them is suppressed. Returns how many sends.

    What waits of them is due at once, so that it is counted at once.
    """
    done = await conn.execute(
        """
        WITH late AS (
            UPDATE notify.sends SET expires_at = clock_timestamp()
            WHERE event_id = ANY (%s) AND finished_at IS NULL AND coalesce(expires_at > clock_timestamp(), true)
            RETURNING event_id, topic_id
        ), due AS (
            UPDATE notify.send_shards AS h SET due_at = clock_timestamp() FROM late
            WHERE (h.event_id, h.topic_id) = (late.event_id, late.topic_id) AND h.done_at IS NULL
        )
        SELECT FROM late
        """,
        (list(event_ids),),
    )
    return done.rowcount


async def find_stopped(conn: Connection, *, limit: int, overdue_s: float) -> list[EventId]:
    """Events whose followers nobody has told on, or whose sends nobody has closed, for `overdue_s` seconds.

    Their task was lost.
    """
    rows = await conn.execute(
        """
        SELECT DISTINCT event_id FROM (
            SELECT s.event_id FROM notify.sends AS s
            WHERE s.finished_at IS NULL AND s.due_at <= clock_timestamp() - make_interval(secs => %s)
                AND (s.planned_at IS NULL OR NOT EXISTS (
                    SELECT FROM notify.send_shards AS h
                    WHERE h.event_id = s.event_id AND h.topic_id = s.topic_id AND h.done_at IS NULL
                ))
            ORDER BY s.due_at LIMIT %s
        ) AS stopped
        """,
        (overdue_s, limit),
    )
    return [EventId(row[0]) for row in await rows.fetchall()]


async def delete_spent(conn: Connection, *, keep_days: int, limit: int) -> int:
    """Remove up to `limit` follows told and sends finished `keep_days` ago, and addresses left without a follow.

    Returns the most that was removed of one kind.
    """
    removed = [
        await conn.execute(
            """
            DELETE FROM notify.follows AS f USING (
                SELECT topic_id, recipient_id FROM notify.follows
                WHERE told_at < clock_timestamp() - make_interval(days => %s) LIMIT %s
            ) AS old WHERE (f.topic_id, f.recipient_id) = (old.topic_id, old.recipient_id)
            """,
            (keep_days, limit),
        ),
        await conn.execute(
            """
            DELETE FROM notify.sends AS s USING (
                SELECT event_id, topic_id FROM notify.sends
                WHERE finished_at < clock_timestamp() - make_interval(days => %s) LIMIT %s
            ) AS old WHERE (s.event_id, s.topic_id) = (old.event_id, old.topic_id)
            """,
            (keep_days, limit),
        ),
        await conn.execute(
            """
            DELETE FROM notify.recipients WHERE recipient_id = ANY (ARRAY(
                SELECT r.recipient_id FROM notify.recipients AS r
                WHERE NOT r.has_inbox AND r.created_at < clock_timestamp() - make_interval(days => %s)
                    AND NOT EXISTS (SELECT FROM notify.follows AS f WHERE f.recipient_id = r.recipient_id)
                    AND NOT EXISTS (
                        SELECT FROM notify.application_recipients AS a WHERE a.recipient_id = r.recipient_id
                    )
                LIMIT %s
            ))
            """,
            (keep_days, limit),
        ),
    ]
    return max(done.rowcount for done in removed)

"""Messages to the followers of a topic: told in pages of the followers' list, each page in a transaction.

A send is a row that says how far it has come, so that any worker goes on where the last one ended. A page writes its
deliveries and marks who was told of a thing that is told once; both or neither are committed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from tidegate.notify.contracts import ONCE, Topic, TopicKind
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.settings import Settings

SEND_TOPIC: Final = "follow.send"

PAGE: Final = """
WITH page AS MATERIALIZED (
    SELECT f.recipient_id FROM notify.follows AS f
    WHERE f.topic_id = %(topic)s AND f.told_at IS NULL AND f.since <= %(begun)s
        AND (%(told_to)s::uuid IS NULL OR f.recipient_id > %(told_to)s)
    ORDER BY f.recipient_id LIMIT %(limit)s FOR UPDATE
), told AS (
    UPDATE notify.follows AS f SET told_at = clock_timestamp() FROM page
    WHERE %(once)s AND f.topic_id = %(topic)s AND f.recipient_id = page.recipient_id
), written AS (
    INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, address_sealed, bulk)
    SELECT %(event)s, r.recipient_id, channel, %(template)s,
        %(variables)s::jsonb || jsonb_build_object('locale', r.locale, 'topic_id', %(topic)s::uuid),
        CASE channel WHEN 'email' THEN r.address_sealed END, true
    FROM page JOIN notify.recipients AS r USING (recipient_id), unnest(ARRAY['email', 'inbox']) AS channel
    WHERE channel = 'email' OR r.has_inbox
    ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM page), (SELECT count(*) FROM written),
    (SELECT recipient_id FROM page ORDER BY recipient_id DESC LIMIT 1)
"""


@dataclass(frozen=True, slots=True)
class WaitingTopic:
    """A topic with followers who wait to be told."""

    topic_id: UUID
    topic: Topic


@dataclass(frozen=True, slots=True)
class Page:
    """What one page of a send came to: followers told, deliveries written, and whether nothing is left of the event."""

    followers: int
    deliveries: int
    over: bool


async def waiting_topics(
    conn: Connection, *, kind: TopicKind, after: UUID | None, limit: int
) -> Sequence[WaitingTopic]:
    """Topics of a kind with followers whom no running send will tell, in order, behind the topic `after`."""
    rows = await conn.execute(
        """
        SELECT t.topic_id, t.kind, t.key, t.title, t.path FROM notify.topics AS t
        WHERE t.kind = %(kind)s AND (%(after)s::uuid IS NULL OR t.topic_id > %(after)s)
            AND EXISTS (SELECT FROM notify.follows AS f WHERE f.topic_id = t.topic_id AND f.told_at IS NULL)
            AND NOT EXISTS (SELECT FROM notify.sends AS s WHERE s.topic_id = t.topic_id AND s.finished_at IS NULL)
        ORDER BY t.topic_id LIMIT %(limit)s
        """,
        {"kind": kind, "after": after, "limit": limit},
    )
    return [WaitingTopic(row[0], Topic(TopicKind(row[1]), row[2], row[3], row[4])) for row in await rows.fetchall()]


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


async def begin_send(
    conn: Connection, *, event_id: EventId, topic: WaitingTopic, template: str, variables: Mapping[str, Any]
) -> bool:
    """Begin to tell a topic's followers of an event, in the caller's transaction; says whether that is new.

    An event is told to a topic once; where it is told once to each follower, whoever came later is told it, too, by
    beginning again. Whoever follows several topics of one event is told by the first.
    """
    once = topic.topic.kind in ONCE
    done = await conn.execute(
        """
        INSERT INTO notify.sends AS s (event_id, topic_id, template, variables)
        SELECT %(event)s, topic_id, %(template)s, %(variables)s FROM notify.topics
        WHERE topic_id = %(topic)s FOR NO KEY UPDATE
        ON CONFLICT (event_id, topic_id) DO UPDATE
        SET finished_at = NULL, told_to = NULL, created_at = clock_timestamp(), due_at = clock_timestamp()
        WHERE s.finished_at IS NOT NULL AND %(once)s
        """,
        {
            "event": event_id,
            "topic": topic.topic_id,
            "template": template,
            "variables": json.dumps({**variables, "topic_title": topic.topic.title}),
            "once": once,
        },
    )
    if not done.rowcount:
        return False
    await write_events(conn, [Event(EventId(new_id()), SEND_TOPIC, {"event_id": str(event_id)})])
    return True


async def tell_page(database: Database, settings: Settings, *, event_id: EventId) -> Page:
    """Tell the next page of followers of an event; one worker at a time does, and another finds nothing to do."""
    async with database.transaction() as conn:
        row = await (
            await conn.execute(
                """
                SELECT s.topic_id, s.template, s.variables, s.told_to, s.created_at, t.kind
                FROM notify.sends AS s JOIN notify.topics AS t USING (topic_id)
                WHERE s.event_id = %s AND s.finished_at IS NULL
                ORDER BY s.topic_id LIMIT 1 FOR UPDATE OF s SKIP LOCKED
                """,
                (event_id,),
            )
        ).fetchone()
        if row is None:
            return Page(0, 0, over=True)
        topic_id, template, variables, told_to, begun, kind = row
        counted = await (
            await conn.execute(
                PAGE,
                {
                    "event": event_id,
                    "topic": topic_id,
                    "template": template,
                    "variables": json.dumps(variables),
                    "told_to": told_to,
                    "begun": begun,
                    "once": TopicKind(kind) in ONCE,
                    "limit": settings.follows.batch,
                },
            )
        ).fetchone()
        assert counted is not None
        followers, deliveries, last = counted
        await conn.execute(
            """
            UPDATE notify.sends SET told = told + %(followers)s, told_to = coalesce(%(last)s::uuid, told_to),
                due_at = clock_timestamp(), finished_at = CASE WHEN %(last)s::uuid IS NULL THEN clock_timestamp() END
            WHERE event_id = %(event)s AND topic_id = %(topic)s
            """,
            {"followers": followers, "last": last, "event": event_id, "topic": topic_id},
        )
    return Page(followers, deliveries, over=False)


async def find_stopped(conn: Connection, *, limit: int, overdue_s: float) -> list[EventId]:
    """Events whose followers nobody has told on for `overdue_s` seconds: the task was lost."""
    rows = await conn.execute(
        """
        SELECT DISTINCT event_id FROM (
            SELECT event_id FROM notify.sends
            WHERE finished_at IS NULL AND due_at <= clock_timestamp() - make_interval(secs => %s)
            ORDER BY due_at LIMIT %s
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
                LIMIT %s
            ))
            """,
            (keep_days, limit),
        ),
    ]
    return max(done.rowcount for done in removed)

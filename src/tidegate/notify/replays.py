"""Failed deliveries once more: they wait again as if they were new, and their shards and sends go on with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from tidegate.notify.sends import SEND_TOPIC
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event, write_events

DELIVER_TOPIC: Final = "notify.deliver"
"""Outbox event: hand out the deliveries to single people of an event. Its lane is that of what people wait for."""

MOST_REPLAYED: Final = 1_000
"""Most deliveries that one transaction replays."""

Key = tuple[EventId, UUID, str]
"""Event, recipient and channel of a delivery."""

REPLAY: Final = """
WITH chosen AS MATERIALIZED (
    SELECT d.event_id, d.recipient_id, d.channel
    FROM notify.deliveries AS d JOIN unnest(%(events)s::uuid[], %(recipients)s::uuid[], %(channels)s::text[])
        AS asked (event_id, recipient_id, channel) USING (event_id, recipient_id, channel)
    WHERE d.state = 'failed' AND NOT EXISTS (
        SELECT FROM notify.send_shards AS h JOIN notify.sends AS s USING (event_id, topic_id)
        WHERE h.event_id = d.event_id AND h.shard_no = d.shard_no AND s.cancelled_at IS NOT NULL
    )
    ORDER BY d.event_id, d.recipient_id, d.channel FOR UPDATE OF d
), revived AS (
    UPDATE notify.deliveries AS d SET state = 'pending', attempts = 0, next_attempt_at = clock_timestamp()
    FROM chosen AS c WHERE (d.event_id, d.recipient_id, d.channel) = (c.event_id, c.recipient_id, c.channel)
    RETURNING d.event_id, d.shard_no
), reopened AS (
    UPDATE notify.send_shards AS h
    SET failed = h.failed - c.revived, done_at = NULL, due_at = clock_timestamp()
    FROM (
        SELECT event_id, shard_no, count(*) AS revived FROM revived WHERE shard_no IS NOT NULL
        GROUP BY event_id, shard_no
    ) AS c WHERE (h.event_id, h.shard_no) = (c.event_id, c.shard_no)
    RETURNING h.event_id, h.topic_id
), resumed AS (
    UPDATE notify.sends AS s SET finished_at = NULL FROM (SELECT DISTINCT event_id, topic_id FROM reopened) AS o
    WHERE (s.event_id, s.topic_id) = (o.event_id, o.topic_id)
)
SELECT event_id, shard_no IS NOT NULL, count(*) FROM revived GROUP BY event_id, shard_no IS NOT NULL
"""


async def replay_deliveries(conn: Connection, *, keys: Sequence[Key]) -> int:
    """Have failed deliveries tried again, in the caller's transaction; returns how many. At most MOST_REPLAYED.

    Those that have not failed stay as they are, and so do those of a send that staff have ended. The attempts begin
    anew. What became of them before is not counted any more: each delivery is counted once, by what becomes of it last.
    """
    assert len(keys) <= MOST_REPLAYED, "replay in parts"
    events = sorted({event_id for event_id, _, _ in keys})
    # Whoever plans or ends a send locks it before its shards.
    await conn.execute(
        "SELECT FROM notify.sends WHERE event_id = ANY (%s) ORDER BY event_id, topic_id FOR NO KEY UPDATE", (events,)
    )
    rows = await conn.execute(
        REPLAY,
        {
            "events": [event_id for event_id, _, _ in keys],
            "recipients": [recipient_id for _, recipient_id, _ in keys],
            "channels": [str(channel) for _, _, channel in keys],
        },
    )
    revived = await rows.fetchall()
    await write_events(
        conn,
        [
            Event(EventId(new_id()), SEND_TOPIC if of_send else DELIVER_TOPIC, {"event_id": str(event_id)})
            for event_id, of_send, _ in revived
        ],
    )
    return sum(count for _, _, count in revived)


async def replay_event(conn: Connection, *, event_id: EventId, limit: int = MOST_REPLAYED) -> int:
    """Have up to `limit` failed deliveries of an event tried again; returns how many, 0 when none is left."""
    rows = await conn.execute(
        """
        SELECT event_id, recipient_id, channel FROM notify.deliveries WHERE event_id = %s AND state = 'failed'
        ORDER BY recipient_id, channel LIMIT %s
        """,
        (event_id, min(limit, MOST_REPLAYED)),
    )
    return await replay_deliveries(conn, keys=[(EventId(row[0]), row[1], row[2]) for row in await rows.fetchall()])


async def count_waiting(conn: Connection, *, event_id: EventId) -> int:
    """How many deliveries of an event to single people wait to be sent."""
    row = await (
        await conn.execute(
            "SELECT count(*) FROM notify.deliveries WHERE event_id = %s AND state = 'pending' AND shard_no IS NULL",
            (event_id,),
        )
    ).fetchone()
    assert row is not None
    return int(row[0])

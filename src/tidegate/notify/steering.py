"""Pausing, resuming and ending a send that runs.

Workers look before each handful of mails and before each shard, so what is asked here is felt within seconds. Each is
done in the caller's transaction, and doing it again changes nothing.
"""

from __future__ import annotations

from uuid import UUID

from tidegate.notify.sends import SEND_TOPIC, end_telling
from tidegate.notify.shards import suppress_untold
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.problems import NotFound


async def pause_send(conn: Connection, *, event_id: EventId, topic_id: UUID) -> None:
    """Send nothing more for now. A send that is over stays as it is. Raises: NotFound."""
    await _lock(conn, event_id, topic_id)
    await conn.execute(
        """
        UPDATE notify.sends SET paused_at = coalesce(paused_at, clock_timestamp())
        WHERE event_id = %s AND topic_id = %s AND finished_at IS NULL AND cancelled_at IS NULL
        """,
        (event_id, topic_id),
    )


async def resume_send(conn: Connection, *, event_id: EventId, topic_id: UUID) -> None:
    """Go on with a paused send. Raises: NotFound."""
    await _lock(conn, event_id, topic_id)
    done = await conn.execute(
        """
        UPDATE notify.sends SET paused_at = NULL,
            paused_s = paused_s + extract(epoch FROM clock_timestamp() - paused_at)
        WHERE event_id = %s AND topic_id = %s AND paused_at IS NOT NULL
        """,
        (event_id, topic_id),
    )
    if done.rowcount:
        await _go_on(conn, event_id, topic_id)


async def cancel_send(conn: Connection, *, event_id: EventId, topic_id: UUID) -> None:
    """End a send: what was not handed over yet is suppressed. Raises: NotFound.

    Whom it has not told of a product that is back waits until it is back another time. A shard that a worker has in
    hand is not waited for: it is told, or suppressed by that worker.
    """
    await _lock(conn, event_id, topic_id)
    done = await conn.execute(
        """
        UPDATE notify.sends
        SET cancelled_at = clock_timestamp(), planned_at = coalesce(planned_at, clock_timestamp()), paused_at = NULL
        WHERE event_id = %s AND topic_id = %s AND finished_at IS NULL AND cancelled_at IS NULL
        """,
        (event_id, topic_id),
    )
    if not done.rowcount:
        return
    await end_telling(conn, event_id=event_id, topic_id=topic_id)
    await suppress_untold(conn, event_id=event_id)
    await _go_on(conn, event_id, topic_id)


async def _lock(conn: Connection, event_id: EventId, topic_id: UUID) -> None:
    found = await conn.execute(
        "SELECT FROM notify.sends WHERE event_id = %s AND topic_id = %s FOR UPDATE", (event_id, topic_id)
    )
    if await found.fetchone() is None:
        raise NotFound()


async def _go_on(conn: Connection, event_id: EventId, topic_id: UUID) -> None:
    """Have somebody look at what is left, at once; whoever has a shard in hand is not waited for."""
    await conn.execute(
        """
        UPDATE notify.send_shards AS h SET due_at = clock_timestamp() FROM (
            SELECT shard_no FROM notify.send_shards
            WHERE event_id = %(event)s AND topic_id = %(topic)s AND done_at IS NULL FOR UPDATE SKIP LOCKED
        ) AS free WHERE h.event_id = %(event)s AND h.shard_no = free.shard_no
        """,
        {"event": event_id, "topic": topic_id},
    )
    await write_events(conn, [Event(EventId(new_id()), SEND_TOPIC, {"event_id": str(event_id)})])

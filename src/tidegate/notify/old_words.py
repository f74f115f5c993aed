"""What is old leaves: what sends said, and posts, after the inboxes that show them; months of messages."""

from __future__ import annotations

from typing import Final

from tidegate.platform.database import Connection

MONTH_DAYS: Final = 31
"""An inbox leaves with its whole month."""


PENDING_MONTHS: Final = {
    "notify.deliveries": """
        SELECT FROM {month} WHERE state = 'pending' AND channel = 'webhook'
        UNION ALL SELECT FROM {month} WHERE state = 'pending' AND channel <> 'webhook' AND shard_no IS NULL
        UNION ALL SELECT FROM notify.send_shards AS h
            WHERE h.done_at IS NULL AND EXISTS (SELECT FROM {month} AS d WHERE d.event_id = h.event_id)
        LIMIT 1
    """
}
"""Whether something of a month is pending, each part of it by an index. Of messages to many their shards say so."""


async def delete_old_words(conn: Connection, *, inbox_days: int, limit: int) -> int:
    """Remove words of sends, and posts, that no inbox can show any more; `inbox_days` is how long these are kept.

    Looks at the `limit` oldest of each, in the caller's transaction; returns the most that was removed of one kind.
    """
    values = {"days": inbox_days + MONTH_DAYS, "limit": limit}
    removed = [
        await conn.execute(
            """
            DELETE FROM notify.words WHERE words_id IN (
                SELECT words_id FROM (
                    SELECT words_id, created_at FROM notify.words ORDER BY words_id LIMIT %(limit)s
                ) AS oldest WHERE created_at < clock_timestamp() - make_interval(days => %(days)s)
            )
            """,
            values,
        ),
        await conn.execute(
            """
            DELETE FROM notify.posts WHERE post_id IN (
                SELECT post_id FROM (
                    SELECT post_id, created_at FROM notify.posts ORDER BY post_id LIMIT %(limit)s
                ) AS oldest WHERE created_at < clock_timestamp() - make_interval(days => %(days)s)
            )
            """,
            values,
        ),
    ]
    return max(done.rowcount for done in removed)

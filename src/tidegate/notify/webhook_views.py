"""What an endpoint was told, as staff see it, and telling it again."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.webhook_contracts import EndpointDisabled, EndpointState, WebhookDelivery
from tidegate.notify.webhooks import find_endpoint
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId
from tidegate.platform.problems import NotFound
from tidegate.platform.texts import text as _

LAST: Final = UUID(int=2**128 - 1)
"""Behind all ids."""


async def list_webhooks(
    conn: Connection, *, endpoint_id: UUID, limit: int, before: EventId | None = None
) -> list[WebhookDelivery]:
    """An endpoint's webhooks, the newest first, at most `limit`, and only those of events before `before`."""
    async with conn.cursor(row_factory=class_row(WebhookDelivery)) as cursor:
        await cursor.execute(
            """
            SELECT event_id, template AS kind, state, attempts, status_code, coalesce(last_error, '') AS error,
                created_at, sent_at, CASE WHEN state = 'pending' THEN next_attempt_at END AS next_attempt_at
            FROM notify.deliveries
            WHERE channel = 'webhook' AND recipient_id = %s AND event_id < %s
            ORDER BY event_id DESC LIMIT %s
            """,
            (endpoint_id, before or LAST, limit),
        )
        return await cursor.fetchall()


async def replay_webhook(conn: Connection, *, endpoint_id: UUID, event_id: EventId) -> None:
    """Tell an endpoint of an event again, under the same id, whatever became of it before.

    One that waits is told as soon as it can be. Raises: NotFound, EndpointDisabled.
    """
    endpoint = await find_endpoint(conn, endpoint_id=endpoint_id)
    if endpoint.state is not EndpointState.ACTIVE:
        raise EndpointDisabled(_("This endpoint is disabled. Enable it first."))
    done = await conn.execute(
        """
        UPDATE notify.deliveries SET state = 'pending', sent_at = NULL, next_attempt_at = clock_timestamp(),
            attempts = CASE WHEN state = 'pending' THEN attempts ELSE 0 END
        WHERE channel = 'webhook' AND recipient_id = %s AND event_id = %s
            AND (state <> 'pending' OR attempts = 0 OR last_error IS NOT NULL)
        """,
        (endpoint_id, event_id),
    )
    if not done.rowcount and not await _is_there(conn, endpoint_id, event_id):
        raise NotFound()
    await conn.execute(
        "UPDATE notify.webhook_endpoints SET due_at = clock_timestamp() WHERE endpoint_id = %s", (endpoint_id,)
    )


async def _is_there(conn: Connection, endpoint_id: UUID, event_id: EventId) -> bool:
    found = await conn.execute(
        "SELECT FROM notify.deliveries WHERE channel = 'webhook' AND recipient_id = %s AND event_id = %s",
        (endpoint_id, event_id),
    )
    return await found.fetchone() is not None

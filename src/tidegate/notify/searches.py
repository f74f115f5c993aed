"""Deliveries as applications and staff look them up: by event, recipient, state and channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.contracts import Channel
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId


class DeliveryState(StrEnum):
    """pending -> sent | failed | suppressed; failed -> pending when it is replayed."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


Place = tuple[UUID, UUID, str]
"""Where a page ended: event, recipient and channel."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. `application_id` is None for staff, who see all; recipients are known by our ids."""

    application_id: UUID | None
    event_id: EventId | None = None
    recipient_id: UUID | None = None
    state: DeliveryState | None = None
    channel: Channel | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A delivery, and what the provider said of it afterwards. `external_id` is empty for the shop's own. UTC."""

    event_id: UUID
    recipient_id: UUID
    external_id: str
    channel: str
    template: str
    state: str
    attempts: int
    last_error: str
    created_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None
    receipts: list[str]


COLUMNS: Final = """
SELECT d.event_id, d.recipient_id, coalesce(a.external_id, '') AS external_id, d.channel, d.template, d.state,
    d.attempts, coalesce(d.last_error, '') AS last_error, d.created_at, d.sent_at,
    CASE WHEN d.state = 'pending' THEN d.next_attempt_at END AS next_attempt_at,
    ARRAY(
        SELECT p.kind FROM notify.receipts AS p
        WHERE (p.event_id, p.recipient_id) = (d.event_id, d.recipient_id) AND d.channel = 'email' ORDER BY p.created_at
    ) AS receipts
FROM notify.deliveries AS d LEFT JOIN notify.application_recipients AS a ON a.recipient_id = d.recipient_id
WHERE true
"""


async def search_deliveries(
    conn: Connection, *, wanted: Wanted, limit: int, before: Place | None = None
) -> list[Found]:
    """Deliveries that fit, of the newest events first, at most `limit`, and only those behind `before`.

    A person's messages are found by their recipient, whatever the events; all else goes through the events in order.
    """
    clauses = []
    values: dict[str, Any] = {"limit": limit}
    if wanted.event_id is not None:
        clauses.append("d.event_id = %(event)s")
        values["event"] = wanted.event_id
    if wanted.application_id is not None:
        clauses.append(
            "d.event_id IN (SELECT e.event_id FROM notify.events AS e WHERE e.application_id = %(application)s)"
        )
        values["application"] = wanted.application_id
    if wanted.recipient_id is not None:
        clauses.append(
            """d.recipient_id = %(recipient)s AND d.event_id IN (
                SELECT m.event_id FROM notify.inbox_messages AS m WHERE m.recipient_id = %(recipient)s
                UNION SELECT o.event_id FROM notify.deliveries AS o
                WHERE o.recipient_id = %(recipient)s AND (o.channel <> 'inbox' OR o.state <> 'sent')
            )"""
        )
        values["recipient"] = wanted.recipient_id
    if wanted.state is not None:
        clauses.append("d.state = %(state)s")
        values["state"] = wanted.state.value
    if wanted.channel is not None:
        clauses.append("d.channel = %(channel)s")
        values["channel"] = wanted.channel.value
    if before is not None:
        clauses.append("(d.event_id, d.recipient_id, d.channel) < (%(b_event)s, %(b_recipient)s, %(b_channel)s)")
        values |= dict(zip(("b_event", "b_recipient", "b_channel"), before, strict=True))
    order = " ORDER BY d.event_id DESC, d.recipient_id DESC, d.channel DESC LIMIT %(limit)s"
    async with conn.cursor(row_factory=class_row(Found)) as cursor:
        await cursor.execute(COLUMNS + "".join(f" AND {clause}" for clause in clauses) + order, values)
        return await cursor.fetchall()


async def is_of_application(conn: Connection, *, event_id: EventId, application_id: UUID) -> bool:
    """Whether an event is one that an application asked for."""
    found = await conn.execute(
        "SELECT FROM notify.events WHERE event_id = %s AND application_id = %s", (event_id, application_id)
    )
    return await found.fetchone() is not None

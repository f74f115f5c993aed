"""Quiet hours: a mail that nobody asked for right now waits until they end.

They are looked at when a mail is about to be sent, not when it was written: a send may take until the evening.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from tidegate.notify.outcomes import Delivery, Draw, Failure, note_failed
from tidegate.notify.preferences import zone_of
from tidegate.notify.rules import quiet_end
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.settings import Settings

QUIET: Final = "quiet hours"
SPREAD_S: Final = 300.0
"""Over how long those are spread whose quiet hours end at the same time, in seconds."""


async def wait_for_morning(
    conn: Connection, settings: Settings, claimed: Sequence[Delivery], *, draw: Draw, expires_at: datetime | None = None
) -> list[Delivery]:
    """Put back what came in its recipient's quiet hours, and return the rest. It costs no attempt.

    It is due when they are over, or when it does not matter any more (`expires_at`, or what it says itself): it is
    counted then.
    """
    if not claimed:
        return []
    rows = await conn.execute(
        """
        SELECT recipient_id, time_zone, quiet_from, quiet_until FROM notify.recipients
        WHERE recipient_id = ANY (%s) AND quiet_from IS NOT NULL
        """,
        ([delivery.recipient_id for delivery in claimed],),
    )
    found = await rows.fetchall()
    if not found:
        return list(claimed)
    now = await database_now(conn)
    ends: dict[UUID, datetime] = {}
    for recipient_id, time_zone, starts, until in found:
        zone = zone_of(time_zone, settings.follows.time_zone)
        end = quiet_end(now, zone=zone, starts=starts, ends=until)
        if end is not None:
            ends[recipient_id] = end
    later = [
        (
            each,
            Failure(
                QUIET, counts=False, pause_s=_pause_s(now, ends[each.recipient_id], expires_at or each.expires_at, draw)
            ),
        )
        for each in claimed
        if each.recipient_id in ends
    ]
    await note_failed(conn, settings, draw, later)
    return [each for each in claimed if each.recipient_id not in ends]


def _pause_s(now: datetime, end: datetime, expires_at: datetime | None, draw: Draw) -> float:
    pause_s = (end - now).total_seconds() + draw() * SPREAD_S
    return pause_s if expires_at is None else max(min(pause_s, (expires_at - now).total_seconds()), 0.0)

"""A message mailed as a trial, to whoever writes its text: the words are made already, with example values."""

from __future__ import annotations

import json
from typing import Final
from uuid import UUID

from tidegate.notify.addresses import ADDRESS, check_address
from tidegate.notify.messages import WRITTEN
from tidegate.notify.previews import Preview
from tidegate.platform.attempts import buckets_of, open_attempts
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import WITHIN_10S
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

TRIAL_TOPIC: Final = "message.trial"
MOST: Final = 30
WINDOW_S: Final = 3_600


async def count_trial(settings: Settings, *, person_id: UUID) -> None:
    """Count a trial mail of somebody's. Fails open. Raises: TooManyRequests."""

    def words(seconds: int) -> str:
        return _("Too many trial mails. Try again in %(minutes)s minutes.", minutes=-(-seconds // 60))

    async with open_attempts(settings) as attempts:
        buckets = buckets_of("message-trial", who=str(person_id), address="", most=MOST)
        await attempts.count(buckets, window_s=WINDOW_S, words=words)


async def mail_trial(conn: Connection, shown: Preview, *, email: str) -> EventId:
    """Have a message mailed to an address as it is shown, in the caller's transaction. Raises: InvalidRequest."""
    check_address(email)
    event_id = EventId(new_id())
    payload = {"subject": shown.subject, "text": shown.text, "html": shown.html}
    await write_events(conn, [Event(event_id, TRIAL_TOPIC, payload, {"email": email})])
    return event_id


async def on_trial(database: Database, settings: Settings, event: Event) -> None:
    """Write the delivery of a trial mail, once however often it is called."""
    assert event.personal is not None, "a trial mail has an address"
    address = {"email": event.personal["email"], "name": ""}
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, address_sealed, lane)
            VALUES (%(event)s, %(event)s, 'email', %(template)s, %(variables)s::jsonb, %(address)s, %(lane)s)
            ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
            """,
            {
                "event": event.id,
                "template": WRITTEN,
                "variables": json.dumps(event.payload),
                "address": current_sealer().seal_json(address, column=ADDRESS),
                "lane": WITHIN_10S,
            },
        )

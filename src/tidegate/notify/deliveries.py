"""Deliveries: one row per event, recipient and channel is the truth about a message.

A delivery is claimed under a lease, handed to its channel, and marked. Inbox messages are written and marked in one
transaction: once in effect. A mail whose sender dies between the mail server's answer and the mark is sent again, under
the same Message-ID; SMTP allows no better.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from prometheus_client import Counter
from psycopg.rows import class_row

from tidegate.notify.addresses import ADDRESS
from tidegate.notify.contracts import Channel, MessageUnfit
from tidegate.notify.hints import hint_from_worker
from tidegate.notify.inbox import Note, add_notes
from tidegate.notify.mailing import SECRETS, deliver_mails, message_context
from tidegate.notify.message_texts import current_texts
from tidegate.notify.messages import write_inbox
from tidegate.notify.outcomes import TOO_LATE, Delivery, Draw, Failure, mark_failed, mark_sent, suppress
from tidegate.notify.pacing import Breather
from tidegate.notify.quiet import wait_for_morning
from tidegate.notify.suppressions import withhold
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.outbox import Event
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

BULK_BATCH_S: Final = 4.0
"""Longest that one batch of a send goes on handing over mails: others wait for its worker."""

DOUBTFUL = Counter("tidegate_mails_doubtful", "Mails that were handed over again since nobody knew how it had ended.")


async def on_order_event(database: Database, settings: Settings, event: Event) -> None:
    """Tell the buyer of an event of their order, by mail and in the inbox, once however often it is called.

    The topic names the template: `order.paid` is told with `order_paid`.
    """
    variables = {name: event.payload[name] for name in ("number", "total", "lines", "order_url")}
    variables |= {
        name: event.payload.get(name)
        for name in ("discount", "shipping", "tax", "refund", "cause", "shipment", "locale")
    }
    address = None
    if event.personal is not None and event.personal.get("email"):
        said = {name: event.personal[name] for name in SECRETS if name in event.personal}
        address = current_sealer().seal_json(
            {"email": event.personal["email"], "name": event.personal.get("name", "")} | said, column=ADDRESS
        )
    channels = [Channel.INBOX] if address is None else [Channel.INBOX, Channel.EMAIL]
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, address_sealed)
            SELECT %(event)s, %(recipient)s, channel, %(template)s, %(variables)s::jsonb,
                   CASE WHEN channel = 'email' THEN %(address)s::bytea END
            FROM unnest(%(channels)s::text[]) AS channel
            ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
            """,
            {
                "event": event.id,
                "template": event.topic.replace(".", "_"),
                "recipient": UUID(event.payload["buyer_id"]),
                "variables": json.dumps(variables),
                "address": address,
                "channels": [channel.value for channel in channels],
            },
        )


async def on_account_link(database: Database, settings: Settings, event: Event) -> None:
    """Mail a link of an account, once however often it is called."""
    await _mail_link(database, event, f"account_{event.payload['kind']}", {"minutes": event.payload["minutes"]})


async def on_follow_asked(database: Database, settings: Settings, event: Event) -> None:
    """Mail the link that confirms a follow, once however often it is called."""
    await _mail_link(database, event, "follow_confirm", event.payload)


async def _mail_link(database: Database, event: Event, template: str, variables: dict[str, Any]) -> None:
    """The link is a secret and stays with the address."""
    assert event.personal is not None, "a link belongs to an address"
    address = {"email": event.personal["email"], "name": "", "link": event.personal["link"]}
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, address_sealed)
            VALUES (%(event)s, %(event)s, 'email', %(template)s, %(variables)s::jsonb, %(address)s)
            ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
            """,
            {
                "event": event.id,
                "template": template,
                "variables": json.dumps(variables),
                "address": current_sealer().seal_json(address, column=ADDRESS),
            },
        )


async def deliver_due(
    database: Database,
    settings: Settings,
    *,
    limit: int,
    event_ids: Sequence[EventId] | None = None,
    draw: Draw = random.random,
) -> int:
    """Deliver up to `limit` messages that are due, of these events or of any; returns how many were taken on.

    Ends before the lease does; what is left is due again at once.
    """
    values = {"events": None if event_ids is None else list(event_ids)}
    async with database.connection() as conn:
        claimed = await _claim(conn, settings, whom=ANY_OF_THEM, order="next_attempt_at", limit=limit, values=values)
    within_s = float(settings.mail.lease_s - settings.mail.timeout_s)
    may_wait = [each for each in claimed if each.channel == Channel.EMAIL and "topic_id" in each.variables]
    awake = await wait_for_morning(database, settings, may_wait, draw=draw, expires_at=None)
    asleep = {each.key for each in may_wait} - {each.key for each in awake}
    now = [each for each in claimed if each.key not in asleep]
    await _deliver(database, settings, now, draw=draw, within_s=within_s)
    return len(claimed)


async def deliver_shard(
    database: Database,
    settings: Settings,
    *,
    event_id: EventId,
    shard_no: int,
    draw: Draw = random.random,
    breather: Breather | None = None,
) -> int:
    """Deliver a batch of what is due of an expanded shard; returns how many messages were taken on.

    Of a cancelled send, and of one that does not matter any more, nothing is sent: what waits is suppressed. To whom it
    is quiet now, it is sent later.
    """
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                """
                SELECT h.after_id, h.upto_id, CASE WHEN s.cancelled_at IS NOT NULL THEN 'its send was ended'
                    WHEN s.expires_at <= clock_timestamp() THEN %s END, s.expires_at
                FROM notify.send_shards AS h JOIN notify.sends AS s USING (event_id, topic_id)
                WHERE h.event_id = %s AND h.shard_no = %s AND h.done_at IS NULL AND h.expanded_at IS NOT NULL
                    AND s.paused_at IS NULL
                """,
                (TOO_LATE, event_id, shard_no),
            )
        ).fetchone()
        if row is None:
            return 0
        after, upto, over, expires_at = row
        values = {"event": event_id, "shard": shard_no, "after": after, "upto": upto}
        if over is not None:
            whom = f"{OF_SHARD} AND {IN_NO_HANDS}"
            await suppress(conn, whom=whom, values=values | {"lease_s": settings.mail.lease_s}, reason=over)
            claimed = []
        else:
            claimed = await _claim(
                conn, settings, whom=OF_SHARD, order="recipient_id", limit=settings.mail.batch, values=values
            )
    within_s = min(float(settings.mail.lease_s - settings.mail.timeout_s), BULK_BATCH_S)
    awake = await wait_for_morning(database, settings, claimed, draw=draw, expires_at=expires_at)
    await _deliver(database, settings, awake, draw=draw, within_s=within_s, breather=breather)
    await _look_again(database, values)
    return len(claimed)


async def _look_again(database: Database, values: dict[str, Any]) -> None:
    """A shard is due again when the first of its messages is."""
    async with database.connection() as conn:
        await conn.execute(
            f"""
            UPDATE notify.send_shards AS h SET due_at = (
                SELECT coalesce(min(d.next_attempt_at), clock_timestamp()) FROM notify.deliveries AS d
                WHERE d.state = 'pending' AND {OF_SHARD}
            ) WHERE h.event_id = %(event)s AND h.shard_no = %(shard)s AND h.done_at IS NULL
            """,  # noqa: S608 - a constant
            values,
        )


async def _deliver(
    database: Database,
    settings: Settings,
    claimed: Sequence[Delivery],
    *,
    draw: Draw,
    within_s: float,
    breather: Breather | None = None,
) -> None:
    used_up = [delivery for delivery in claimed if delivery.attempts > settings.mail.max_attempts]
    alive = [delivery for delivery in claimed if delivery.attempts <= settings.mail.max_attempts]
    lost = Failure("its worker died on every attempt", final=True)
    await mark_failed(database, settings, draw, [(delivery, lost) for delivery in used_up])
    inbox = [delivery for delivery in alive if delivery.channel == Channel.INBOX]
    await _deliver_inbox(database, settings, draw, inbox)
    mails = [delivery for delivery in alive if delivery.channel == Channel.EMAIL]
    async with database.connection() as conn:
        mails = await withhold(conn, mails)
    await deliver_mails(database, settings, draw, mails, within_s=within_s, breather=breather)


async def find_overdue(
    conn: Connection, *, limit: int, overdue_s: float, templates: Sequence[str] = (), others: bool = True
) -> list[EventId]:
    """Events with messages to one person that have been due for `overdue_s` seconds: their task was lost, or it is a
    retry.

    Of these templates, or where `others`, of all but these.
    """
    rows = await (
        await conn.execute(
            """
            SELECT DISTINCT event_id FROM (
                SELECT event_id FROM notify.deliveries
                WHERE state = 'pending' AND shard_no IS NULL AND channel <> 'webhook'
                  AND (template = ANY (%s::text[])) <> %s
                  AND next_attempt_at <= clock_timestamp() - make_interval(secs => %s)
                ORDER BY next_attempt_at LIMIT %s
            ) AS overdue
            """,
            (list(templates), others, overdue_s, limit),
        )
    ).fetchall()
    return [EventId(row[0]) for row in rows]


ANY_OF_THEM: Final = """
    d.channel <> 'webhook' AND (%(events)s::uuid[] IS NULL OR d.event_id = ANY (%(events)s::uuid[]))
"""
OF_SHARD: Final = """
    d.event_id = %(event)s AND d.shard_no = %(shard)s AND d.recipient_id > %(after)s AND d.recipient_id <= %(upto)s
"""


IN_NO_HANDS: Final = """NOT (
    d.next_attempt_at > clock_timestamp()
    AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => %(lease_s)s)
)"""
"""What no worker may be sending now: it is due, or waits for longer than a lease."""


async def _claim(
    conn: Connection, settings: Settings, *, whom: str, order: str, limit: int, values: dict[str, Any]
) -> list[Delivery]:
    """Lease due deliveries for which `whom` (SQL about `d`) holds. A send's own words come with each of its mails."""
    async with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            f"""
            WITH due AS MATERIALIZED (
                SELECT d.event_id, d.recipient_id, d.channel FROM notify.deliveries AS d
                WHERE d.state = 'pending' AND d.next_attempt_at <= clock_timestamp() AND {whom}
                ORDER BY d.{order} LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            ), claimed AS (
                UPDATE notify.deliveries d SET attempts = attempts + 1,
                    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
                FROM due WHERE (d.event_id, d.recipient_id, d.channel) = (due.event_id, due.recipient_id, due.channel)
                RETURNING d.*
            ), doubtful AS (
                UPDATE notify.send_shards AS h SET doubtful = h.doubtful + c.mails
                FROM (
                    SELECT event_id, shard_no, count(*) AS mails FROM claimed
                    WHERE provider_id IS NOT NULL AND shard_no IS NOT NULL GROUP BY event_id, shard_no
                ) AS c WHERE (h.event_id, h.shard_no) = (c.event_id, c.shard_no)
            )
            SELECT c.event_id, c.recipient_id, c.channel, c.template,
                coalesce(s.variables || c.variables, c.variables) AS variables, c.address_sealed, c.attempts,
                c.created_at, c.shard_no, c.provider_id
            FROM claimed AS c LEFT JOIN notify.send_shards AS h USING (event_id, shard_no)
                LEFT JOIN notify.sends AS s ON (s.event_id, s.topic_id) = (h.event_id, h.topic_id)
            """,  # noqa: S608 - constants
            values | {"limit": limit, "lease_s": settings.mail.lease_s},
        )
        claimed = await cursor.fetchall()
    DOUBTFUL.inc(sum(delivery.provider_id is not None for delivery in claimed))
    return claimed


async def _deliver_inbox(database: Database, settings: Settings, draw: Draw, deliveries: Sequence[Delivery]) -> None:
    notes: list[Note] = []
    failed: list[tuple[Delivery, Failure]] = []
    written: list[Delivery] = []
    texts = await current_texts(database, settings)
    for delivery in deliveries:
        try:
            context = message_context(settings, delivery, texts)
            words = write_inbox(delivery.template, delivery.variables, context=context)
        except MessageUnfit as error:
            failed.append((delivery, Failure(str(error), final=True)))
            continue
        except Exception as error:  # one broken message must not hold up the others
            failed.append((delivery, Failure(describe_error(error))))
            continue
        notes.append(Note(EventId(delivery.event_id), PersonId(delivery.recipient_id), words))
        written.append(delivery)
    if written:
        async with database.transaction() as conn:
            await add_notes(conn, notes)
            await mark_sent(conn, written)
        await hint_from_worker(settings, people=[note.recipient_id for note in notes])
    await mark_failed(database, settings, draw, failed)

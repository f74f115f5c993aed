"""Deliveries: one row per event, recipient and channel is the truth about a message.

A delivery is claimed under a lease, handed to its channel, and marked. Inbox messages are written and marked in one
transaction: once in effect. A mail whose sender dies between the mail server's answer and the mark is sent again, under
the same Message-ID; SMTP allows no better.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.addresses import ADDRESS
from tidegate.notify.contracts import Channel
from tidegate.notify.follow_links import unsubscribe_link
from tidegate.notify.inbox import Note, add_notes
from tidegate.notify.mail import Mail, MailRefused, MailServer, MailServerAway
from tidegate.notify.messages import MessageContext, write_inbox, write_mail
from tidegate.notify.rules import BadAddress, display_name
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.outbox import Event
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

AWAY_PAUSE_S = 10.0
"""Pause before the mail server is tried again when it could not be reached; costs no attempt."""


Draw = Callable[[], float]
"""A number drawn uniformly from [0, 1)."""

SECRETS = ("link", "address", "billing")
"""What a mail says besides its variables and an inbox does not: it is kept with the recipient's address."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery.

    `address_sealed` holds {"email", "name"} and what only a mail says (`SECRETS`): a secret link, addresses.
    """

    event_id: UUID
    recipient_id: UUID
    channel: str
    template: str
    variables: dict[str, Any]
    address_sealed: bytes | None = field(repr=False)
    attempts: int
    created_at: datetime

    @property
    def key(self) -> tuple[UUID, UUID, str]:
        """The row's key."""
        return (self.event_id, self.recipient_id, self.channel)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a delivery did not happen. `final`: no use in trying again. `counts`: it used up an attempt."""

    reason: str
    final: bool = False
    counts: bool = True


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
    async with database.connection() as conn:
        claimed = await _claim(conn, limit=limit, lease_s=settings.mail.lease_s, event_ids=event_ids)
    used_up = [delivery for delivery in claimed if delivery.attempts > settings.mail.max_attempts]
    alive = [delivery for delivery in claimed if delivery.attempts <= settings.mail.max_attempts]
    await _mark_failed(
        database, settings, draw, [(d, _Failure("its worker died on every attempt", final=True)) for d in used_up]
    )
    await _deliver_inbox(
        database, settings, draw, [delivery for delivery in alive if delivery.channel == Channel.INBOX]
    )
    await _deliver_mails(
        database, settings, draw, [delivery for delivery in alive if delivery.channel == Channel.EMAIL]
    )
    return len(claimed)


async def find_overdue(conn: Connection, *, limit: int, overdue_s: float, bulk: bool = False) -> list[EventId]:
    """Events with deliveries that have been due for `overdue_s` seconds: their task was lost, or it is a retry.

    Messages to many are asked for apart, so that they hide none that one person waits for.
    """
    of_many = "bulk" if bulk else "NOT bulk"
    rows = await (
        await conn.execute(
            f"""
            SELECT DISTINCT event_id FROM (
                SELECT event_id FROM notify.deliveries
                WHERE state = 'pending' AND {of_many}
                  AND next_attempt_at <= clock_timestamp() - make_interval(secs => %s)
                ORDER BY next_attempt_at LIMIT %s
            ) AS overdue
            """,  # noqa: S608 - one of two words
            (overdue_s, limit),
        )
    ).fetchall()
    return [EventId(row[0]) for row in rows]


async def _claim(
    conn: Connection, *, limit: int, lease_s: float, event_ids: Sequence[EventId] | None
) -> list[Delivery]:
    async with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            """
            WITH due AS MATERIALIZED (
                SELECT event_id, recipient_id, channel FROM notify.deliveries
                WHERE state = 'pending' AND next_attempt_at <= clock_timestamp()
                  AND (%(events)s::uuid[] IS NULL OR event_id = ANY (%(events)s::uuid[]))
                ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE notify.deliveries d
            SET attempts = attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
            FROM due WHERE (d.event_id, d.recipient_id, d.channel) = (due.event_id, due.recipient_id, due.channel)
            RETURNING d.event_id, d.recipient_id, d.channel, d.template, d.variables, d.address_sealed, d.attempts,
                      d.created_at
            """,
            {"events": None if event_ids is None else list(event_ids), "limit": limit, "lease_s": lease_s},
        )
        return await cursor.fetchall()


async def _deliver_inbox(database: Database, settings: Settings, draw: Draw, deliveries: Sequence[Delivery]) -> None:
    notes: list[Note] = []
    failed: list[tuple[Delivery, _Failure]] = []
    written: list[Delivery] = []
    for delivery in deliveries:
        try:
            words = write_inbox(delivery.template, delivery.variables, context=_context(settings, delivery))
        except Exception as error:  # one broken message must not hold up the others
            failed.append((delivery, _Failure(describe_error(error))))
            continue
        notes.append(Note(EventId(delivery.event_id), PersonId(delivery.recipient_id), words))
        written.append(delivery)
    if written:
        async with database.transaction() as conn:
            await add_notes(conn, notes)
            await _mark_sent(conn, written, provider_id=None)
    await _mark_failed(database, settings, draw, failed)


async def _deliver_mails(database: Database, settings: Settings, draw: Draw, deliveries: Sequence[Delivery]) -> None:
    if not deliveries:
        return
    give_up_at = time.monotonic() + settings.mail.lease_s - settings.mail.timeout_s
    waiting = list(deliveries)
    away: MailServerAway | None = None
    async with MailServer(settings.mail) as server:
        while waiting and away is None and (time.monotonic() < give_up_at or len(waiting) == len(deliveries)):
            delivery = waiting.pop(0)
            try:
                message_id = await server.send(_mail(delivery, settings))
            except MailServerAway as error:
                waiting.insert(0, delivery)
                away = error
            except Exception as error:  # one broken message must not hold up the others
                await _mark_failed(database, settings, draw, [(delivery, _failure(error))])
            else:
                async with database.connection() as conn:
                    await _mark_sent(conn, [delivery], provider_id=message_id)
    reason = "no time left" if away is None else f"mail server away: {away}"
    await _mark_failed(database, settings, draw, [(delivery, _Failure(reason, counts=False)) for delivery in waiting])


def _mail(delivery: Delivery, settings: Settings) -> Mail:
    address = current_sealer().open_json(bytes(delivery.address_sealed or b""), column=ADDRESS)
    name = display_name(address["name"])
    own = {name: address[name] for name in SECRETS if name in address}
    unsubscribe = ""
    if "topic_id" in delivery.variables:
        topic_id = UUID(delivery.variables["topic_id"])
        unsubscribe = unsubscribe_link(settings.base_url, topic_id=topic_id, email=address["email"])
        own["unsubscribe_url"] = unsubscribe
    return Mail(
        key=f"{delivery.event_id.hex}.{delivery.recipient_id.hex}",
        email=address["email"],
        name=name,
        words=write_mail(delivery.template, delivery.variables | own, name=name, context=_context(settings, delivery)),
        written_at=delivery.created_at,
        unsubscribe_url=unsubscribe,
    )


def _failure(error: Exception) -> _Failure:
    match error:
        case BadAddress():
            return _Failure(str(error), final=True)
        case MailRefused():
            return _Failure(error.reason, final=error.final)
        case _:
            return _Failure(describe_error(error))


def _context(settings: Settings, delivery: Delivery) -> MessageContext:
    """In the locale that the message's variable `locale` names, if the shop offers it; else in the shop's own."""
    wanted = delivery.variables.get("locale")
    locale = wanted if wanted in settings.locales else settings.locale
    return MessageContext(shop_name=settings.shop_name, locale=locale)


async def _mark_sent(conn: Connection, deliveries: Sequence[Delivery], *, provider_id: str | None) -> None:
    await conn.execute(
        """
        UPDATE notify.deliveries d
        SET state = 'sent', sent_at = clock_timestamp(), provider_id = %s, last_error = NULL
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) AS done (event_id, recipient_id, channel)
        WHERE (d.event_id, d.recipient_id, d.channel) = (done.event_id, done.recipient_id, done.channel)
          AND d.state = 'pending'
        """,
        (provider_id, *_columns(deliveries)),
    )


async def _mark_failed(
    database: Database, settings: Settings, draw: Draw, failures: Sequence[tuple[Delivery, _Failure]]
) -> None:
    """Note why; due again after a growing pause, or failed for good."""
    if not failures:
        return
    limits = settings.mail
    final = [why.final or (why.counts and d.attempts >= limits.max_attempts) for d, why in failures]
    pauses = [
        backoff_s(
            failures=d.attempts,
            base_s=settings.jobs.retry_base_s,
            cap_s=settings.jobs.retry_cap_s,
            draw=draw(),
        )
        if why.counts
        else AWAY_PAUSE_S * (0.5 + draw() / 2)
        for d, why in failures
    ]
    async with database.connection() as conn:
        await conn.execute(
            """
            UPDATE notify.deliveries d
            SET state = CASE WHEN failure.final THEN 'failed' ELSE 'pending' END,
                attempts = CASE WHEN failure.counts THEN d.attempts ELSE greatest(d.attempts - 1, 0) END,
                next_attempt_at = clock_timestamp() + make_interval(secs => failure.pause_s),
                last_error = failure.reason
            FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::boolean[], %s::boolean[], %s::float8[], %s::text[])
                AS failure (event_id, recipient_id, channel, final, counts, pause_s, reason)
            WHERE (d.event_id, d.recipient_id, d.channel)
                  = (failure.event_id, failure.recipient_id, failure.channel)
              AND d.state = 'pending'
            """,
            (
                *_columns([delivery for delivery, _ in failures]),
                final,
                [why.counts for _, why in failures],
                pauses,
                [why.reason for _, why in failures],
            ),
        )


def _columns(deliveries: Sequence[Delivery]) -> tuple[list[UUID], list[UUID], list[str]]:
    keys = [delivery.key for delivery in deliveries]
    return [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]

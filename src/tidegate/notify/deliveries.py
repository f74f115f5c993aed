"""Deliveries: one row per event, recipient and channel is the truth about a message.

A delivery is claimed under a lease, handed to its channel, and marked. Inbox messages are written and marked in one
transaction: once in effect. A mail whose sender dies between the mail server's answer and the mark is sent again, under
the same Message-ID; SMTP allows no better.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from prometheus_client import Counter
from psycopg.rows import class_row

from tidegate.notify.adapters import ADAPTERS
from tidegate.notify.addresses import ADDRESS
from tidegate.notify.channels import Adapter
from tidegate.notify.contracts import Channel, MessageUnfit
from tidegate.notify.hints import hint_from_worker
from tidegate.notify.inbox import Note, add_notes
from tidegate.notify.mail_adapter import SECRETS, message_context
from tidegate.notify.mailing import deliver_mails
from tidegate.notify.message_texts import current_texts
from tidegate.notify.messages import write_inbox
from tidegate.notify.outcomes import TOO_LATE, Delivery, Draw, Failure, mark_failed, mark_sent, suppress, suppress_late
from tidegate.notify.pacing import Breather
from tidegate.notify.quiet import wait_for_morning
from tidegate.notify.suppressions import withhold
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.jobs import BULK, RECEIPTS, WITHIN_1M, WITHIN_10S
from tidegate.platform.outbox import Event
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

TURN_S: Final = 4.0
"""Longest that a batch goes on handing over mails, but in the lane `receipts`: others wait for its worker."""

MAILS: Final = {RECEIPTS: (False,), WITHIN_10S: (False,), WITHIN_1M: (False, True), BULK: (True,)}
"""Whether the mails of a lane are bulk; where there are both, in this order."""

DOUBTFUL = Counter("tidegate_mails_doubtful", "Mails that were handed over again since nobody knew how it had ended.")


async def on_order_events(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Tell buyers of events of their orders, by mail and in the inbox, once however often it is called.

    The topic names the template: `order.paid` is told with `order_paid`.
    """
    rows = []
    for event in events:
        variables = {name: event.payload[name] for name in ("number", "total", "lines", "order_url")}
        variables |= {
            name: event.payload.get(name)
            for name in ("discount", "shipping", "tax", "refund", "cause", "shipment", "locale")
        }
        whom = UUID(event.payload["buyer_id"])
        row = _Row(event.id, whom, Channel.INBOX, event.topic.replace(".", "_"), json.dumps(variables), None)
        rows.append(row)
        if event.personal is not None and event.personal.get("email"):
            said = {name: event.personal[name] for name in SECRETS if name in event.personal}
            address = {"email": event.personal["email"], "name": event.personal.get("name", "")} | said
            rows.append(replace(row, channel=Channel.EMAIL, address=_sealed(address)))
    await _write(database, rows, lane=RECEIPTS)


async def on_account_links(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Mail links of accounts, once however often it is called."""
    await _write(
        database,
        [_link(event, f"account_{event.payload['kind']}", {"minutes": event.payload["minutes"]}) for event in events],
        lane=WITHIN_10S,
    )


async def on_follows_asked(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Mail the links that confirm follows, once however often it is called."""
    await _write(database, [_link(event, "follow_confirm", event.payload) for event in events], lane=WITHIN_10S)


@dataclass(frozen=True, slots=True)
class _Row:
    """A delivery to be written."""

    event_id: EventId
    recipient_id: UUID
    channel: Channel
    template: str
    variables: str
    address: bytes | None


def _link(event: Event, template: str, variables: dict[str, Any]) -> _Row:
    """The link is a secret and stays with the address."""
    assert event.personal is not None, "a link belongs to an address"
    address = {"email": event.personal["email"], "name": "", "link": event.personal["link"]}
    return _Row(event.id, event.id, Channel.EMAIL, template, json.dumps(variables), _sealed(address))


def _sealed(address: dict[str, Any]) -> bytes:
    return current_sealer().seal_json(address, column=ADDRESS)


async def _write(database: Database, rows: Sequence[_Row], *, lane: str) -> None:
    """In one order: two workers with the same events wait for each other, never both ways."""
    rows = sorted(rows, key=lambda row: (row.event_id, row.channel))
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, address_sealed, lane)
            SELECT event_id, recipient_id, channel, template, variables::jsonb, address, %s
            FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::bytea[])
                AS row (event_id, recipient_id, channel, template, variables, address)
            ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
            """,
            (
                lane,
                [row.event_id for row in rows],
                [row.recipient_id for row in rows],
                [row.channel.value for row in rows],
                [row.template for row in rows],
                [row.variables for row in rows],
                [row.address for row in rows],
            ),
        )


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many messages were taken on. `more`: the turn was over before all that is due was."""

    taken: int
    more: bool


async def deliver_due(
    database: Database,
    settings: Settings,
    *,
    limit: int,
    event_ids: Sequence[EventId] | None = None,
    lane: str = WITHIN_1M,
    draw: Draw = random.random,
    breather: Breather | None = None,
) -> Delivered:
    """Deliver up to `limit` messages that are due, of these events or of any, in the turn that a lane's tasks have.

    Inboxes do not wait for a mail server. It ends before the lease does. What is bulk takes nothing of the quota that
    is kept for what people wait for.
    """
    begun_s = time.monotonic()
    within_s = float(settings.mail.lease_s - settings.mail.timeout_s)
    values = {"events": None if event_ids is None else list(event_ids)}

    def batch(channels: str, left: int, *, ending: str = "", channel: str = "") -> Batch:
        whom = f"{ANY_OF_THEM} AND {NOT_STOPPED} AND {channels}"
        wanted = values | {"channel": channel, "ending": ending}
        claim = partial(_claim, settings=settings, whom=whom, order="next_attempt_at", values=wanted)
        return Batch(database, settings, draw, claim, left, sift=awake)

    async def awake(conn: Connection, claimed: list[Delivery]) -> list[Delivery]:
        claimed = await suppress_late(conn, claimed)
        may_wait = [each for each in claimed if each.channel != Channel.INBOX and "topic_id" in each.variables]
        kept = await wait_for_morning(conn, settings, may_wait, draw=draw)
        asleep = {each.key for each in may_wait} - {each.key for each in kept}
        return [each for each in claimed if each.key not in asleep]

    inboxes = batch("d.channel = 'inbox'", limit)
    await inboxes.take(limit)
    taken, more = inboxes.taken, False
    for bulk, adapter in [(bulk, adapter) for bulk in MAILS[lane] for adapter in ADAPTERS.values()]:
        which = f"d.channel = %(channel)s AND d.bulk = {bulk}"
        mails = batch(which, limit - taken, ending=adapter.id_ending(settings), channel=adapter.channel)
        left_s = (within_s if lane == RECEIPTS else min(within_s, TURN_S)) - (time.monotonic() - begun_s)
        wait_s = await deliver_mails(
            database, settings, draw, mails, within_s=left_s, urgent=not bulk, breather=breather, adapter=adapter
        )
        taken += mails.taken
        more = more or (mails.taken > 0 and not mails.done and not wait_s)
    return Delivered(taken, more)


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
    within_s = min(float(settings.mail.lease_s - settings.mail.timeout_s), TURN_S)
    begun_s, taken = time.monotonic(), 0
    values: dict[str, Any] = {}
    waits_s: list[float] = []
    for adapter in ADAPTERS.values():
        shard = _Shard(settings, draw, event_id, shard_no, adapter)
        batch = Batch(database, settings, draw, shard.claim, settings.mail.batch - taken, sift=shard.awake)
        left_s = within_s - (time.monotonic() - begun_s)
        wait_s = await deliver_mails(
            database, settings, draw, batch, within_s=left_s, urgent=False, breather=breather, adapter=adapter
        )
        taken += batch.taken
        if shard.values is not None:
            values = shard.values
        if wait_s or not batch.done:
            waits_s.append(wait_s)
    if values:
        await _look_again(database, values, wait_s=min(waits_s, default=0.0))
    return taken


class _Shard:
    """What a channel is to send of a shard, from one claim to the next.

    `values` are its bounds once it is known to be at work.
    """

    def __init__(self, settings: Settings, draw: Draw, event_id: EventId, shard_no: int, adapter: Adapter) -> None:
        self._adapter = adapter
        self.values: dict[str, Any] | None = None
        self._settings = settings
        self._draw = draw
        self._event_id = event_id
        self._shard_no = shard_no
        self._beyond: UUID | None = None
        self._expires_at: datetime | None = None

    async def claim(self, conn: Connection, *, limit: int) -> list[Delivery]:
        """The next ones. Whether the send was paused or ended meanwhile is looked at each time."""
        if self.values is None:
            self.values = await self._begin(conn)
        if self.values is None:
            return []
        values = self.values | {"after": self._beyond or self.values["after"]}
        whom = f"{OF_SHARD} AND {GOING_ON} AND d.channel IN (%(channel)s, 'inbox')"
        claimed = await _claim(
            conn, settings=self._settings, whom=whom, order="recipient_id", limit=limit, values=values
        )
        self._beyond = max((each.recipient_id for each in claimed), default=self._beyond)
        return claimed

    async def _begin(self, conn: Connection) -> dict[str, Any] | None:
        """The shard's bounds, unless it is done or waits; of a send that is over, what waits is suppressed."""
        row = await (
            await conn.execute(
                """
                SELECT h.after_id, h.upto_id, CASE WHEN s.cancelled_at IS NOT NULL THEN 'its send was ended'
                    WHEN s.expires_at <= clock_timestamp() THEN %s END, s.expires_at
                FROM notify.send_shards AS h JOIN notify.sends AS s USING (event_id, topic_id)
                WHERE h.event_id = %s AND h.shard_no = %s AND h.done_at IS NULL AND h.expanded_at IS NOT NULL
                    AND s.paused_at IS NULL
                """,
                (TOO_LATE, self._event_id, self._shard_no),
            )
        ).fetchone()
        if row is None:
            return None
        after, upto, over, self._expires_at = row
        values = {"event": self._event_id, "shard": self._shard_no, "after": after, "upto": upto}
        values |= {"channel": self._adapter.channel, "ending": self._adapter.id_ending(self._settings)}
        if over is not None:
            whom = f"{OF_SHARD} AND {IN_NO_HANDS}"
            await suppress(conn, whom=whom, values=values | {"lease_s": self._settings.mail.lease_s}, reason=over)
        return values

    async def awake(self, conn: Connection, claimed: list[Delivery]) -> list[Delivery]:
        """Those to whom it is not quiet now."""
        return await wait_for_morning(conn, self._settings, claimed, draw=self._draw, expires_at=self._expires_at)


async def _look_again(database: Database, values: dict[str, Any], *, wait_s: float) -> None:
    """A shard is due again when the first of its messages is, and not before `wait_s` seconds are over."""
    async with database.connection() as conn:
        await conn.execute(
            f"""
            UPDATE notify.send_shards AS h SET due_at = greatest((
                SELECT coalesce(min(d.next_attempt_at), clock_timestamp()) FROM notify.deliveries AS d
                WHERE d.state = 'pending' AND {OF_SHARD}
            ), clock_timestamp() + make_interval(secs => %(wait_s)s))
            WHERE h.event_id = %(event)s AND h.shard_no = %(shard)s AND h.done_at IS NULL
            """,  # noqa: S608 - a constant
            values | {"wait_s": wait_s},
        )


Claim = Callable[..., Awaitable[list[Delivery]]]
"""Claims up to `limit` messages on a connection."""

Sift = Callable[[Connection, list[Delivery]], Awaitable[list[Delivery]]]
"""Puts back what must not be sent now, and returns the rest."""


class Batch:
    """Up to `left` messages, claimed a few at a time; `taken` of them so far."""

    def __init__(
        self, database: Database, settings: Settings, draw: Draw, claim: Claim, left: int, *, sift: Sift
    ) -> None:
        self.taken = 0
        self.done = False
        self._database = database
        self._settings = settings
        self._draw = draw
        self._claim = claim
        self._sift = sift
        self._left = left

    async def take(self, most: int) -> list[Delivery]:
        """Claim messages; what is for an inbox is put there, and mails are returned."""
        limit = min(most, self._left)
        async with self._database.connection() as conn:
            claimed = await self._claim(conn, limit=limit) if limit else []
            wanted = await withhold(conn, await self._sift(conn, claimed)) if claimed else []
        self.taken += len(claimed)
        self._left -= len(claimed)
        self.done = len(claimed) < limit or not self._left
        return await self._sorted_out(wanted) if wanted else []

    async def _sorted_out(self, claimed: Sequence[Delivery]) -> list[Delivery]:
        most = self._settings.mail.max_attempts
        lost = Failure("its worker died on every attempt", final=True)
        used_up = [(each, lost) for each in claimed if each.attempts > most]
        alive = [each for each in claimed if each.attempts <= most]
        await mark_failed(self._database, self._settings, self._draw, used_up)
        inbox = [each for each in alive if each.channel == Channel.INBOX]
        await _deliver_inbox(self._database, self._settings, self._draw, inbox)
        return [each for each in alive if each.channel != Channel.INBOX]


@dataclass(frozen=True, slots=True)
class Look:
    """For how many messages of a lane is looked, and for how many seconds they must have been due."""

    limit: int
    overdue_s: float


async def find_overdue(conn: Connection, looks: Mapping[str, Look]) -> dict[str, list[EventId]]:
    """Events with messages to single people that have been due for long, by lane.

    Their task was lost, or it is a retry. What is due later is not read: the index takes a time that stands still.
    """
    rows = await conn.execute(
        """
        SELECT look.lane, overdue.event_id
        FROM unnest(%s::text[], %s::integer[], %s::float8[]) AS look (lane, most, overdue_s), LATERAL (
            SELECT DISTINCT event_id FROM (
                SELECT event_id FROM notify.deliveries
                WHERE state = 'pending' AND shard_no IS NULL AND channel <> 'webhook'
                  AND coalesce(lane, 'within_1m') = look.lane
                  AND next_attempt_at <= statement_timestamp() - make_interval(secs => look.overdue_s)
                ORDER BY next_attempt_at LIMIT look.most
            ) AS late
        ) AS overdue
        """,
        (list(looks), [look.limit for look in looks.values()], [look.overdue_s for look in looks.values()]),
    )
    found: dict[str, list[EventId]] = {lane: [] for lane in looks}
    for lane, event_id in await rows.fetchall():
        found[lane].append(EventId(event_id))
    return found


ANY_OF_THEM: Final = """
    d.channel <> 'webhook' AND (%(events)s::uuid[] IS NULL OR d.event_id = ANY (%(events)s::uuid[]))
"""
NOT_STOPPED: Final = """NOT EXISTS (
    SELECT FROM notify.send_shards AS h JOIN notify.sends AS s USING (event_id, topic_id)
    WHERE h.event_id = d.event_id AND h.shard_no = d.shard_no
        AND (s.paused_at IS NOT NULL OR s.cancelled_at IS NOT NULL)
)"""
GOING_ON: Final = """EXISTS (
    SELECT FROM notify.send_shards AS h JOIN notify.sends AS s USING (event_id, topic_id)
    WHERE h.event_id = %(event)s AND h.shard_no = %(shard)s AND s.paused_at IS NULL AND s.cancelled_at IS NULL
        AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
)"""
"""Of the shard that is worked on."""

OF_SHARD: Final = """
    d.event_id = %(event)s AND d.shard_no = %(shard)s AND d.recipient_id > %(after)s AND d.recipient_id <= %(upto)s
"""


IN_NO_HANDS: Final = """NOT (
    d.next_attempt_at > clock_timestamp()
    AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => %(lease_s)s)
)"""
"""What no worker may be sending now: it is due, or waits for longer than a lease."""


async def _claim(
    conn: Connection, *, settings: Settings, whom: str, order: str, limit: int, values: dict[str, Any]
) -> list[Delivery]:
    """Lease due deliveries for which `whom` (SQL about `d`) holds. A send's own words come with each of its mails.

    A message gets the id that it is about to be handed over under: whoever claims it again knows that it may have been.
    """
    async with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            f"""
            WITH due AS MATERIALIZED (
                SELECT d.event_id, d.recipient_id, d.channel, d.provider_id FROM notify.deliveries AS d
                WHERE d.state = 'pending' AND d.next_attempt_at <= clock_timestamp() AND {whom}
                ORDER BY d.{order} LIMIT %(limit)s FOR UPDATE OF d SKIP LOCKED
            ), claimed AS (
                UPDATE notify.deliveries d SET attempts = attempts + 1,
                    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
                    provider_id = CASE WHEN d.channel <> 'inbox' THEN concat(
                        '<', replace(d.event_id::text, '-', ''), '.', replace(d.recipient_id::text, '-', ''),
                        %(ending)s::text
                    ) END
                FROM due WHERE (d.event_id, d.recipient_id, d.channel) = (due.event_id, due.recipient_id, due.channel)
                RETURNING d.event_id, d.recipient_id, d.channel, d.template, d.variables, d.words_sealed,
                    d.address_sealed, d.attempts, d.created_at, d.shard_no, due.provider_id
            ), doubtful AS (
                UPDATE notify.send_shards AS h SET doubtful = h.doubtful + c.mails
                FROM (
                    SELECT event_id, shard_no, count(*) AS mails FROM claimed
                    WHERE provider_id IS NOT NULL AND shard_no IS NOT NULL GROUP BY event_id, shard_no
                ) AS c WHERE (h.event_id, h.shard_no) = (c.event_id, c.shard_no)
            )
            SELECT c.event_id, c.recipient_id, c.channel, c.template,
                coalesce(s.variables || c.variables, c.variables) AS variables,
                coalesce(c.words_sealed, s.words_sealed) AS words_sealed, c.address_sealed, c.attempts, c.created_at,
                c.shard_no, c.provider_id
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
            words = write_inbox(delivery.template, delivery.said, context=context)
        except MessageUnfit as error:
            failed.append((delivery, Failure(str(error), final=True)))
            continue
        except Exception as error:  # one broken message must not hold up the others
            failed.append((delivery, Failure(describe_error(error))))
            continue
        sealed = delivery.words_sealed is not None
        notes.append(Note(EventId(delivery.event_id), PersonId(delivery.recipient_id), words, sealed=sealed))
        written.append(delivery)
    if written:
        async with database.transaction() as conn:
            await add_notes(conn, notes)
            await mark_sent(conn, written)
        await hint_from_worker(settings, people=[note.recipient_id for note in notes])
    await mark_failed(database, settings, draw, failed)

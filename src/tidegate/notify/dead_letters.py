"""Dead letters: messages that failed for good. They are read, sent again, or dropped: by staff all of them, by an
application those of its own events and endpoints.

What is sent again goes back to where it waits, and its send with it: the counts of a send close at every moment, as
delivered + failed + suppressed + waiting = messages. What is dropped counts as suppressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.addresses import ADDRESS
from tidegate.notify.own_events import DELIVER_TOPIC
from tidegate.notify.sealed_words import open_words
from tidegate.notify.sends import SEND_TOPIC
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.problems import NotFound, Problem
from tidegate.platform.sealing import SealBroken, current_sealer
from tidegate.platform.texts import text as _

AT_ONCE: Final = 5_000
"""Most messages that one call sends again or drops."""
HANDED_OUT: Final = 100
"""Of how many events what is sent again is handed out at once; the sweeper finds the rest within seconds."""
DROPPED: Final = "dropped by staff"
BEHIND_ALL: Final = UUID(int=2**128 - 1)


class Road(StrEnum):
    """By which channel a message was to go: to people, or to a program."""

    EMAIL = "email"
    INBOX = "inbox"
    WEBHOOK = "webhook"


class NotReplayable(Problem):
    """This message cannot be sent again: its send is over for long, or its endpoint is disabled."""

    slug = "not-replayable"
    status = 409


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that failed. `about` is what its send tells of, or its order's number, or nothing; times in UTC.

    `template` names its words, or a webhook's kind. `in_send` says that it was one of many; `topic_id` is that send's
    topic, None where the send is no longer kept.
    """

    event_id: EventId
    recipient_id: UUID
    channel: Road
    template: str
    about: str
    in_send: bool
    topic_id: UUID | None
    attempts: int
    status_code: int | None
    error: str
    created_at: datetime

    @property
    def place(self) -> tuple[EventId, UUID, str]:
        """Where it stands in the list."""
        return self.event_id, self.recipient_id, self.channel


OF_APPLICATION: Final = """(
    %(application)s::uuid IS NULL OR CASE WHEN d.channel = 'webhook'
        THEN EXISTS (
            SELECT FROM notify.webhook_endpoints AS e
            WHERE e.endpoint_id = d.recipient_id AND e.application_id = %(application)s
        ) ELSE EXISTS (
            SELECT FROM notify.events AS v WHERE v.event_id = d.event_id AND v.application_id = %(application)s
        ) END
)"""
"""Of which an application may know."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which dead letters are meant: those that fit all that is said here, so that nothing said is all of them."""

    channel: Road | None = None
    template: str = ""
    event_id: EventId | None = None
    application_id: UUID | None = None

    @property
    def clause(self) -> str:
        """As a condition on a delivery `d`, with `values`."""
        said = {"event_id": self.event_id, "template": self.template, "channel": self.channel}
        return " AND ".join([*(f"d.{name} = %(only_{name})s" for name, value in said.items() if value), OF_APPLICATION])

    @property
    def values(self) -> dict[str, Any]:
        """What the clause asks for."""
        return {
            "only_event_id": self.event_id,
            "only_template": self.template,
            "only_channel": self.channel,
            "application": self.application_id,
        }


@dataclass(frozen=True, slots=True)
class OpenedLetter:
    """A dead letter with what it was to say and to whom. `email` is empty where it is no mail, or sealed for good."""

    letter: DeadLetter
    variables: dict[str, Any]
    email: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many messages wait again; whether there may be more of them."""

    count: int
    more: bool


COLUMNS: Final = """
    d.event_id, d.recipient_id, d.channel, d.template, d.shard_no IS NOT NULL AS in_send, d.attempts, d.status_code,
    coalesce(d.last_error, '') AS error, d.created_at, d.shard_no, d.variables ->> 'number' AS number
"""

NEWEST: Final = f"""
SELECT d.event_id, d.recipient_id, d.channel, d.template,
    coalesce(s.variables ->> 'title', s.variables ->> 'topic_title', d.number, '') AS about,
    d.in_send, s.topic_id, d.attempts, d.status_code, d.error, d.created_at
FROM unnest(%(channels)s::text[]) AS asked (channel), LATERAL (
    SELECT {COLUMNS} FROM notify.deliveries AS d
    WHERE d.state = 'failed' AND d.channel = asked.channel AND {{which}}
        AND (d.event_id, d.recipient_id) <= (%(event)s, %(recipient)s)
        AND (d.event_id, d.recipient_id, d.channel) < (%(event)s, %(recipient)s, %(channel)s)
    ORDER BY d.event_id DESC, d.recipient_id DESC LIMIT %(limit)s
) AS d LEFT JOIN notify.send_shards AS h ON (h.event_id, h.shard_no) = (d.event_id, d.shard_no)
    LEFT JOIN notify.sends AS s ON (s.event_id, s.topic_id) = (h.event_id, h.topic_id)
ORDER BY d.event_id DESC, d.recipient_id DESC, d.channel DESC LIMIT %(limit)s
"""  # noqa: S608 - constants

REPLAYABLE: Final = """(d.shard_no IS NULL OR EXISTS (
    SELECT FROM notify.send_shards AS h WHERE (h.event_id, h.shard_no) = (d.event_id, d.shard_no)
)) AND (d.channel <> 'webhook' OR EXISTS (
    SELECT FROM notify.webhook_endpoints AS e WHERE e.endpoint_id = d.recipient_id AND e.state = 'active'
))"""
"""Of a dead letter `d`: whether somebody could send it."""

OLDEST: Final = """
SELECT d.event_id, d.recipient_id, d.channel, d.shard_no FROM notify.deliveries AS d
WHERE d.state = 'failed' AND {which} ORDER BY d.event_id, d.recipient_id, d.channel LIMIT %(limit)s
"""

REPLAY: Final = f"""
WITH dead AS MATERIALIZED (
    {OLDEST} FOR UPDATE
), replayed AS (
    UPDATE notify.deliveries AS d
    SET state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), provider_id = NULL
    FROM dead WHERE (d.event_id, d.recipient_id, d.channel) = (dead.event_id, dead.recipient_id, dead.channel)
    RETURNING d.event_id, d.shard_no, d.channel
), reopened AS (
    UPDATE notify.send_shards AS h
    SET failed = h.failed - c.messages, done_at = NULL, due_at = clock_timestamp()
    FROM (SELECT event_id, shard_no, count(*) AS messages FROM replayed GROUP BY event_id, shard_no) AS c
    WHERE (h.event_id, h.shard_no) = (c.event_id, c.shard_no)
    RETURNING h.event_id, h.topic_id
), running AS (
    UPDATE notify.sends AS s SET finished_at = NULL
    FROM (SELECT DISTINCT event_id, topic_id FROM reopened) AS r
    WHERE (s.event_id, s.topic_id) = (r.event_id, r.topic_id)
)
SELECT event_id, shard_no IS NOT NULL, channel = 'webhook', count(*) FROM replayed
GROUP BY event_id, shard_no IS NOT NULL, channel = 'webhook'
"""  # noqa: S608 - constants

DROP: Final = f"""
WITH dead AS MATERIALIZED (
    {OLDEST} FOR UPDATE
), dropped AS (
    UPDATE notify.deliveries AS d SET state = 'suppressed', last_error = %(reason)s
    FROM dead WHERE (d.event_id, d.recipient_id, d.channel) = (dead.event_id, dead.recipient_id, dead.channel)
), counted AS (
    UPDATE notify.send_shards AS h SET failed = h.failed - c.messages, suppressed = h.suppressed + c.messages
    FROM (SELECT event_id, shard_no, count(*) AS messages FROM dead GROUP BY event_id, shard_no) AS c
    WHERE (h.event_id, h.shard_no) = (c.event_id, c.shard_no)
)
SELECT count(*) FROM dead
"""  # noqa: S608 - constants

ONE: Final = "d.event_id = %(event)s AND d.recipient_id = %(recipient)s AND d.channel = %(channel)s"


async def list_dead_letters(
    conn: Connection,
    *,
    limit: int,
    channel: Road | None = None,
    template: str = "",
    event_id: EventId | None = None,
    before: tuple[EventId, UUID, str] | None = None,
    application_id: UUID | None = None,
) -> list[DeadLetter]:
    """Dead letters, those of the newest events first, at most `limit`; of a channel, kind, event, application if asked.

    `before` is the place of the last one seen.
    """
    event, recipient, last_channel = before or (BEHIND_ALL, BEHIND_ALL, "~")
    which = Which(template=template, event_id=event_id, application_id=application_id)
    async with conn.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            NEWEST.format(which=which.clause),
            which.values
            | {
                "channels": [each.value for each in Road] if channel is None else [channel.value],
                "event": event,
                "recipient": recipient,
                "channel": last_channel,
                "limit": limit,
            },
        )
        return [row.letter for row in await cursor.fetchall()]


async def count_dead_letters(conn: Connection, *, which: Which, most: int) -> int:
    """How many there are, counted up to `most`."""
    found = await conn.execute(
        f"SELECT count(*) FROM (SELECT FROM notify.deliveries AS d WHERE d.state = 'failed' AND {which.clause}"  # noqa: S608
        " LIMIT %(most)s) AS dead",
        which.values | {"most": most},
    )
    row = await found.fetchone()
    assert row is not None
    return int(row[0])


async def open_dead_letter(
    conn: Connection, *, event_id: EventId, recipient_id: UUID, channel: Road, application_id: UUID | None = None
) -> OpenedLetter:
    """One dead letter, with the address that it was for. Raises: NotFound."""
    place = (event_id, recipient_id, f"{channel.value}~")
    letters = await list_dead_letters(
        conn, limit=1, channel=channel, event_id=event_id, before=place, application_id=application_id
    )
    if not letters or letters[0].recipient_id != recipient_id:
        raise NotFound()
    row = await (
        await conn.execute(
            f"""
            SELECT coalesce(s.variables, '{{}}') || d.variables, d.address_sealed, d.words_sealed
            FROM notify.deliveries AS d LEFT JOIN notify.send_shards AS h USING (event_id, shard_no)
                LEFT JOIN notify.sends AS s ON (s.event_id, s.topic_id) = (h.event_id, h.topic_id)
            WHERE {ONE}
            """,  # noqa: S608 - a constant
            {"event": event_id, "recipient": recipient_id, "channel": channel.value},
        )
    ).fetchone()
    assert row is not None
    return OpenedLetter(letters[0], row[0] | _words(row[2]), "" if row[1] is None else _email(bytes(row[1])))


async def replay_dead_letter(
    conn: Connection, *, event_id: EventId, recipient_id: UUID, channel: Road, application_id: UUID | None = None
) -> bool:
    """Have one sent again, in the caller's transaction. One that waits already, or was sent, stays as it is: False.

    Raises: NotFound; NotReplayable when nobody could send it.
    """
    key = {"event": event_id, "recipient": recipient_id, "channel": channel.value, "application": application_id}
    await _check_whose(conn, key)
    await _lock_sends(conn, [event_id])
    if await _replay(conn, which=ONE, values=key, limit=1):
        return True
    row = await (
        await conn.execute(f"SELECT d.state FROM notify.deliveries AS d WHERE {ONE}", key)  # noqa: S608 - a constant
    ).fetchone()
    assert row is not None, "it was there in this transaction"
    if row[0] == "failed":
        raise NotReplayable(
            _("It cannot be sent again: its endpoint is disabled, or the message that it was part of is over for long.")
        )
    return False


async def replay_event(
    conn: Connection, *, event_id: EventId, limit: int = AT_ONCE, application_id: UUID | None = None
) -> Replayed:
    """Have all dead letters of an event sent again, `limit` at a time, in the caller's transaction."""
    return await replay_dead_letters(conn, which=Which(event_id=event_id, application_id=application_id), limit=limit)


async def replay_dead_letters(conn: Connection, *, which: Which, limit: int = AT_ONCE) -> Replayed:
    """Have all that are meant sent again, the oldest first, `limit` at a time, in the caller's transaction.

    What nobody could send stays where it is.
    """
    clause, values = await _locked(conn, f"{which.clause} AND {REPLAYABLE}", which.values, limit)
    count = await _replay(conn, which=clause, values=values, limit=limit)
    return Replayed(count, count == limit)


async def drop_dead_letters(conn: Connection, *, which: Which, limit: int = AT_ONCE) -> int:
    """Give up all that are meant, the oldest first, `limit` at a time, in the caller's transaction; how many."""
    clause, values = await _locked(conn, which.clause, which.values, limit)
    return await _drop(conn, which=clause, values=values, limit=limit)


async def replay_endpoint(
    conn: Connection, *, endpoint_id: UUID, limit: int = AT_ONCE, application_id: UUID | None = None
) -> Replayed:
    """Have all dead letters of an endpoint sent again, `limit` at a time, in the caller's transaction."""
    which = f"d.channel = 'webhook' AND d.recipient_id = %(endpoint)s AND {OF_APPLICATION}"
    values = {"endpoint": endpoint_id, "application": application_id}
    count = await _replay(conn, which=which, values=values, limit=limit)
    return Replayed(count, count == limit)


async def drop_dead_letter(
    conn: Connection, *, event_id: EventId, recipient_id: UUID, channel: Road, application_id: UUID | None = None
) -> None:
    """Give one up, in the caller's transaction. Doing it again changes nothing. Raises: NotFound."""
    key = {"event": event_id, "recipient": recipient_id, "channel": channel.value, "application": application_id}
    await _check_whose(conn, key)
    await _lock_sends(conn, [event_id])
    await _drop(conn, which=ONE, values=key, limit=1)


@dataclass(frozen=True, slots=True)
class _Row:
    event_id: UUID
    recipient_id: UUID
    channel: str
    template: str
    about: str
    in_send: bool
    topic_id: UUID | None
    attempts: int
    status_code: int | None
    error: str
    created_at: datetime

    @property
    def letter(self) -> DeadLetter:
        return DeadLetter(
            event_id=EventId(self.event_id),
            recipient_id=self.recipient_id,
            channel=Road(self.channel),
            template=self.template,
            about=self.about,
            in_send=self.in_send,
            topic_id=self.topic_id,
            attempts=self.attempts,
            status_code=self.status_code,
            error=self.error,
            created_at=self.created_at,
        )


async def _check_whose(conn: Connection, key: dict[str, Any]) -> None:
    """Raises: NotFound for what was never to be sent, or is not of the application that asks."""
    found = await conn.execute(f"SELECT FROM notify.deliveries AS d WHERE {ONE} AND {OF_APPLICATION}", key)
    if await found.fetchone() is None:
        raise NotFound()


async def _lock_sends(conn: Connection, event_ids: Sequence[EventId]) -> None:
    """Before their shards: whoever steers a send locks in the same order."""
    await conn.execute(
        "SELECT FROM notify.sends WHERE event_id = ANY (%s) ORDER BY event_id, topic_id FOR UPDATE", (list(event_ids),)
    )


async def _locked(conn: Connection, which: str, values: dict[str, Any], limit: int) -> tuple[str, dict[str, Any]]:
    """Lock the sends of the first `limit`; the condition and its values, kept to what is locked."""
    rows = await (await conn.execute(OLDEST.format(which=which), values | {"limit": limit})).fetchall()
    event_ids = sorted({EventId(row[0]) for row in rows})
    await _lock_sends(conn, event_ids)
    return f"{which} AND d.event_id = ANY (%(locked)s)", values | {"locked": event_ids}


async def _replay(conn: Connection, *, which: str, values: dict[str, Any], limit: int) -> int:
    """How many; once this is committed, they are handed out at once."""
    clause = f"{which} AND {REPLAYABLE}"
    rows = await (await conn.execute(REPLAY.format(which=clause), values | {"limit": limit})).fetchall()
    topics = {
        (event_id, SEND_TOPIC if of_send else DELIVER_TOPIC)
        for event_id, of_send, by_webhook, _ in rows
        if not by_webhook
    }
    await write_events(
        conn,
        [
            Event(EventId(new_id()), topic, {"event_id": str(event_id)})
            for event_id, topic in sorted(topics)[:HANDED_OUT]
        ],
    )
    return sum(count for *_, count in rows)


async def _drop(conn: Connection, *, which: str, values: dict[str, Any], limit: int) -> int:
    row = await (await conn.execute(DROP.format(which=which), values | {"limit": limit, "reason": DROPPED})).fetchone()
    assert row is not None
    return int(row[0])


def _words(sealed: bytes | None) -> dict[str, Any]:
    try:
        return open_words(sealed)
    except SealBroken:
        return {}


def _email(sealed: bytes) -> str:
    try:
        return str(current_sealer().open_json(sealed, column=ADDRESS).get("email", ""))
    except SealBroken:
        return ""

"""What applications ask to have told: to recipients that they name, or to the followers of a topic of theirs.

Both end in deliveries. A topic's followers are told by a send, in shards; named recipients get their deliveries in the
request's own transaction. The event is written with what it begins, under the request's key, so that a request that is
repeated begins nothing again and is answered the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from tidegate.notify.contracts import Channel
from tidegate.notify.fields import wrong_fields
from tidegate.notify.outcomes import EXPIRES
from tidegate.notify.own_topics import OwnTopic, find_own_topic, waiting
from tidegate.notify.sealed_words import seal_words
from tidegate.notify.sends import begin_send
from tidegate.notify.wording import Urgency, check_variables
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import BULK, WITHIN_1M, WITHIN_10S
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.problems import KeyReused, NotFound
from tidegate.platform.sealing import current_sealer
from tidegate.platform.texts import text as _

DELIVER_TOPIC: Final = "notify.deliver"
"""Outbox event: hand out the deliveries to single people of an event, in their lanes."""

MOST_RECIPIENTS: Final = 1_000
"""Most recipients that one event names."""

FEW: Final = 100
"""Messages to so many recipients at most that somebody waits for go by the fastest lane."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an application asks for. `recipients` are its own ids or ours; a topic by its key."""

    urgency: Urgency
    template: str
    variables: Mapping[str, Any]
    channels: tuple[Channel, ...]
    topic: str = ""
    recipients: tuple[str, ...] = field(default=())
    expires_at: datetime | None = None
    """When it does not matter any more: what is not sent by then is suppressed."""

    @property
    def digest(self) -> bytes:
        """Says whether two requests ask for the same; keyed, since who has it could try out what was said."""
        return current_sealer().fingerprint(self.plain_digest.hex(), column="notify.events.request_hash")

    @property
    def plain_digest(self) -> bytes:
        """The digest of events that were taken before words were sealed."""
        said: tuple[Any, ...] = (
            self.urgency.value, self.template, dict(self.variables), [each.value for each in self.channels],
            self.topic, list(self.recipients),
        )  # fmt: skip
        if self.expires_at is not None:
            said = (*said, self.expires_at.astimezone(UTC).isoformat())
        return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).digest()


class Taken(msgspec.Struct, frozen=True):
    """What was begun: `topic_id` where it is a send, `recipients` and `unknown` where they were named."""

    id: UUID
    urgency: Urgency
    topic_id: UUID | None
    recipients: int | None
    unknown: list[str]


async def take_event(
    conn: Connection, *, application_id: UUID, request_key: str, asked: Asked, bulk_from: int
) -> Taken:
    """Begin to tell what an application asks for, in the caller's transaction, once however often it is asked.

    `bulk_from`: so many recipients or more are told by the bulk lane. Raises: InvalidRequest for what cannot be told,
    NotFound for a topic that is not there, KeyReused when this key has asked for something else.
    """
    _check_audience(asked)
    variables = check_variables(asked.template, asked.variables, urgency=asked.urgency)
    before = await _asked_before(conn, application_id, request_key, asked)
    if before is not None:
        return before
    if asked.expires_at is not None and asked.expires_at <= await database_now(conn):
        raise wrong_fields([("expires_at", _("This time is over. Name one to come until which it matters."))])
    topic = await _topic(conn, application_id, asked)
    event_id = EventId(new_id())
    taken = Taken(event_id, asked.urgency, None if topic is None else topic.topic_id, None, [])
    # Written first: a twin of this request waits here until this one is committed.
    done = await conn.execute(
        """
        INSERT INTO notify.events
            (event_id, application_id, request_key, request_hash, urgency, template, topic_id, answer)
        VALUES (%s, %s, %s, %s, %s, %s, %s, '{}') ON CONFLICT (application_id, request_key) DO NOTHING
        """,
        (event_id, application_id, request_key, asked.digest, asked.urgency, asked.template, taken.topic_id),
    )
    if not done.rowcount:
        before = await _asked_before(conn, application_id, request_key, asked)
        assert before is not None, "its twin has just written it"
        return before
    if topic is not None and not asked.recipients:
        await begin_send(
            conn,
            event_id=event_id,
            topic=waiting(topic, application_id),
            template=asked.template,
            variables={"application": str(application_id)},
            words=variables,
            channels=asked.channels,
            once=False,
            expires_at=asked.expires_at,
        )
    else:
        taken = await _address(conn, application_id, event_id, asked, variables, topic, bulk_from=bulk_from)
    await conn.execute(
        "UPDATE notify.events SET answer = %s WHERE event_id = %s", (msgspec.json.encode(taken).decode(), event_id)
    )
    return taken


def _check_audience(asked: Asked) -> None:
    if not asked.topic and not asked.recipients:
        raise wrong_fields([("to", _("Say to whom: name recipients, a topic, or both."))])
    if asked.urgency is Urgency.TRANSACTIONAL and asked.topic:
        message = _("Messages of the class transactional go to recipients that are named; those to a topic are bulk.")
        raise wrong_fields([("to.topic", message)])
    if asked.urgency is Urgency.BULK and not asked.topic:
        message = _("Messages of the class bulk belong to a topic, which their recipients follow and can stop.")
        raise wrong_fields([("to.topic", message)])


async def _topic(conn: Connection, application_id: UUID, asked: Asked) -> OwnTopic | None:
    if not asked.topic:
        return None
    try:
        topic = await find_own_topic(conn, application_id=application_id, key=asked.topic)
    except NotFound:
        message = _("There is no such topic. Make it with PUT /api/v1/notify/topics/KEY.")
        raise wrong_fields([("to.topic", message)]) from None
    await conn.execute("SELECT FROM notify.topics WHERE topic_id = %s FOR KEY SHARE", (topic.topic_id,))
    return topic


async def _asked_before(conn: Connection, application_id: UUID, request_key: str, asked: Asked) -> Taken | None:
    found = await conn.execute(
        "SELECT request_hash, answer::text FROM notify.events WHERE application_id = %s AND request_key = %s",
        (application_id, request_key),
    )
    row = await found.fetchone()
    if row is None:
        return None
    if bytes(row[0]) not in (asked.digest, asked.plain_digest):
        raise KeyReused()
    return msgspec.json.decode(row[1], type=Taken)


ADDRESSED: Final = """
WITH named AS MATERIALIZED (
    SELECT w.asked, r.recipient_id, r.has_inbox, r.locale, r.address_sealed, r.unwanted, f.recipient_id AS follower,
        f.channels
    FROM unnest(%(asked)s::text[]) AS w (asked)
        JOIN notify.application_recipients AS a
            ON a.application_id = %(application)s AND (a.external_id = w.asked OR a.recipient_id::text = w.asked)
        JOIN notify.recipients AS r USING (recipient_id)
        LEFT JOIN notify.follows AS f ON f.topic_id = %(topic)s AND f.recipient_id = r.recipient_id
), told AS (
    SELECT DISTINCT ON (recipient_id, c.channel) n.*, c.channel
    FROM named AS n, unnest(%(channels)s::text[]) AS c (channel)
    WHERE (c.channel <> 'inbox' OR n.has_inbox) AND (
        NOT %(bulk)s OR n.follower IS NOT NULL AND CASE WHEN n.channels IS NULL
            THEN 'custom.' || c.channel <> ALL (n.unwanted) ELSE c.channel = ANY (n.channels) END
    )
), written AS (
    INSERT INTO notify.deliveries
        (event_id, recipient_id, channel, template, variables, words_sealed, address_sealed, bulk, lane)
    SELECT %(event)s, recipient_id, channel, %(template)s,
        %(variables)s::jsonb || jsonb_build_object('locale', locale), %(words)s,
        CASE WHEN channel <> 'inbox' THEN address_sealed END, %(bulk)s,
        CASE WHEN (SELECT count(DISTINCT recipient_id) FROM told) <= %(few)s THEN %(lane)s ELSE %(lane_of_many)s END
    FROM told
    RETURNING recipient_id
)
SELECT ARRAY(SELECT asked FROM named), (SELECT count(DISTINCT recipient_id) FROM written),
    (SELECT count(*) FROM written)
"""


async def _address(
    conn: Connection,
    application_id: UUID,
    event_id: EventId,
    asked: Asked,
    variables: Mapping[str, Any],
    topic: OwnTopic | None,
    *,
    bulk_from: int,
) -> Taken:
    """Write the deliveries to named recipients, and have them handed out once this is committed."""
    bulk = asked.urgency is Urgency.BULK
    few, lane, lane_of_many = lanes_of(asked.urgency, bulk_from=bulk_from)
    shared: dict[str, str] = {}
    if topic is not None:
        shared = {"topic_id": str(topic.topic_id), "topic_title": topic.title, "application": str(application_id)}
    if asked.expires_at is not None:
        shared[EXPIRES] = asked.expires_at.isoformat()
    row = await (
        await conn.execute(
            ADDRESSED,
            {
                "asked": list(asked.recipients),
                "application": application_id,
                "topic": None if topic is None else topic.topic_id,
                "channels": [channel.value for channel in asked.channels],
                "event": event_id,
                "template": asked.template,
                "variables": json.dumps(shared),
                "words": seal_words(variables),
                "bulk": bulk,
                "few": few,
                "lane": lane,
                "lane_of_many": lane_of_many,
            },
        )
    ).fetchone()
    assert row is not None
    known, people, messages = set(row[0]), row[1], row[2]
    if not known:
        raise wrong_fields([("to.recipients", _("None of these is a recipient of this application."))])
    if messages:
        await write_events(conn, [Event(EventId(new_id()), DELIVER_TOPIC, {"event_id": str(event_id)})])
    unknown = [each for each in dict.fromkeys(asked.recipients) if each not in known]
    return Taken(event_id, asked.urgency, None if topic is None else topic.topic_id, people, unknown)


def lanes_of(urgency: Urgency, *, bulk_from: int) -> tuple[int, str, str]:
    """How many named recipients are few, by which lane messages to few of them go, and by which those to more."""
    if urgency is Urgency.TRANSACTIONAL:
        return FEW, WITHIN_10S, WITHIN_1M
    return bulk_from - 1, WITHIN_1M, BULK


@dataclass(frozen=True, slots=True)
class EventView:
    """An event and what became of its messages, by their states; `over` when nothing is left to do. Times in UTC."""

    event_id: UUID
    urgency: str
    template: str
    topic_id: UUID | None
    created_at: datetime
    over: bool
    states: Mapping[str, int]


async def view_event(conn: Connection, *, application_id: UUID, event_id: UUID) -> EventView:
    """An event of an application. Messages of a send are counted by its shards. Raises: NotFound."""
    found = await conn.execute(
        """
        SELECT e.event_id, e.urgency, e.template, e.topic_id, e.created_at, s.event_id IS NOT NULL,
            s.finished_at IS NOT NULL
        FROM notify.events AS e LEFT JOIN notify.sends AS s USING (event_id)
        WHERE e.event_id = %s AND e.application_id = %s
        """,
        (event_id, application_id),
    )
    row = await found.fetchone()
    if row is None:
        raise NotFound()
    counting = OF_SHARDS if row[5] else OF_DELIVERIES
    counts = await conn.execute(counting, (event_id,))
    states = {state: int(count) for state, count in await counts.fetchall() if count}
    over = bool(row[6]) if row[5] else not states.get("pending")
    return EventView(row[0], row[1], row[2], row[3], row[4], over, states)


OF_DELIVERIES: Final = "SELECT state, count(*) FROM notify.deliveries WHERE event_id = %s GROUP BY state"
OF_SHARDS: Final = """
SELECT c.state, c.messages FROM (
    SELECT coalesce(sum(delivered), 0) AS sent, coalesce(sum(failed), 0) AS failed,
        coalesce(sum(suppressed), 0) AS suppressed, coalesce(sum(messages - delivered - failed - suppressed), 0) AS rest
    FROM notify.send_shards WHERE event_id = %s
) AS h, LATERAL (
    VALUES ('sent', h.sent), ('failed', h.failed), ('suppressed', h.suppressed), ('pending', h.rest)
) AS c (state, messages)
"""


async def delete_old_events(conn: Connection, *, keep_days: int, limit: int) -> int:
    """Forget up to `limit` events, and receipts, that are `keep_days` old; the most of one kind."""
    removed = [
        await conn.execute(
            f"DELETE FROM notify.{table} WHERE ctid = ANY (ARRAY("  # noqa: S608 - constants
            f"SELECT ctid FROM notify.{table} WHERE created_at < clock_timestamp() - make_interval(days => %s) LIMIT %s"
            "))",
            (keep_days, limit),
        )
        for table in ("events", "receipts")
    ]
    return max(done.rowcount for done in removed)


async def count_waiting(conn: Connection, *, event_id: EventId) -> dict[str, int]:
    """How many deliveries of an event to single people wait to be sent, by their lanes."""
    rows = await conn.execute(
        """
        SELECT coalesce(lane, 'within_1m'), count(*) FROM notify.deliveries
        WHERE event_id = %s AND state = 'pending' AND shard_no IS NULL AND channel <> 'webhook' GROUP BY 1
        """,
        (event_id,),
    )
    return dict(await rows.fetchall())

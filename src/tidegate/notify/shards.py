"""Shards: a send's audience in parts, each expanded into messages in one transaction.

A send is cut into ranges of its followers' ids by keyset. A shard's transaction writes the inboxes and their deliveries
with one INSERT ... SELECT, and the mails as deliveries that wait; both or neither are committed, so a worker that dies
in the middle leaves nothing half done. Tasks only carry the ids of an event and a shard: `due_at` brings a shard back
whose task was lost, and a task that comes twice finds nothing to do.

An address that becomes an account gets the account's id, and may leave a range that is not told yet for one that is, or
the other way round. So no range tells whoever moved since its send began; they are told together when all others are,
by the ways by which nothing was written to them under their former id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tidegate.notify.contracts import ONCE, Channel, MessageUnfit, TopicKind
from tidegate.notify.hints import hint_from_worker
from tidegate.notify.inbox import kept_words
from tidegate.notify.message_texts import Texts, current_texts
from tidegate.notify.messages import MessageContext, Words, write_inbox
from tidegate.notify.pacing import Breather
from tidegate.notify.preferences import unwanted_word
from tidegate.notify.sealed_words import open_words
from tidegate.notify.sends import end_telling
from tidegate.platform.database import Connection, Database, plan_once
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import BULK, WITHIN_1M
from tidegate.platform.sealing import SealBroken
from tidegate.platform.settings import Settings

PLANNED_AT_ONCE: Final = 50
"""Most shards that one transaction cuts."""

NOBODY: Final = UUID(int=0)
"""Before all recipients."""

CUT: Final = """
WITH followers AS MATERIALIZED (
    SELECT recipient_id, row_number() OVER (ORDER BY recipient_id) AS place FROM (
        SELECT recipient_id FROM notify.follows
        WHERE topic_id = %(topic)s AND told_at IS NULL AND recipient_id > %(after)s
        ORDER BY recipient_id LIMIT %(limit)s
    ) AS page
), known AS (
    SELECT count(*) AS followers FROM followers
), ends AS (
    SELECT recipient_id, row_number() OVER (ORDER BY place) AS part,
        lag(recipient_id, 1, %(after)s) OVER (ORDER BY place) AS after_id,
        place - lag(place, 1, 0) OVER (ORDER BY place) AS followers
    FROM followers WHERE place %% %(size)s = 0 OR place = (SELECT k.followers FROM known AS k)
), last AS (
    SELECT coalesce(max(shard_no), 0) AS shard_no FROM notify.send_shards WHERE event_id = %(event)s
), cut AS (
    INSERT INTO notify.send_shards (event_id, shard_no, topic_id, after_id, upto_id, followers)
    SELECT %(event)s, last.shard_no + part, %(topic)s, after_id, recipient_id, followers FROM ends, last
)
SELECT (SELECT k.followers FROM known AS k), (SELECT recipient_id FROM ends ORDER BY part DESC LIMIT 1)
"""

MOVED: Final = """ARRAY(
    SELECT r.recipient_id FROM notify.recipients AS r WHERE r.moved_at >= %(begun)s - interval '1 minute'
)"""
"""Whose id changed since a send began, and before: such a change may have been committed later than it says."""

OF_RANGE: Final = f"""
    topic_id = %(topic)s AND told_at IS NULL AND since <= %(begun)s
    AND recipient_id > %(after)s AND recipient_id <= %(upto)s AND recipient_id {{whom}} ({MOVED})
"""

ALL_OF_THEM: Final = f"SELECT recipient_id, channels FROM notify.follows WHERE {OF_RANGE}"  # noqa: S608 - constants

MARKED_AS_TOLD: Final = f"""
    UPDATE notify.follows SET told_at = clock_timestamp() WHERE {OF_RANGE} RETURNING recipient_id, channels
"""  # noqa: S608 - constants

WANTED: Final = "CASE WHEN p.channels IS NULL THEN w.word <> ALL (p.unwanted) ELSE w.channel = ANY (p.channels) END"

EXPAND: Final = """
WITH page AS MATERIALIZED ({page}), people AS MATERIALIZED (
    SELECT r.recipient_id, r.has_inbox, r.locale, r.address_sealed, r.unwanted, page.channels,
        CASE WHEN page.channels IS NULL THEN %(no_inbox)s <> ALL (r.unwanted) ELSE 'inbox' = ANY (page.channels) END
            AS by_inbox,
        CASE WHEN r.former_id IS NOT NULL THEN ARRAY(
            SELECT d.channel FROM notify.deliveries AS d WHERE (d.event_id, d.recipient_id) = (%(event)s, r.former_id)
        ) ELSE '{{}}' END AS told_by
    FROM page, LATERAL (SELECT * FROM notify.recipients WHERE recipient_id = page.recipient_id OFFSET 0) AS r
    ORDER BY r.recipient_id
), noted AS (
    INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, sent_at, shard_no)
    SELECT %(event)s, recipient_id, 'inbox', %(template)s, '{{}}', 'sent', clock_timestamp(), %(shard)s
    FROM people WHERE has_inbox AND by_inbox AND %(inbox)s AND 'inbox' <> ALL (told_by)
    ON CONFLICT (event_id, recipient_id, channel) DO NOTHING RETURNING recipient_id
), shown AS (
    INSERT INTO notify.inbox_messages (event_id, recipient_id, subject, body, words_id)
    SELECT %(event)s, recipient_id, '', '',
        coalesce((%(words)s::uuid[])[array_position(%(locales)s::text[], locale)], %(shop_words)s)
    FROM people WHERE (recipient_id IN (SELECT n.recipient_id FROM noted AS n)) IS TRUE
    ON CONFLICT (recipient_id, event_id) DO NOTHING
), mailed AS (
    INSERT INTO notify.deliveries
        (event_id, recipient_id, channel, template, variables, address_sealed, bulk, shard_no)
    SELECT %(event)s, recipient_id, w.channel, %(template)s,
        jsonb_build_object('locale', locale, 'topic_id', %(topic)s::uuid), address_sealed, true, %(shard)s
    FROM people AS p, unnest(%(outward)s::text[], %(no_outward)s::text[]) AS w (channel, word)
    WHERE {wanted} AND w.channel <> ALL (p.told_by)
    ON CONFLICT (event_id, recipient_id, channel) DO NOTHING RETURNING 1
)
SELECT (SELECT count(*) FROM people WHERE told_by = '{{}}'), (SELECT count(*) FROM noted),
    (SELECT count(*) FROM mailed),
    (SELECT count(*) FROM people WHERE has_inbox AND NOT by_inbox AND %(inbox)s AND 'inbox' <> ALL (told_by)) + (
        SELECT count(*) FROM people AS p, unnest(%(outward)s::text[], %(no_outward)s::text[]) AS w (channel, word)
        WHERE (p.channels IS NOT NULL OR p.unwanted <> '{{}}') AND NOT {wanted} AND w.channel <> ALL (p.told_by)
    )
"""
"""Whoever does not want a message by a way gets no row, and is counted: another topic of the event may tell them.

How this runs must not hang on PostgreSQL's guess of how many a range holds: of five thousand among a million it expects
one, and compares each with each. OFFSET 0 has each of them looked up by key, IS TRUE asks for a hashed set.
"""


@dataclass(frozen=True, slots=True)
class Expanded:
    """What came of a shard: followers told, messages put into inboxes, mails that wait, messages not wanted."""

    followers: int
    inbox: int
    mails: int
    unwanted: int = 0


@dataclass(frozen=True, slots=True)
class _Shard:
    topic_id: UUID
    after_id: UUID
    upto_id: UUID
    template: str
    channels: list[str]
    begun: datetime
    once: bool
    kind: TopicKind
    moved: bool
    late: bool


async def plan_send(
    database: Database, settings: Settings, *, event_id: EventId, at_once: int = PLANNED_AT_ONCE
) -> int:
    """Cut the audience of an event into shards, `at_once` of them for each topic; how many people they hold.

    A worker that plans the same event meanwhile waits, and goes on behind. 0 says that nothing is left to plan.
    """
    planned = 0
    texts = await current_texts(database, settings)
    async with database.transaction() as conn:
        rows = await conn.execute(
            """
            SELECT s.topic_id, s.template, s.variables, s.words_sealed, s.told_to,
                s.planned_at IS NULL AND s.cancelled_at IS NULL AND s.finished_at IS NULL
            FROM notify.sends AS s WHERE s.event_id = %s ORDER BY s.topic_id FOR UPDATE
            """,
            (event_id,),
        )
        for topic_id, template, variables, sealed, told_to, unplanned in await rows.fetchall():
            if not unplanned:
                continue
            error = await _write_words(conn, settings, texts, event_id, topic_id, template, variables, sealed)
            if error:
                await _give_up(conn, event_id, topic_id, error)
                continue
            planned += await _cut(conn, settings, event_id, topic_id, after=told_to, at_once=at_once)
    return planned


async def _cut(
    conn: Connection, settings: Settings, event_id: EventId, topic_id: UUID, *, after: UUID | None, at_once: int
) -> int:
    """The next shards of a send. Few followers are told in the faster lane, many in the bulk lane."""
    limits = settings.follows
    limit = at_once * limits.batch
    values = {"event": event_id, "topic": topic_id, "after": after or NOBODY, "limit": limit, "size": limits.batch}
    row = await (await conn.execute(CUT, values)).fetchone()
    assert row is not None
    followers, last = row
    over = followers < limit
    await conn.execute(
        """
        UPDATE notify.sends SET told_to = coalesce(%(last)s::uuid, told_to), due_at = clock_timestamp(),
            planned_at = CASE WHEN %(over)s THEN clock_timestamp() END,
            lane = CASE WHEN told_to IS NULL AND %(over)s AND %(followers)s < %(many)s THEN %(fast)s ELSE %(slow)s END
        WHERE event_id = %(event)s AND topic_id = %(topic)s
        """,
        {
            **values,
            "last": last,
            "over": over,
            "followers": followers,
            "many": limits.bulk_from,
            "fast": WITHIN_1M,
            "slow": BULK,
        },
    )
    return int(followers)


async def _write_words(
    conn: Connection,
    settings: Settings,
    texts: Texts,
    event_id: EventId,
    topic_id: UUID,
    template: str,
    variables: Mapping[str, Any],
    sealed: bytes | None,
) -> str:
    """What the inboxes will show, once for each language. Returns why it cannot be written, or nothing."""
    written: dict[str, Words] = {}
    try:
        said = {**variables, **open_words(sealed)}
    except SealBroken as error:
        return describe_error(error)
    for locale in {settings.locale, *settings.locales}:
        context = MessageContext(shop_name=settings.shop_name, locale=locale, texts=texts)
        try:
            written[locale] = write_inbox(template, said, context=context)
        except MessageUnfit as error:
            return str(error)
        except Exception as error:  # a broken template ends this send, not its worker
            return describe_error(error)
    kept = [kept_words(words, sealed=sealed is not None) for words in written.values()]
    await conn.execute(
        """
        INSERT INTO notify.words (words_id, event_id, topic_id, locale, subject, body, link, words_sealed)
        SELECT id, %s, %s, locale, subject, body, link, sealed
        FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
            AS w (id, locale, subject, body, link, sealed)
        ON CONFLICT (event_id, topic_id, locale) DO NOTHING
        """,
        (
            event_id,
            topic_id,
            [new_id() for _ in written],
            list(written),
            *([words[place] for words in kept] for place in range(4)),
        ),
    )
    return ""


async def _give_up(conn: Connection, event_id: EventId, topic_id: UUID, error: str) -> None:
    await conn.execute(
        """
        UPDATE notify.sends SET planned_at = clock_timestamp(), finished_at = clock_timestamp(), last_error = %s
        WHERE event_id = %s AND topic_id = %s
        """,
        (error, event_id, topic_id),
    )


async def expand_shard(
    database: Database, settings: Settings, *, event_id: EventId, shard_no: int, breather: Breather | None = None
) -> Expanded | None:
    """Write all messages of a shard, inboxes at once and mails to be sent; None where there is nothing to expand.

    That is so when it is expanded, when another worker has it in hand, and while its send is paused or cancelled. Of a
    send that does not matter any more nothing is written: its messages count as suppressed.
    """
    async with database.transaction() as conn:
        shard = await _lock_shard(conn, event_id, shard_no)
        if shard is None:
            await suppress_untold(conn, event_id=event_id)
            return None
        if shard.late:
            await end_telling(conn, event_id=event_id, topic_id=shard.topic_id)
            await _count_late(conn, event_id, shard_no)
            return Expanded(0, 0, 0)
        words = await _written_words(conn, event_id, shard.topic_id)
        outward = [channel for channel in shard.channels if channel != Channel.INBOX]
        values = {
            "event": event_id,
            "topic": shard.topic_id,
            "shard": shard_no,
            "begun": shard.begun,
            "template": shard.template,
            "inbox": "inbox" in shard.channels,
            "outward": outward,
            "no_outward": [f"{shard.kind}.{channel}" for channel in outward],
            "locales": list(words),
            "words": list(words.values()),
            "shop_words": words.get(settings.locale) or next(iter(words.values()), None),
            "no_inbox": unwanted_word(shard.kind, Channel.INBOX),
        }
        page = MARKED_AS_TOLD if shard.once else ALL_OF_THEM
        statement = EXPAND.format(page=page.format(whom="= ANY" if shard.moved else "<> ALL"), wanted=WANTED)
        told = []
        await plan_once(conn)  # to plan takes longer than to tell a part of them
        async for after, upto in _pages(conn, settings, shard, breather):
            row = await (await conn.execute(statement, values | {"after": after, "upto": upto})).fetchone()
            assert row is not None
            told.append(row)
        followers, inbox, mails, unwanted = (sum(column) for column in zip(*told, strict=True))
        await conn.execute(
            """
            UPDATE notify.send_shards SET followers = %s, messages = %s, delivered = %s, suppressed = %s, unwanted = %s,
                due_at = clock_timestamp(), expanded_at = clock_timestamp(),
                done_at = CASE WHEN %s = 0 THEN clock_timestamp() END
            WHERE event_id = %s AND shard_no = %s
            """,
            (followers, inbox + mails + unwanted, inbox, unwanted, unwanted, mails, event_id, shard_no),
        )
        await conn.execute(
            "UPDATE notify.sends SET told = told + %s WHERE event_id = %s AND topic_id = %s",
            (followers, event_id, shard.topic_id),
        )
    if inbox:
        await hint_from_worker(settings, between=(shard.after_id, shard.upto_id))
    return Expanded(followers, inbox, mails, unwanted)


async def _written_words(conn: Connection, event_id: EventId, topic_id: UUID) -> dict[str, UUID]:
    """The ids of a send's words by the languages that they were written in, whichever the shop offers by now."""
    rows = await conn.execute(
        "SELECT locale, words_id FROM notify.words WHERE event_id = %s AND topic_id = %s ORDER BY locale",
        (event_id, topic_id),
    )
    return dict(await rows.fetchall())


async def _count_late(conn: Connection, event_id: EventId, shard_no: int) -> None:
    """Whom nobody told in time is not told, and stays a follower."""
    await conn.execute(
        """
        UPDATE notify.send_shards AS h SET expanded_at = clock_timestamp(), done_at = clock_timestamp(),
            messages = h.followers * cardinality(s.channels), suppressed = h.followers * cardinality(s.channels),
            late = h.followers * cardinality(s.channels)
        FROM notify.sends AS s
        WHERE h.event_id = %s AND h.shard_no = %s AND (s.event_id, s.topic_id) = (h.event_id, h.topic_id)
        """,
        (event_id, shard_no),
    )


async def suppress_untold(conn: Connection, *, event_id: EventId) -> None:
    """Count the messages of the event's ended sends that nobody has begun to write as suppressed."""
    await conn.execute(
        """
        UPDATE notify.send_shards AS h SET expanded_at = clock_timestamp(), done_at = clock_timestamp(),
            messages = h.followers * cardinality(free.channels), suppressed = h.followers * cardinality(free.channels)
        FROM (
            SELECT u.event_id, u.shard_no, s.channels
            FROM notify.send_shards AS u JOIN notify.sends AS s USING (event_id, topic_id)
            WHERE u.event_id = %s AND u.expanded_at IS NULL AND s.cancelled_at IS NOT NULL
            FOR UPDATE OF u SKIP LOCKED
        ) AS free WHERE (h.event_id, h.shard_no) = (free.event_id, free.shard_no)
        """,
        (event_id,),
    )


async def _pages(
    conn: Connection, settings: Settings, shard: _Shard, breather: Breather | None
) -> AsyncIterator[tuple[UUID, UUID]]:
    """A shard's range of followers; where it yields to the shop, in smaller ones, with a rest between two."""
    after = shard.after_id
    if breather is not None and breather.share < 1.0 and not shard.moved:
        breather.beside(conn)
        rows = await conn.execute(
            """
            SELECT recipient_id FROM (
                SELECT recipient_id, row_number() OVER (ORDER BY recipient_id) AS place FROM notify.follows
                WHERE topic_id = %s AND told_at IS NULL AND recipient_id > %s AND recipient_id < %s
            ) AS f WHERE place %% %s = 0 ORDER BY recipient_id
            """,
            (shard.topic_id, after, shard.upto_id, settings.pacing.step),
        )
        for (upto,) in await rows.fetchall():
            yield after, upto
            after = upto
            await breather.nap()
    yield after, shard.upto_id


async def _lock_shard(conn: Connection, event_id: EventId, shard_no: int) -> _Shard | None:
    row = await (
        await conn.execute(
            """
            SELECT h.topic_id, h.after_id, h.upto_id, s.template, s.channels, s.created_at, s.once, t.kind, h.moved,
                coalesce(s.expires_at <= clock_timestamp(), false)
            FROM notify.send_shards AS h JOIN notify.sends AS s USING (event_id, topic_id)
                JOIN notify.topics AS t ON t.topic_id = h.topic_id
            WHERE h.event_id = %s AND h.shard_no = %s AND h.expanded_at IS NULL
                AND s.paused_at IS NULL AND s.cancelled_at IS NULL
            FOR UPDATE OF h SKIP LOCKED
            """,
            (event_id, shard_no),
        )
    ).fetchone()
    if row is None:
        return None
    kind = TopicKind(row[7])
    once = kind in ONCE if row[6] is None else row[6]
    return _Shard(row[0], row[1], row[2], row[3], row[4], row[5], once, kind, moved=row[8], late=row[9])


NONE_LEFT: Final = """
    s.event_id = %(event)s AND s.planned_at IS NOT NULL AND s.finished_at IS NULL AND NOT EXISTS (
        SELECT FROM notify.send_shards AS h
        WHERE h.event_id = s.event_id AND h.topic_id = s.topic_id AND h.done_at IS NULL
"""
ALL_TOLD: Final = f"{NONE_LEFT} AND h.expanded_at IS NULL)"
ALL_DONE: Final = f"{NONE_LEFT}) AND s.revisited_at IS NOT NULL"
"""Of a send `s`: whether all of its shards are expanded, and whether all of their messages have ended, those of
whoever moved among them."""

MOVED_AT_ONCE: Final = 1_000
"""Most of those who moved that one shard tells."""

CUT_MOVED: Final = f"""
WITH moved AS (
    SELECT f.recipient_id, (row_number() OVER (ORDER BY f.recipient_id) - 1) / %(batch)s AS part
    FROM notify.follows AS f
    WHERE f.topic_id = %(topic)s AND f.told_at IS NULL AND f.since <= %(begun)s AND f.recipient_id = ANY ({MOVED})
), parts AS (
    SELECT part, (array_agg(recipient_id ORDER BY recipient_id DESC))[1] AS upto_id, count(*) AS followers
    FROM moved GROUP BY part
)
INSERT INTO notify.send_shards (event_id, shard_no, topic_id, after_id, upto_id, followers, moved)
SELECT %(event)s,
    (SELECT coalesce(max(h.shard_no), 0) FROM notify.send_shards AS h WHERE h.event_id = %(event)s) + part + 1,
    %(topic)s, coalesce(lag(upto_id) OVER (ORDER BY part), %(nobody)s), upto_id, followers, true
FROM parts
"""  # noqa: S608 - constants


async def finish_send(database: Database, *, event_id: EventId) -> None:
    """Have those told who moved during the event's sends, when all others are; close sends of which nothing is left."""
    values = {"event": event_id}
    async with database.transaction() as conn:
        done = await conn.execute(
            f"""
            UPDATE notify.sends AS s SET revisited_at = clock_timestamp() WHERE {ALL_TOLD} AND s.revisited_at IS NULL
            RETURNING s.topic_id, s.created_at,
                s.cancelled_at IS NULL AND coalesce(s.expires_at > clock_timestamp(), true)
            """,  # noqa: S608 - constants
            values,
        )
        for topic_id, begun, is_on in await done.fetchall():
            if is_on:
                cut = {"topic": topic_id, "begun": begun, "nobody": NOBODY, "batch": MOVED_AT_ONCE}
                await conn.execute(CUT_MOVED, values | cut)
        # Another statement: it sees what another worker, which this one waited for, has cut meanwhile.
        await conn.execute(
            f"UPDATE notify.sends AS s SET finished_at = clock_timestamp() WHERE {ALL_DONE}",  # noqa: S608 - constants
            values,
        )


@dataclass(frozen=True, slots=True)
class DueShard:
    """A shard that somebody should work on. `waiting` are its messages not sent yet; 0 before it is expanded."""

    event_id: EventId
    shard_no: int
    lane: str
    waiting: int


async def claim_due_shards(
    conn: Connection, *, limit: int, lease_s: float, ahead_s: float = 0.0, event_id: EventId | None = None
) -> list[DueShard]:
    """Take up to `limit` shards that are due (or will be within `ahead_s` seconds); due again after `lease_s`.

    Shards of paused sends are not due. Two sweepers at once take different ones.
    """
    rows = await conn.execute(
        """
        WITH due AS MATERIALIZED (
            SELECT h.event_id, h.shard_no, s.lane FROM notify.send_shards AS h
                JOIN notify.sends AS s USING (event_id, topic_id)
            WHERE h.done_at IS NULL AND h.due_at <= clock_timestamp() + make_interval(secs => %(ahead)s)
                AND s.paused_at IS NULL AND (%(event)s::uuid IS NULL OR h.event_id = %(event)s)
            ORDER BY h.due_at LIMIT %(limit)s FOR UPDATE OF h SKIP LOCKED
        )
        UPDATE notify.send_shards AS h SET due_at = clock_timestamp() + make_interval(secs => %(lease)s)
        FROM due WHERE (h.event_id, h.shard_no) = (due.event_id, due.shard_no)
        RETURNING h.event_id, h.shard_no, due.lane, h.messages - h.delivered - h.failed - h.suppressed
        """,
        {"ahead": ahead_s, "event": event_id, "limit": limit, "lease": lease_s},
    )
    return sorted((DueShard(EventId(row[0]), *row[1:]) for row in await rows.fetchall()), key=_in_order)


def _in_order(due: DueShard) -> tuple[EventId, int]:
    return due.event_id, due.shard_no

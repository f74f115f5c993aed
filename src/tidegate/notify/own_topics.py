"""Topics of an application: made by it, followed by recipients of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.contracts import Channel, Topic, TopicKind
from tidegate.notify.fields import wrong_fields
from tidegate.notify.outcomes import suppress
from tidegate.notify.sends import WaitingTopic
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.problems import NotFound, Problem
from tidegate.platform.texts import text as _

KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
MAX_TITLE: Final = 200
MOST_TOPICS: Final = 1_000
"""Most topics of one application."""

MOST_NAMED: Final = 1_000
"""Most followers that one request adds and ends."""

PATH: Final = "/"
"""A topic of an application has no page of ours."""


class TopicsFull(Problem):
    """This application has as many topics as it can."""

    slug = "topics-full"
    status = 409


@dataclass(frozen=True, slots=True)
class OwnTopic:
    """A topic as its application knows it."""

    topic_id: UUID
    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Changed:
    """How many followers were added and ended, and ids that are of no recipient of the application."""

    added: int
    removed: int
    unknown: tuple[str, ...]


TOPICS: Final = """
SELECT a.topic_id, a.key, t.title FROM notify.application_topics AS a JOIN notify.topics AS t USING (topic_id)
WHERE a.application_id = %(application)s
"""


async def put_topic(conn: Connection, *, application_id: UUID, key: str, title: str) -> OwnTopic:
    """Make a topic, or give it another title, in the caller's transaction.

    Raises: InvalidRequest; TopicsFull when there are MOST_TOPICS.
    """
    title = title.strip()
    errors = []
    if not KEY.fullmatch(key):
        errors.append(("key", _("Write a key of 1 to 100 letters a-z, digits and . _ - only.")))
    if not 1 <= len(title) <= MAX_TITLE or not title.isprintable():
        errors.append(("title", _("Write a title of 1 to %(most)s characters, in one line.", most=MAX_TITLE)))
    if errors:
        raise wrong_fields(errors)
    await conn.execute("SELECT FROM notify.applications WHERE application_id = %s FOR NO KEY UPDATE", (application_id,))
    row = await (
        await conn.execute(
            """
            INSERT INTO notify.topics (topic_id, kind, key, title, path) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (kind, key) DO UPDATE SET title = excluded.title RETURNING topic_id
            """,
            (new_id(), TopicKind.CUSTOM, f"{application_id}/{key}", title, PATH),
        )
    ).fetchone()
    assert row is not None
    await conn.execute(
        """
        INSERT INTO notify.application_topics (application_id, key, topic_id) VALUES (%s, %s, %s)
        ON CONFLICT (application_id, key) DO NOTHING
        """,
        (application_id, key, row[0]),
    )
    count = await (
        await conn.execute(
            "SELECT count(*) FROM notify.application_topics WHERE application_id = %s", (application_id,)
        )
    ).fetchone()
    assert count is not None
    if count[0] > MOST_TOPICS:
        raise TopicsFull(_("There can be %(most)s topics. Delete one first; nothing was changed.", most=MOST_TOPICS))
    return OwnTopic(row[0], key, title)


async def list_own_topics(conn: Connection, *, application_id: UUID, limit: int, after: str = "") -> list[OwnTopic]:
    """An application's topics in the order of their keys, behind the key `after`."""
    async with conn.cursor(row_factory=class_row(OwnTopic)) as cursor:
        await cursor.execute(
            TOPICS + " AND a.key > %(after)s ORDER BY a.key LIMIT %(limit)s",
            {"application": application_id, "after": after, "limit": limit},
        )
        return await cursor.fetchall()


async def find_own_topic(conn: Connection, *, application_id: UUID, key: str) -> OwnTopic:
    """A topic by its key. Raises: NotFound."""
    async with conn.cursor(row_factory=class_row(OwnTopic)) as cursor:
        await cursor.execute(TOPICS + " AND a.key = %(key)s", {"application": application_id, "key": key})
        topic = await cursor.fetchone()
    if topic is None:
        raise NotFound()
    return topic


async def delete_topic(conn: Connection, *, application_id: UUID, key: str) -> None:
    """Delete a topic with its follows and sends, in the caller's transaction. What waits to be sent is not sent.

    Raises: NotFound.
    """
    topic = await find_own_topic(conn, application_id=application_id, key=key)
    await suppress(
        conn,
        whom="""
            d.event_id = ANY (ARRAY(
                SELECT s.event_id FROM notify.sends AS s WHERE s.topic_id = %(topic)s
                UNION SELECT e.event_id FROM notify.events AS e WHERE e.topic_id = %(topic)s
            )) AND d.variables ->> 'topic_id' = %(topic)s::text
        """,
        values={"topic": topic.topic_id},
        reason="its topic was deleted",
    )
    await conn.execute("DELETE FROM notify.topics WHERE topic_id = %s", (topic.topic_id,))


async def change_followers(
    conn: Connection, *, application_id: UUID, key: str, add: Sequence[str], remove: Sequence[str]
) -> Changed:
    """Have recipients, by the application's ids, follow a topic or follow it no more, in the caller's transaction.

    Doing it again changes nothing. Who stops is sent nothing more of it, also what waits. Raises: NotFound.
    """
    topic = await find_own_topic(conn, application_id=application_id, key=key)
    ids = await _recipients(conn, application_id, [*add, *remove])
    added = await conn.execute(
        """
        INSERT INTO notify.follows (topic_id, recipient_id) SELECT %s, id FROM unnest(%s::uuid[]) AS w (id) ORDER BY id
        ON CONFLICT (topic_id, recipient_id) DO NOTHING
        """,
        (topic.topic_id, [ids[each] for each in add if each in ids]),
    )
    ended = [ids[each] for each in remove if each in ids]
    removed = await conn.execute(
        "DELETE FROM notify.follows WHERE topic_id = %s AND recipient_id = ANY (%s)", (topic.topic_id, ended)
    )
    if removed.rowcount:
        await suppress(
            conn,
            whom="""
                d.recipient_id = ANY (%(recipients)s) AND (d.channel <> 'inbox' OR d.state <> 'sent')
                AND d.variables ->> 'topic_id' = %(topic)s::text
            """,
            values={"topic": topic.topic_id, "recipients": ended},
            reason="stopped by its recipient",
        )
    unknown = tuple(each for each in dict.fromkeys([*add, *remove]) if each not in ids)
    return Changed(added.rowcount, removed.rowcount, unknown)


async def list_followers(
    conn: Connection, *, application_id: UUID, topic_id: UUID, limit: int, after: str = ""
) -> list[str]:
    """The application's ids of who follows a topic, in order, behind the id `after`."""
    rows = await conn.execute(
        """
        SELECT a.external_id FROM notify.application_recipients AS a
            JOIN notify.follows AS f ON f.recipient_id = a.recipient_id AND f.topic_id = %(topic)s
        WHERE a.application_id = %(application)s AND a.external_id > %(after)s AND f.told_at IS NULL
        ORDER BY a.external_id LIMIT %(limit)s
        """,
        {"application": application_id, "topic": topic_id, "after": after, "limit": limit},
    )
    return [row[0] for row in await rows.fetchall()]


async def list_choices(
    conn: Connection, *, application_id: UUID, recipient_id: UUID, limit: int, after: str = ""
) -> list[tuple[OwnTopic, tuple[Channel, ...] | None]]:
    """The topics that a recipient follows, and by which ways they are told of each; None: as of all that is bulk.

    In the order of their keys, behind the key `after`.
    """
    rows = await conn.execute(
        """
        SELECT a.topic_id, a.key, t.title, f.channels FROM notify.application_topics AS a
            JOIN notify.topics AS t USING (topic_id) JOIN notify.follows AS f USING (topic_id)
        WHERE a.application_id = %(application)s AND f.recipient_id = %(recipient)s AND a.key > %(after)s
        ORDER BY a.key LIMIT %(limit)s
        """,
        {"application": application_id, "recipient": recipient_id, "after": after, "limit": limit},
    )
    return [
        (OwnTopic(topic_id, key, title), None if channels is None else tuple(Channel(each) for each in channels))
        for topic_id, key, title, channels in await rows.fetchall()
    ]


def waiting(topic: OwnTopic, application_id: UUID) -> WaitingTopic:
    """The topic as a send takes it."""
    return WaitingTopic(topic.topic_id, Topic(TopicKind.CUSTOM, f"{application_id}/{topic.key}", topic.title, PATH))


async def _recipients(conn: Connection, application_id: UUID, external_ids: Sequence[str]) -> dict[str, UUID]:
    rows = await conn.execute(
        """
        SELECT external_id, recipient_id FROM notify.application_recipients
        WHERE application_id = %s AND external_id = ANY (%s)
        """,
        (application_id, list(external_ids)),
    )
    return dict(await rows.fetchall())

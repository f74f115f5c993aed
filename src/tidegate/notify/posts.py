"""Posts: what staff write to a topic's followers. A post fans out like any event, and stands in a feed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.contracts import Channel, Post, PostDiffers, TopicKind
from tidegate.notify.sends import WaitingTopic, begin_send, list_topics
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _

TEMPLATE: Final = "post"
MAX_TITLE: Final = 120
MAX_BODY: Final = 2_000

POSTS: Final = """
SELECT p.post_id, p.topic_id, t.kind, t.title AS topic, t.path, p.title, p.body, p.created_at
FROM notify.posts AS p JOIN notify.topics AS t USING (topic_id)
WHERE (%(before)s::uuid IS NULL OR p.post_id < %(before)s) AND (%(post)s::uuid IS NULL OR p.post_id = %(post)s)
ORDER BY p.post_id DESC LIMIT %(limit)s
"""


async def write_post(
    conn: Connection,
    *,
    kind: TopicKind,
    key: str,
    title: str,
    body: str,
    channels: Sequence[Channel],
    author_id: PersonId,
    request_key: str,
    base_url: str,
    expires_at: datetime | None = None,
) -> Post:
    """Write to the followers of a topic, in the caller's transaction; the post, which is told once however often asked.

    Whom it has not reached by `expires_at` is not told.

    Raises: InvalidRequest for words that cannot be sent; NotFound when nobody has ever followed such a topic;
    PostDiffers when this key has written something else.
    """
    title, body = check_post(title, body, channels)
    if expires_at is not None and expires_at <= await database_now(conn):
        raise InvalidRequest(_("Choose a time to come until which it matters."), field="expires_at")
    topics = await list_topics(conn, limit=1, kind=kind, key=key)
    if not topics:
        raise NotFound()
    (topic,) = topics
    post_id = EventId(new_id())
    done = await conn.execute(
        """
        INSERT INTO notify.posts (post_id, topic_id, author_id, request_key, title, body, channels)
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (author_id, request_key) DO NOTHING
        """,
        (post_id, topic.topic_id, author_id, request_key, title, body, [channel.value for channel in channels]),
    )
    if not done.rowcount:
        return await _written_before(
            conn, author_id, request_key, topic=topic, title=title, body=body, channels=channels
        )
    await begin_send(
        conn,
        event_id=post_id,
        topic=topic,
        template=TEMPLATE,
        variables={"title": title, "body": body, "url": f"{base_url}/posts/{post_id}"},
        channels=channels,
        once=False,
        expires_at=expires_at,
    )
    return await find_post(conn, post_id=post_id)


async def list_posts(conn: Connection, *, limit: int, before: EventId | None = None) -> list[Post]:
    """Posts, the newest first, at most `limit`, and only those before `before`."""
    async with conn.cursor(row_factory=class_row(Post)) as cursor:
        await cursor.execute(POSTS, {"before": before, "post": None, "limit": limit})
        return await cursor.fetchall()


async def find_post(conn: Connection, *, post_id: EventId) -> Post:
    """One post. Raises: NotFound."""
    async with conn.cursor(row_factory=class_row(Post)) as cursor:
        await cursor.execute(POSTS, {"before": None, "post": post_id, "limit": 1})
        post = await cursor.fetchone()
    if post is None:
        raise NotFound()
    return post


def check_post(title: str, body: str, channels: Sequence[Channel]) -> tuple[str, str]:
    """Title and text as they are sent. Raises: InvalidRequest for words that cannot be sent, or no channel."""
    title, body = title.strip(), body.replace("\r\n", "\n").strip()
    if not 1 <= len(title) <= MAX_TITLE or not title.isprintable():
        raise InvalidRequest(_("Type a title of 1 to %(most)s characters, in one line.", most=MAX_TITLE), field="title")
    if not 1 <= len(body) <= MAX_BODY or "\0" in body:
        raise InvalidRequest(_("Type a text of 1 to %(most)s characters.", most=MAX_BODY), field="body")
    if not channels:
        raise InvalidRequest(_("Choose at least one way for it to reach people."), field="channels")
    return title, body


async def _written_before(
    conn: Connection,
    author_id: PersonId,
    request_key: str,
    *,
    topic: WaitingTopic,
    title: str,
    body: str,
    channels: Sequence[Channel],
) -> Post:
    found = await conn.execute(
        "SELECT post_id, channels FROM notify.posts WHERE author_id = %s AND request_key = %s", (author_id, request_key)
    )
    row = await found.fetchone()
    assert row is not None
    post = await find_post(conn, post_id=EventId(UUID(str(row[0]))))
    said = (post.topic_id, post.title, post.body, set(row[1]))
    if said != (topic.topic_id, title, body, {channel.value for channel in channels}):
        raise PostDiffers()
    return post

"""Who follows what: accounts, and addresses that a mailed link has confirmed.

A recipient is a person with an account, by the person's id, or an address without one. A follow exists only once it is
confirmed: nothing is kept of an address before, and nothing is sent to it but the link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from tidegate.notify.addresses import fingerprint, sealed_address
from tidegate.notify.contracts import Channel, Follow, FollowsFull, Topic, TopicKind
from tidegate.notify.outcomes import suppress
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import NotFound
from tidegate.platform.texts import text as _

NEW_ACCOUNT: Final = """
INSERT INTO notify.recipients (recipient_id, address_sealed, email_fingerprint, has_inbox, locale)
VALUES (%(person)s, %(sealed)s, %(fingerprint)s, true, %(locale)s) ON CONFLICT DO NOTHING
"""
ADDRESS_OF_ACCOUNT: Final = """
UPDATE notify.recipients
SET recipient_id = %(person)s, has_inbox = true, locale = coalesce(nullif(locale, ''), %(locale)s),
    former_id = CASE WHEN recipient_id = %(person)s THEN former_id ELSE recipient_id END,
    moved_at = CASE WHEN recipient_id = %(person)s THEN moved_at ELSE clock_timestamp() END
WHERE email_fingerprint = %(fingerprint)s
"""
"""A language that is known stays: somebody may have chosen it."""


async def follow(
    conn: Connection, *, topic: Topic, email: str, locale: str, most: int, person_id: PersonId | None = None
) -> None:
    """Have somebody follow a topic, in the caller's transaction: `person_id`'s account, or else an address.

    Both must be known to be theirs. Following again changes nothing, or begins anew once they were told.
    Raises: FollowsFull when they follow `most` already.
    """
    recipient = await (
        _address(conn, email, locale) if person_id is None else account_recipient(conn, person_id, email, locale)
    )
    topic_id = await _topic(conn, topic)
    await conn.execute(
        """
        INSERT INTO notify.follows AS f (topic_id, recipient_id) VALUES (%s, %s)
        ON CONFLICT (topic_id, recipient_id) DO UPDATE SET told_at = NULL, since = clock_timestamp()
        WHERE f.told_at IS NOT NULL
        """,
        (topic_id, recipient),
    )
    row = await (
        await conn.execute(
            "SELECT count(*) FROM notify.follows WHERE recipient_id = %s AND told_at IS NULL", (recipient,)
        )
    ).fetchone()
    assert row is not None
    if row[0] > most:
        raise FollowsFull(_("You follow as much as one can. Stop following something first; nothing was changed."))


async def unfollow(conn: Connection, *, kind: TopicKind, key: str, person_id: PersonId, email: str) -> bool:
    """End a person's follow, in the caller's transaction; says whether there was one."""
    done = await conn.execute(
        """
        DELETE FROM notify.follows AS f USING notify.topics AS t, notify.recipients AS r
        WHERE t.kind = %(kind)s AND t.key = %(key)s AND f.topic_id = t.topic_id AND f.recipient_id = r.recipient_id
            AND (r.recipient_id = %(person)s OR r.email_fingerprint = %(fingerprint)s)
        RETURNING f.topic_id, f.recipient_id
        """,
        {"kind": kind, "key": key, "person": person_id, "fingerprint": fingerprint(email)},
    )
    ended = await done.fetchall()
    for topic_id, recipient_id in ended:
        await _withdraw(conn, topic_id=topic_id, recipient_id=recipient_id)
    return bool(ended)


async def list_follows(
    conn: Connection, *, person_id: PersonId, email: str, limit: int, after: UUID | None = None
) -> Sequence[Follow]:
    """What a person waits for or follows, also what their address followed before there was an account, newest first.

    `after` is the `topic_id` of the last one that was seen; the page begins behind it.
    """
    rows = await conn.execute(
        """
        SELECT t.topic_id, t.kind, t.key, t.title, t.path, min(f.since), min(f.channels)
        FROM notify.recipients AS r JOIN notify.follows AS f USING (recipient_id)
        JOIN notify.topics AS t USING (topic_id)
        WHERE (r.recipient_id = %(person)s OR r.email_fingerprint = %(fingerprint)s) AND f.told_at IS NULL
            AND (%(after)s::uuid IS NULL OR t.topic_id < %(after)s)
        GROUP BY t.topic_id ORDER BY t.topic_id DESC LIMIT %(limit)s
        """,
        {"person": person_id, "fingerprint": fingerprint(email), "after": after, "limit": limit},
    )
    return [followed(row) for row in await rows.fetchall()]


def followed(row: Sequence[Any]) -> Follow:
    """A follow from its topic's id, kind, key, title and path, since when it is, and its channels."""
    topic_id, kind, key, title, path, since, channels = row
    ways = None if channels is None else tuple(Channel(channel) for channel in channels)
    return Follow(topic_id, Topic(TopicKind(kind), key, title, path), since, ways)


async def forget_follows(conn: Connection, person_id: PersonId) -> None:
    """Erase what notify knows of an account's address, in the caller's transaction; its inbox stays the person's."""
    await conn.execute("DELETE FROM notify.recipients WHERE recipient_id = %s", (person_id,))


async def end_follow(conn: Connection, *, topic_id: UUID, email_fingerprint: bytes) -> None:
    """End an address's follow, in the caller's transaction; nothing happens where there is none.

    An address without an account is forgotten with its last follow, unless it is an application's recipient.
    """
    found = await conn.execute(
        "SELECT recipient_id FROM notify.recipients WHERE email_fingerprint = %s FOR UPDATE", (email_fingerprint,)
    )
    row = await found.fetchone()
    if row is None:
        return
    await conn.execute("DELETE FROM notify.follows WHERE topic_id = %s AND recipient_id = %s", (topic_id, row[0]))
    await _withdraw(conn, topic_id=topic_id, recipient_id=row[0])
    await conn.execute(
        """
        DELETE FROM notify.recipients AS r WHERE r.email_fingerprint = %s AND NOT r.has_inbox
            AND NOT EXISTS (SELECT FROM notify.follows AS f WHERE f.recipient_id = r.recipient_id)
            AND NOT EXISTS (SELECT FROM notify.application_recipients AS a WHERE a.recipient_id = r.recipient_id)
        """,
        (email_fingerprint,),
    )


async def _withdraw(conn: Connection, *, topic_id: UUID, recipient_id: UUID) -> None:
    """Send nothing of a topic that waits to be sent to somebody who stopped it, by a send or as one who is named."""
    await suppress(
        conn,
        whom="""
            d.recipient_id IN (%(recipient)s, (
                SELECT r.former_id FROM notify.recipients AS r WHERE r.recipient_id = %(recipient)s
            )) AND (d.channel <> 'inbox' OR d.state <> 'sent') AND d.variables ->> 'topic_id' = %(topic)s::text
        """,
        values={"topic": topic_id, "recipient": recipient_id},
        reason="stopped by its recipient",
    )


async def find_topic(conn: Connection, *, topic_id: UUID) -> Topic:
    """A topic that somebody follows or has followed. Raises: NotFound."""
    row = await (
        await conn.execute("SELECT kind, key, title, path FROM notify.topics WHERE topic_id = %s", (topic_id,))
    ).fetchone()
    if row is None:
        raise NotFound()
    return Topic(TopicKind(row[0]), row[1], row[2], row[3])


async def account_recipient(conn: Connection, person_id: PersonId, email: str, locale: str) -> UUID:
    """The recipient of an account; an address that was followed with before becomes the account's, with its follows.

    Two at once of one account meet at either of two keys, its id and its address: an upsert waits at one of them only,
    and fails at the other.
    """
    known = {
        "person": person_id,
        "sealed": sealed_address(email),
        "fingerprint": fingerprint(email),
        "locale": locale,
    }
    for _attempt in range(3):  # once more only if what stood in the way was forgotten meanwhile
        for statement in (NEW_ACCOUNT, ADDRESS_OF_ACCOUNT):
            if (await conn.execute(statement, known)).rowcount:
                return person_id
    raise RuntimeError("The recipient of an account could not be written.")


async def _address(conn: Connection, email: str, locale: str) -> UUID:
    """The recipient of an address, which may be an account's; locked, so that its follows are counted one by one."""
    row = await (
        await conn.execute(
            """
            INSERT INTO notify.recipients AS r (recipient_id, address_sealed, email_fingerprint, has_inbox, locale)
            VALUES (%s, %s, %s, false, %s)
            ON CONFLICT (email_fingerprint) DO UPDATE SET locale = coalesce(nullif(r.locale, ''), excluded.locale)
            RETURNING recipient_id
            """,
            (new_id(), sealed_address(email), fingerprint(email), locale),
        )
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def _topic(conn: Connection, topic: Topic) -> UUID:
    """The topic's id. It is written only when it is new or renamed, so that a crowd does not queue up for it."""
    found = await conn.execute(
        "SELECT topic_id, title, path FROM notify.topics WHERE kind = %s AND key = %s", (topic.kind, topic.key)
    )
    row = await found.fetchone()
    if row is not None and (row[1], row[2]) == (topic.title, topic.path):
        return UUID(str(row[0]))
    written = await conn.execute(
        """
        INSERT INTO notify.topics (topic_id, kind, key, title, path) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (kind, key) DO UPDATE SET title = excluded.title, path = excluded.path
        RETURNING topic_id
        """,
        (new_id(), topic.kind, topic.key, topic.title, topic.path),
    )
    row = await written.fetchone()
    assert row is not None
    return UUID(str(row[0]))

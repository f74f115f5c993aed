"""A message to very many in the middle of a sale."""

from __future__ import annotations

from uuid import UUID

from tidegate import notify
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id

KEY = "rehearsal-storm"
KIND = notify.TopicKind.COLLECTION
VARIABLES = {"title": "Rehearsal", "topic_title": "Rehearsal", "url": "http://127.0.0.1/drops/rehearsal"}


class Storm:
    """Followers of one topic who are made before the sale, and the messages to them."""

    def __init__(self, database: Database, *, kind: notify.TopicKind = KIND, key: str = KEY) -> None:
        self._database = database
        self._kind, self._key = kind, key
        self._sends: list[EventId] = []

    async def make(self, count: int) -> None:
        """Make the followers."""
        async with self._database.transaction() as conn:
            await conn.execute("SET LOCAL statement_timeout = 0")  # a million takes a while
            await notify.make_followers(conn, kind=self._kind, key=self._key, count=count)

    async def begin(self) -> tuple[EventId, UUID]:
        """Begin to tell all of them something in their inboxes: the send's event and its topic."""
        event_id = EventId(new_id())
        async with self._database.transaction() as conn:
            (topic,) = await notify.find_followed(conn, topics={self._kind: [self._key]})
            await notify.begin_send(
                conn,
                event_id=event_id,
                topic=topic,
                template="drop_open",
                variables=VARIABLES,
                channels=[notify.Channel.INBOX],
            )
        self._sends.append(event_id)
        return event_id, topic.topic_id

    async def told(self) -> str:
        """How far the messages have come."""
        told = followers = 0
        async with self._database.connection() as conn:
            for event_id in self._sends:
                (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
                told += send.progress.delivered
                followers += send.progress.expected
        return f"{told:,} of {followers:,} were told by then"

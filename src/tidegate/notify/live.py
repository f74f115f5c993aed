"""Inboxes live: what is new, told to whoever listens, in a site process.

Hints (`hints`) only say where to look: what is told is read from the database, for all who listen at once, a few times
a second at most. The same look catches up whoever comes back, follows a restart of Valkey, and is had from time to time
anyhow, so nothing that was written is missed.

A position in a stream is a UUIDv7 whose time is the database's when it was looked. A message may be committed some time
after it was written, so each look goes back `OVERLAP` behind the last one and leaves out what was told.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec
from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from tidegate.notify.contracts import InboxMessage
from tidegate.notify.hints import DECODER, HINTS, ForPeople, ForRange, Opened, give_hints
from tidegate.notify.inbox import MOST_COUNTED, SHOWN, as_shown
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import PersonId, id_floor, new_id
from tidegate.platform.loops import Loop, run_loops
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings

OVERLAP: Final = timedelta(seconds=60)
"""Longer than a transaction may take from writing a message to its commit."""
LOOKED_AT: Final = 500
"""Streams that one query looks after."""
MOST_TOLD: Final = 50
"""Most messages that one look tells one stream; of more it is told to read the inbox."""
MOST_WAITING: Final = 64
"""Most events that wait for a slow reader, whose stream then ends; it comes back and catches up."""
LISTEN_S: Final = 20.0
"""How long one round waits for hints, in seconds."""
GATHER_S: Final = 0.1
"""How long hints are gathered before a look, in seconds."""

STREAMS = Gauge("tidegate_inbox_streams", "People who listen to their inboxes.")

NEWS: Final = f"""
SELECT s.person, {SHOWN}
FROM unnest(%s::uuid[], %s::timestamptz[]) AS s (person, since) CROSS JOIN LATERAL (
    SELECT * FROM notify.inbox_messages AS i
    WHERE i.recipient_id = s.person AND i.read_at IS NULL AND i.created_at > s.since
    ORDER BY i.created_at DESC LIMIT %s
) AS m LEFT JOIN notify.words AS w USING (words_id)
ORDER BY m.created_at
"""  # noqa: S608 - a constant

UNREAD: Final = """
SELECT s.person, (SELECT count(*) FROM (
    SELECT FROM notify.inbox_messages AS i WHERE i.recipient_id = s.person AND i.read_at IS NULL LIMIT %s
) AS unread) FROM unnest(%s::uuid[]) AS s (person)
"""


class End(StrEnum):
    """Why a stream ends."""

    REPLACED = "replaced"
    """The same browser has opened another one."""
    SIGNED_OUT = "signed-out"
    CLOSING = "closing"
    """This process stops; another one takes over."""
    SLOW = "slow"
    """Its reader did not keep up."""
    OLD = "old"
    """It lasted as long as one may."""


@dataclass(frozen=True, slots=True)
class News:
    """What a stream tells: new messages, the oldest first, and how many are unread. `more`: there are others, too."""

    position: UUID
    messages: tuple[InboxMessage, ...]
    unread: int
    more: bool


@dataclass(eq=False, slots=True)
class Stream:
    """Somebody who listens. `since` is up to when all is told; None before the first look."""

    stream_id: UUID
    person_id: PersonId
    session: str
    since: datetime | None
    told: dict[UUID, datetime] = field(default_factory=dict)
    """What was told of the time that the next look goes back to, with when it was written."""
    unread: int | None = None
    end: End | None = None
    _waiting: deque[News] = field(default_factory=deque)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self, *, within_s: float) -> News | None:
        """What is new; None when there is nothing after `within_s` seconds, or when the stream is at its end."""
        if not self._waiting and self.end is None:
            self._ready.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._ready.wait()
            except TimeoutError:
                return None
        return self._waiting.popleft() if self._waiting else None

    def finish(self, end: End) -> None:
        """Let it end, after what waits was told."""
        self.end = self.end or end
        self._ready.set()

    def tell(self, found: Sequence[InboxMessage], *, unread: int, now: datetime) -> None:
        """Take what a look at `now` has found, the oldest first."""
        if self.end is not None:
            return
        more = len(found) >= MOST_TOLD
        first = self.since is None
        fresh = tuple(message for message in found if message.event_id not in self.told)
        kept = {event_id: at for event_id, at in self.told.items() if at > now - OVERLAP}
        self.told = kept | {message.event_id: message.created_at for message in fresh}
        self.since = now
        shown = () if first else fresh
        if not shown and unread == self.unread:
            return
        self.unread = unread
        self._waiting.append(News(position_at(now), shown, unread, more=more and bool(shown)))
        if len(self._waiting) > MOST_WAITING:
            self.finish(End.SLOW)
        self._ready.set()


class Listeners:
    """All streams of a process. `open_listeners` runs it; it belongs to one event loop."""

    def __init__(self, database: Database, settings: Settings, *, valkey: Redis, subscribing: Redis) -> None:
        """`subscribing` waits for hints as long as none come; `valkey` has its usual patience."""
        self._database = database
        self._settings = settings
        self._valkey = valkey
        self._subscribing = subscribing
        self._people: dict[UUID, list[Stream]] = {}
        self._sessions: dict[str, Stream] = {}
        self._count = 0
        self._due: set[Stream] = set()
        self._closing = False
        self._allowed = float(settings.live.opens_per_s)
        self._allowed_at = 0.0
        self._pubsub: PubSub | None = None
        self.wake = asyncio.Event()
        STREAMS.set_function(lambda: self._count)

    @asynccontextmanager
    async def listening(self, *, person_id: PersonId, token: str, position: UUID | None) -> AsyncIterator[Stream]:
        """A stream of somebody's inbox, behind `position` where they were there before; ends an older one of theirs.

        Raises: Overloaded when there are as many as may be, when too many came in the last second, and while the
        process stops.
        """
        if self._closing or self._count >= self._settings.live.max_streams or not self._may_open():
            raise Overloaded()
        session = hashlib.sha256(token.encode()).hexdigest()[:32]
        stream = Stream(new_id(), person_id, session, None if position is None else moment_of(position))
        if (older := self._sessions.get(session)) is not None:
            older.finish(End.REPLACED)
        self._sessions[session] = stream
        self._people.setdefault(person_id, []).append(stream)
        self._count += 1
        self._look_at([stream])
        try:
            await give_hints(self._valkey, [Opened(session, stream.stream_id)])
            yield stream
        finally:
            self._count -= 1
            self._due.discard(stream)
            theirs = self._people[person_id]
            theirs.remove(stream)
            if not theirs:
                del self._people[person_id]
            if self._sessions.get(session) is stream:
                del self._sessions[session]

    @property
    def count(self) -> int:
        """How many streams are open."""
        return self._count

    @property
    def subscribed(self) -> bool:
        """Whether hints come."""
        return self._pubsub is not None and self._pubsub.subscribed

    def close(self) -> None:
        """Let all streams end, and take no more: the process is about to stop."""
        self._closing = True
        for stream in self._all():
            stream.finish(End.CLOSING)

    async def look(self) -> int:
        """Read what is new for those of whom a hint came, or for all, and tell them."""
        if self._due:
            await asyncio.sleep(GATHER_S)
        due = list(self._due) or self._all()
        self._due.clear()
        try:
            while due:
                async with self._database.connection() as conn:
                    await self._tell(conn, due[:LOOKED_AT])
                del due[:LOOKED_AT]
        finally:
            self._due.update(stream for stream in due if stream.end is None)
        return 0

    async def listen(self) -> int:
        """Take hints for a while; over a new subscription everybody is looked after, since hints were missed."""
        if self._pubsub is None:
            self._pubsub = self._subscribing.pubsub()
            await self._pubsub.subscribe(HINTS)
        until = asyncio.get_running_loop().time() + LISTEN_S
        try:
            while (left_s := until - asyncio.get_running_loop().time()) > 0:
                message = await self._pubsub.get_message(timeout=left_s)
                if message is None:
                    continue
                if message["type"] == "message":
                    self._take(message["data"])
                else:
                    self._look_at(self._all())
        except Exception:
            await self.stop_listening()
            raise
        return 1

    async def stop_listening(self) -> None:
        """Give the subscription up."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _may_open(self) -> bool:
        """Whether one more may begin now: to open one costs more than most pages, and selling comes first."""
        now, most = asyncio.get_running_loop().time(), float(self._settings.live.opens_per_s)
        self._allowed = min(self._allowed + (now - self._allowed_at) * most, most)
        self._allowed_at = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _take(self, data: bytes) -> None:
        try:
            hint = DECODER.decode(data)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return  # a newer program's, or somebody else's
        match hint:
            case ForPeople(people):
                self._look_at(stream for person in people for stream in self._people.get(person, ()))
            case ForRange(after, upto):
                inside = (streams for person, streams in self._people.items() if after < person <= upto)
                self._look_at(stream for streams in inside for stream in streams)
            case Opened(session, stream_id):
                mine = self._sessions.get(session)
                if mine is not None and mine.stream_id < stream_id:
                    mine.finish(End.REPLACED)

    def _look_at(self, streams: Iterable[Stream]) -> None:
        self._due.update(streams)
        if self._due:
            self.wake.set()

    def _all(self) -> list[Stream]:
        return [stream for streams in self._people.values() for stream in streams]

    async def _tell(self, conn: Connection, streams: Sequence[Stream]) -> None:
        now = await database_now(conn)
        since: dict[PersonId, datetime] = {}
        for stream in streams:
            since[stream.person_id] = min(_since(stream, now), since.get(stream.person_id, now))
        people = list(since)
        found: dict[UUID, list[InboxMessage]] = {person: [] for person in people}
        rows = await conn.execute(NEWS, (people, list(since.values()), MOST_TOLD))
        for person, *rest in await rows.fetchall():
            found[person].append(as_shown(rest))
        rows = await conn.execute(UNREAD, (MOST_COUNTED, people))
        unread: dict[UUID, int] = dict(await rows.fetchall())
        for stream in streams:
            after = _since(stream, now)
            stream.tell(
                [message for message in found[stream.person_id] if message.created_at > after],
                unread=unread[stream.person_id],
                now=now,
            )


@asynccontextmanager
async def open_listeners(database: Database, settings: Settings, *, valkey: Redis) -> AsyncIterator[Listeners]:
    """The streams of a process, with what tells them of news: one subscription and one look for all of them."""
    timeout_s = settings.cache.timeout_ms / 1000
    subscribing: Redis = Redis.from_url(
        settings.require_valkey_url(),
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        health_check_interval=LISTEN_S / 2,
    )
    listeners = Listeners(database, settings, valkey=valkey, subscribing=subscribing)
    stop = asyncio.Event()
    loops = [
        Loop("inbox.hints", listeners.listen, pause_s=1.0),
        Loop("inbox.look", listeners.look, pause_s=float(settings.live.look_s), wake=listeners.wake),
    ]
    running = asyncio.create_task(run_loops(loops, stop=stop, grace_s=0))
    try:
        yield listeners
    finally:
        listeners.close()
        stop.set()
        await running
        await listeners.stop_listening()
        await subscribing.aclose()


def position_at(moment: datetime) -> UUID:
    """A UUIDv7 of a moment."""
    return UUID(int=id_floor(moment).int | (new_id().int & ((1 << 80) - 1)))


def moment_of(position: UUID) -> datetime:
    """The moment of a UUIDv7, to the millisecond before it."""
    milliseconds = min(position.int >> 80, LATEST_MS)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


LATEST_MS: Final = 253_370_764_800_000
"""The year 9999: what a forged position cannot be behind."""


def spread_ms(settings: Settings) -> int:
    """When a browser whose stream ended comes back, in milliseconds: not all at once."""
    return int(settings.live.retry_ms * (0.5 + random.random()))  # noqa: S311 - no secret


def _since(stream: Stream, now: datetime) -> datetime:
    return (now if stream.since is None else min(stream.since, now)) - OVERLAP

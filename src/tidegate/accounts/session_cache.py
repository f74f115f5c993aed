"""Sessions as a process looks them up, many at a time, in Valkey first and then in the database; and new guests'.

Requests that arrive while the previous look-up runs form the next one: one round trip to Valkey for all of them, and
one query for those that Valkey does not know, however cold it is. Valkey keeps the hash of a token, never the token.

Guests are made many at a time as well, in one transaction: when a sale begins, most who come are new. Valkey knows them
at once.

PostgreSQL is the record. While Valkey is away every batch asks the database, and nobody's requests are counted. A
session that is ended while Valkey is away may be used for up to `accounts.session_cache_s` if Valkey comes back with
its memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

import structlog
from redis.asyncio import Redis

from tidegate.accounts.contracts import Person, Role, SignedIn
from tidegate.accounts.sessions import LiveSession, end_sessions, find_sessions, make_guests, token_hash
from tidegate.platform.attempts import FULL_FOR, Bucket, Limit
from tidegate.platform.batcher import Batcher
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import TooManyRequests
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _
from tidegate.platform.valkey import OUTAGE, Script, ScriptLine

log = structlog.get_logger("tidegate.sessions")

SESSION_KEY, COUNT_KEY = b"session:", b"session-requests:"

WINDOW_S = 60
"""Requests are counted per session for so long from the first on."""

TOMBSTONE_S = 60
"""An ended session is remembered for so much longer than a live one: any look-up begun before has ended by then."""

ENDED = b"-" * 17
"""In place of a session that was ended."""

ROLES = {role.value[0].encode(): role for role in Role}
"""A session is kept as its role's first letter and the 16 bytes of the person's id."""

RECORD = 17
WAIT_DIGITS = 4
FULL_DIGITS = 10

ASK = Script(f"""{FULL_FOR}
-- KEYS: sessions, those whose request counts first; then a counter for each of these; then buckets of other limits.
-- ARGV: how many sessions, how many count, requests allowed in a window, seconds of a window; what each bucket holds.
-- Answers 21 bytes a session: what is kept of it (or ?), and how many seconds its next request must wait; then
-- 10 a bucket: for how many seconds it is full.
local sessions, counted, allowed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found = redis.call('MGET', unpack(KEYS, 1, sessions))
local answer = {{}}
for i = 1, sessions do
    local kept, wait = found[i], 0
    if not kept or #kept ~= 17 then kept = string.rep('?', 17) end
    if i <= counted and string.find(kept, '^[acgs]') then
        local count = redis.call('INCR', KEYS[sessions + i])
        if count == 1 then redis.call('EXPIRE', KEYS[sessions + i], ARGV[4]) end
        if count > allowed then wait = math.max(redis.call('TTL', KEYS[sessions + i]), 1) end
    end
    answer[i] = kept .. string.format('%04d', wait)
end
for i = sessions + counted + 1, #KEYS do
    answer[#answer + 1] = string.format('%010d', full_for(KEYS[i], ARGV[i - sessions - counted + 4]))
end
return table.concat(answer)
""")

KEEP = Script("""
-- KEYS: sessions; then counters of those whose request counts.
-- ARGV: how many sessions, seconds of a window; then what to keep of each session and for how many milliseconds.
local sessions = tonumber(ARGV[1])
for i = 1, sessions do
    redis.call('SET', KEYS[i], ARGV[2 * i + 1], 'NX', 'PX', ARGV[2 * i + 2])
end
for i = sessions + 1, #KEYS do
    if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], ARGV[2]) end
end
return 0
""")


class _Asked(NamedTuple):
    hash: bytes
    counts: bool
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """Whose session it is, None for nobody's; and how long the request must wait, 0 s if not at all.

    `full_s`: for how long one of the buckets that were asked for is full.
    """

    person: Person | None
    wait_s: int = 0
    full_s: int = 0


NOBODY = _Found(None)


class Sessions:
    """The sessions as this process looks them up. Belongs to one event loop; see `open_sessions`."""

    def __init__(self, database: Database, settings: Settings, *, valkey: Redis) -> None:
        self._database = database
        self._valkey = valkey
        self._keep_ms = settings.accounts.session_cache_s * 1000
        self._allowed = settings.accounts.purchase_requests_per_minute
        self._line = _open_line(settings, "sessions", ASK, KEEP)
        limits = settings.engine
        self._batches: Batcher[_Asked, _Found] = Batcher(
            self._run, name="sessions", limits=limits, apart_ms=limits.lookups_apart_ms
        )
        self._session_days = settings.accounts.session_days
        self._guests: Batcher[None, SignedIn] = Batcher(self._make_guests, name="guests", limits=limits)
        self._guest_line = _open_line(settings, "guests", KEEP)

    def start(self) -> None:
        """Begin to look up. Call inside the event loop."""
        self._batches.start()
        self._guests.start()

    async def close(self) -> None:
        """Answer those who wait, and end."""
        await self._guests.drain()
        await self._batches.drain()
        await self._guest_line.close()
        await self._line.close()

    async def make_guest(self) -> SignedIn:
        """A new guest with a session. Raises: Overloaded; what the database raises when it is away."""
        return await self._guests.submit(None)

    async def find(self, token: str) -> Person | None:
        """Whose session this is, or None. Raises: Overloaded; what the database raises when it is away."""
        return (await self._batches.submit(_Asked(token_hash(token), counts=False))).person

    async def find_buyer(self, token: str, within: Limit | None = None) -> Person | None:
        """The same for a request that buys, which counts towards `accounts.purchase_requests_per_minute`.

        `within` is looked at in the same round trip; nothing is counted towards it.
        Raises: TooManyRequests. The limits fail open: while Valkey is away, requests are not counted.
        """
        buckets = () if within is None else within.buckets
        found = await self._batches.submit(_Asked(token_hash(token), self._allowed > 0, buckets))
        if found.wait_s:
            raise TooManyRequests(
                _(
                    "Too many purchases in a short time. Nothing was changed; try again in %(wait_s)s seconds.",
                    wait_s=found.wait_s,
                ),
                retry_after_s=found.wait_s,
            )
        if within is not None and found.person is not None:
            within.refuse(found.full_s)
        return found.person

    async def end(self, token: str) -> None:
        """End a session. Ending one that is not there is no error.

        The mark in Valkey comes first, so that whoever looks the session up meanwhile cannot put it back.
        """
        await self.end_hashes([token_hash(token)])

    async def end_hashes(self, token_hashes: Sequence[bytes]) -> None:
        """The same for several sessions, by the hashes of their tokens."""
        seconds = self._keep_ms // 1000 + TOMBSTONE_S
        try:
            async with self._valkey.pipeline(transaction=False) as line:
                for hashed in token_hashes:
                    await line.set(SESSION_KEY + hashed, ENDED, ex=seconds)
                await line.execute()
        except OUTAGE as error:
            log.warning("session_end_not_marked", error=type(error).__name__)
        async with self._database.transaction() as conn:
            await end_sessions(conn, token_hashes=token_hashes)

    async def _make_guests(self, batch: Sequence[None]) -> list[SignedIn]:
        async with self._database.transaction() as conn:
            made = await make_guests(conn, count=len(batch), session_days=self._session_days)
        with suppress(*OUTAGE):
            arguments = [b"%d" % len(made), b"%d" % WINDOW_S]
            for each in made:
                arguments += [kept_record(each.person), b"%d" % self._keep_ms]
            await self._guest_line.ask(KEEP, [SESSION_KEY + token_hash(each.token) for each in made], arguments)
        return made

    async def _run(self, batch: Sequence[_Asked]) -> list[_Found | Exception]:
        known, full_s = await self._ask_valkey(batch)
        answers = await self._complete(batch, known)
        for place, seconds in full_s.items():
            answer = answers[place]
            if isinstance(answer, _Found):
                answers[place] = replace(answer, full_s=seconds)
        return answers

    async def _complete(self, batch: Sequence[_Asked], known: Sequence[_Found | None]) -> list[_Found | Exception]:
        """What Valkey knew, and what the database says of the others."""
        missing = {asked.hash for asked, found in zip(batch, known, strict=True) if found is None}
        if not missing:
            return [found or NOBODY for found in known]
        loaded: Mapping[bytes, LiveSession] = {}
        otherwise: _Found | Exception = NOBODY
        try:
            async with self._database.connection() as conn:
                loaded = await find_sessions(conn, token_hashes=list(missing))
        except Exception as error:
            otherwise = error  # for those alone whom Valkey does not know
        if loaded:
            await self._keep(loaded, [asked.hash for asked in batch if asked.counts and asked.hash in loaded])
        return [
            found or (_Found(loaded[asked.hash].person) if asked.hash in loaded else otherwise)
            for asked, found in zip(batch, known, strict=True)
        ]

    async def _ask_valkey(self, batch: Sequence[_Asked]) -> tuple[list[_Found | None], dict[int, int]]:
        """What Valkey knows of each, None for those that the database must be asked for.

        And where a bucket is full: for how many seconds, by place.
        """
        order = sorted(range(len(batch)), key=lambda place: not batch[place].counts)
        counted = sum(asked.counts for asked in batch)
        keys = [SESSION_KEY + batch[place].hash for place in order]
        keys += [COUNT_KEY + batch[place].hash for place in order[:counted]]
        buckets = [(place, bucket) for place in order for bucket in batch[place].buckets]
        keys += [bucket.key.encode() for place, bucket in buckets]
        numbers = (len(batch), counted, self._allowed, WINDOW_S, *(bucket.most for place, bucket in buckets))
        try:
            answer: bytes = await self._line.ask(ASK, keys, [b"%d" % number for number in numbers])
        except OUTAGE:
            return [None] * len(batch), {}
        found: list[_Found | None] = [None] * len(batch)
        width = RECORD + WAIT_DIGITS
        for number, place in enumerate(order):
            found[place] = _read(answer[number * width : (number + 1) * width])
        full_s: dict[int, int] = {}
        for number, (place, _bucket) in enumerate(buckets):
            began = len(batch) * width + number * FULL_DIGITS
            if seconds := int(answer[began : began + FULL_DIGITS]):
                full_s[place] = max(seconds, full_s.get(place, 0))
        return found, full_s

    async def _keep(self, loaded: Mapping[bytes, LiveSession], counted: Iterable[bytes]) -> None:
        """Let Valkey know what was loaded, without waiting for it, and count the requests that it did not know."""
        keys = [SESSION_KEY + hashed for hashed in loaded]
        keys += [COUNT_KEY + hashed for hashed in counted]
        arguments = [b"%d" % len(loaded), b"%d" % WINDOW_S]
        for session in loaded.values():
            arguments += [
                kept_record(session.person),
                b"%d" % max(1, min(self._keep_ms, session.left_ms)),
            ]
        await self._line.tell(KEEP, keys, arguments)


@asynccontextmanager
async def open_sessions(database: Database, settings: Settings, *, valkey: Redis) -> AsyncIterator[Sessions]:
    """`Sessions` for the length of a block."""
    sessions = Sessions(database, settings, valkey=valkey)
    sessions.start()
    try:
        yield sessions
    finally:
        await sessions.close()


def _open_line(settings: Settings, name: str, *scripts: Script) -> ScriptLine:
    timeout_s = settings.accounts.session_cache_timeout_ms / 1000
    return ScriptLine(settings.require_valkey_url(), scripts=scripts, timeout_s=timeout_s, name=name)


def kept_record(person: Person) -> bytes:
    """What Valkey keeps of a person's session."""
    return person.role.value[0].encode() + person.id.bytes


def _read(record: bytes) -> _Found | None:
    """One session of ASK's answer; None when it is not one that can be read."""
    if record[:RECORD] == ENDED:
        return NOBODY
    role = ROLES.get(record[:1])
    if role is None:
        return None
    return _Found(Person(PersonId(UUID(bytes=record[1:RECORD])), role), wait_s=int(record[RECORD:]))

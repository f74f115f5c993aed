"""Hints over Valkey that something is new in inboxes, for the site processes where somebody listens (`live`).

A hint carries no message: whoever gets one looks into the database. So a lost hint costs time, never a message, and a
send of a million needs a hint per shard ("the recipients from here to there"), not one per recipient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog
from redis.asyncio import Redis

from tidegate.platform.settings import Settings
from tidegate.platform.valkey import OUTAGE

log = structlog.get_logger(__name__)

HINTS: Final = "tidegate:inbox"
"""The one channel (of Valkey's pub/sub) to which every site process listens."""

MOST_NAMED: Final = 500
"""Most people that one hint names."""


class ForPeople(msgspec.Struct, frozen=True, tag="people"):
    """Something is new for each of these."""

    people: list[UUID]


class ForRange(msgspec.Struct, frozen=True, tag="range"):
    """Something is new for people behind `after` up to `upto`."""

    after: UUID
    upto: UUID


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A session (by the hash of its token) has opened a stream: older ones of it end."""

    session: str
    stream: UUID


Hint = ForPeople | ForRange | Opened
DECODER: Final = msgspec.json.Decoder(Hint)


async def give_hints(valkey: Redis, hints: Sequence[Hint]) -> None:
    """Tell every site process. Fails silently: they look from time to time anyhow."""
    try:
        for hint in hints:
            await valkey.publish(HINTS, msgspec.json.encode(hint))
    except OUTAGE as error:
        log.warning("nobody is told at once of new messages", error=type(error).__name__)


async def hint_people(valkey: Redis, people: Sequence[UUID]) -> None:
    """Say that something is new for these."""
    await give_hints(
        valkey, [ForPeople(list(people[at : at + MOST_NAMED])) for at in range(0, len(people), MOST_NAMED)]
    )


async def hint_from_worker(
    settings: Settings, *, people: Sequence[UUID] = (), between: tuple[UUID, UUID] | None = None
) -> None:
    """Say that something is new for these people, or for those behind the first id up to the second; after the commit.

    It opens a connection of its own, once per batch or shard, and a plain one: the client's greetings (protocol 3, its
    name and version) would cost four times as much as the hint.
    """
    timeout_s = settings.cache.timeout_ms / 1000
    valkey: Redis = Redis.from_url(
        settings.require_valkey_url(),
        protocol=2,
        driver_info=None,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=None,
    )
    try:
        await hint_people(valkey, people)
        await give_hints(valkey, [] if between is None else [ForRange(*between)])
    finally:
        await valkey.aclose()

"""Finished answers that a process keeps: pages with gaps for what differs between visitors, and API answers.

An answer is kept together with what it was made from: a revision, stock, and a moment until which it is true. Somebody
else (the storefront) watches those and says so here. Everything is bounded by bytes; what was not asked for the longest
goes first.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from prometheus_client import Counter

from tidegate.platform.database import OUTAGE
from tidegate.platform.failures import outcome_of
from tidegate.platform.ids import VariantId
from tidegate.platform.problems import Overloaded

FOUND = Counter("tidegate_kept_answers", "Requests for answers that may be kept, by whether one was there.", ["found"])
OUTDATED = FOUND.labels("outdated")
HIT, MISS = FOUND.labels("yes"), FOUND.labels("no")

PATIENCE_S = 1.0
"""Longest that a visitor waits for an answer to be made anew, where an older one is at hand."""

AT_ONCE_S = 1.0
"""For so long after other stock was seen, others get the answer from before while it is made anew for one of them."""

AWAY = (*OUTAGE, Overloaded, TimeoutError, OSError)
"""What is raised where an answer cannot be made since the database is away or has too much to do."""

ENTRY_BYTES = 1_000
"""What an entry is counted with beyond its text."""

MAX_QUERY_BYTES = 1_000
"""Answers to longer queries are not kept."""

Key = tuple[str, bytes, str]
"""Path, query as it was sent, and locale (empty for the API)."""


@dataclass(frozen=True, slots=True)
class Level:
    """Stock of a variant as an answer shows it."""

    available: int
    held: int | None = None
    """None where the answer does not tell."""
    up_to: int | None = None
    """So many items and all that are more look the same; None where each item is counted."""

    def looks_like(self, available: int, held: int) -> bool:
        """Whether the answer would be the same with this stock."""
        if self.held is not None and self.held != held:
            return False
        if self.up_to is not None:
            return min(self.available, self.up_to) == min(available, self.up_to)
        return self.available == available


class Gap(StrEnum):
    """What differs between visitors, or from one second to the next."""

    NOW = "now"
    """The server's clock."""
    TOKEN = "token"  # noqa: S105 - the name of a place
    """A form's token."""
    KEEPING = "keeping"
    """What the visitor holds."""
    INBOX = "inbox"
    """The link to the visitor's messages."""
    RELOAD = "reload"
    """Seconds until a browser without scripts should look again."""
    STRANGERS = "strangers"
    """An attribute that hides, from all who have signed in to an account, what is for those who have not."""
    ACCOUNTS = "accounts"
    """The same the other way round."""
    LEFT = "left"
    """How many items of a drop are left, which changes all the time while it sells."""
    BUYERS = "buyers"
    """One that hides what only an account may do from those who have none; whoever is unknown may try it."""


_NONCE = secrets.token_hex(16)
MARKS = {gap: f"gap-{_NONCE}-{gap}" for gap in Gap}
"""How a gap is written while a page is rendered: nobody outside this process can write one."""

_MARK = re.compile(f"gap-{_NONCE}-({'|'.join(Gap)})".encode())


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What an answer was made from; it is true while all of that is."""

    revision: int
    """The catalogue's, as the reads behind the answer saw it."""
    stock: Mapping[VariantId, Level] = field(default_factory=dict)
    counted: tuple[VariantId, ...] = ()
    """Of these the items are counted in the gap `LEFT`; they are among `stock`."""
    until_s: float = inf
    """The moment by `time.monotonic` when it changes by itself."""
    strangers_only: bool = False
    """Whether people with a session may get something else."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A finished answer. Its parts are text, and gaps to be filled."""

    parts: tuple[bytes | Gap, ...]
    gaps: frozenset[Gap]
    tag: str
    """Of its text; what is in the gaps is not in it."""
    ticking: bool
    """Whether it shows time that runs, so that an old copy will not do."""
    made_from: MadeFrom
    route: str
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return ENTRY_BYTES + sum(len(part) for part in self.parts) + 100 * len(self.made_from.stock)


def make_kept(body: bytes, made_from: MadeFrom, *, route: str, headers: tuple[tuple[bytes, bytes], ...]) -> Kept:
    """Cut a rendered page at its marks."""
    pieces: list[bytes | Gap] = []
    for place, piece in enumerate(_MARK.split(body)):
        pieces.append(Gap(piece.decode()) if place % 2 else piece)
    gaps = frozenset(piece for piece in pieces if isinstance(piece, Gap))
    digest = hashlib.blake2b(digest_size=12)
    for piece in pieces:
        digest.update(piece.encode() if isinstance(piece, Gap) else piece)
    ticking = Gap.RELOAD in gaps or (Gap.NOW in gaps and b"countdown" in body)
    return Kept(tuple(pieces), gaps, digest.hexdigest(), ticking, made_from, route, headers)


def fill(kept: Kept, values: Mapping[Gap, bytes]) -> bytes:
    """The answer with its gaps filled; a gap without a value stays empty."""
    return b"".join([values.get(part, b"") if isinstance(part, Gap) else part for part in kept.parts])


class Answers:
    """The kept answers of this process: at most `max_bytes`, behind which at most `max_variants` are watched."""

    def __init__(
        self,
        *,
        max_bytes: int,
        max_variants: int,
        stale_s: float = inf,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stale_s`: how long what is kept is shown while the database is away."""
        self._stale_s = stale_s
        self._away_s: float | None = None
        self._max_bytes = max_bytes
        self._max_variants = max_variants
        self._now_s = now_s
        self._entries: OrderedDict[Key, Kept] = OrderedDict()
        self._by_variant: dict[VariantId, set[Key]] = {}
        self._available: dict[VariantId, int] = {}
        """Items of variants, as last seen while they were watched: an answer from before is shown with these."""
        self._bytes = 0
        self._last: OrderedDict[Key, tuple[Kept, float]] = OrderedDict()
        self._making: dict[Key, asyncio.Task[Kept]] = {}
        self.revision: int | None = None
        """The catalogue's, as it was last heard of; None while it is not known, and then nothing new is kept."""

    @property
    def connected(self) -> bool:
        """Whether changes are heard of. While they are not, the database is away: what is kept is shown on."""
        return self._away_s is None

    @connected.setter
    def connected(self, is_connected: bool) -> None:
        if is_connected:
            self._away_s = None
        elif self._away_s is None:
            self._away_s = self._now_s()

    @property
    def bytes(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key) -> Kept | None:
        """The answer that is kept for `key`, if it is still true."""
        kept = self._entries.get(key)
        if kept is None or self._away_too_long():
            return None
        if kept.made_from.until_s <= self._now_s() and self.connected:
            self._outdate(key)
            return None
        self._entries.move_to_end(key)
        HIT.inc()
        return kept

    def at_once(self, key: Key) -> Kept | None:
        """The answer for `key` that nobody has to wait for: the true one, or while that is made, the one before.

        While stock changes all the time, as in a sale, all would else wait for a page again and again.
        """
        kept = self.find(key)
        if kept is None and key in self._making:
            kept = self._true_just_now(key)
        return kept

    async def get(self, key: Key, make: Callable[[], Awaitable[Kept]], *, alone: bool = False) -> Kept:
        """The answer for `key`; made once for all who wait for it, or for the caller `alone`.

        Whoever comes while it is made gets the one that was true until a moment ago, if there is one. Where it cannot
        be made, or not within PATIENCE_S, it is the last one that was true: what a shop has is worth more to a visitor
        than an error, and what they buy is decided elsewhere. One that a moment ended is waited for longer, while the
        database is there.
        Raises: what `make` raises.
        """
        if not self._max_bytes or len(key[1]) > MAX_QUERY_BYTES:
            return await make()
        if (kept := self.find(key)) is not None:
            return kept
        MISS.inc()
        task = None if alone else self._making.get(key)
        if task is not None and (just_now := self._true_just_now(key)) is not None:
            return just_now
        if task is None:
            task = asyncio.create_task(self._make(key, make))
            self._making[key] = task
            task.add_done_callback(lambda done: self._made(key, done))
        if alone or self._away_too_long() or key not in self._last:
            return await outcome_of(task)
        last, _since_s = self._last[key]
        over = last.made_from.until_s <= self._now_s()  # a drop opened: that is worth waiting for
        await asyncio.wait([task], timeout=PATIENCE_S)
        while over and self.connected and not task.done():
            await asyncio.wait([task], timeout=PATIENCE_S)
        if not task.done() or (not task.cancelled() and isinstance(task.exception(), AWAY)):
            OUTDATED.inc()
            return last
        return await outcome_of(task)

    def heard(self, revision: int | None) -> None:
        """The catalogue has this revision now; None: it has changed, and the revision is being asked for."""
        if revision is None or revision != self.revision:
            self._entries.clear()
            self._by_variant.clear()
            self._available.clear()
            self._last.clear()  # what the catalogue says now may be meant never to be seen again
            self._bytes = 0
            self._making.clear()  # whoever comes now does not join what was begun before
        self.revision = revision

    def watched(self) -> list[VariantId]:
        """The variants whose stock is behind what is kept."""
        return list(self._by_variant)

    def stock_is(self, levels: Mapping[VariantId, tuple[int, int]]) -> None:
        """Forget what shows another stock than this: items available and held."""
        for variant, (available, held) in levels.items():
            if variant in self._by_variant:
                self._available[variant] = available
            for key in tuple(self._by_variant.get(variant, ())):
                if not self._entries[key].made_from.stock[variant].looks_like(available, held):
                    self._outdate(key)

    def left_of(self, kept: Kept) -> int:
        """Items left of what an answer counts, as last seen."""
        source = kept.made_from
        return sum(self._available.get(each, source.stock[each].available) for each in source.counted)

    async def _make(self, key: Key, make: Callable[[], Awaitable[Kept]]) -> Kept:
        kept = await make()
        if kept.made_from.revision == self.revision:
            self._put(key, kept)
        return kept

    def _made(self, key: Key, task: asyncio.Task[Kept]) -> None:
        if self._making.get(key) is task:
            del self._making[key]
        if not task.cancelled():
            task.exception()  # whoever waited was told; if nobody is left, nobody needs to be

    def _put(self, key: Key, kept: Kept) -> None:
        self._drop(key)
        self._forget_last(key)
        self._entries[key] = kept
        self._bytes += kept.size
        for variant, level in kept.made_from.stock.items():
            self._by_variant.setdefault(variant, set()).add(key)
            self._available[variant] = level.available
        if len(self._available) > 2 * self._max_variants:
            self._available = {each: self._available[each] for each in self._by_variant}
        while self._last and self._bytes > self._max_bytes:
            self._forget_last(next(iter(self._last)))
        while self._entries and (self._bytes > self._max_bytes or len(self._by_variant) > self._max_variants):
            self._drop(next(iter(self._entries)))

    def _true_just_now(self, key: Key) -> Kept | None:
        """What was kept for `key` until other stock was seen, for AT_ONCE_S; not what a moment has ended."""
        kept, since_s = self._last.get(key, (None, 0.0))
        now_s = self._now_s()
        if kept is None or now_s - since_s >= AT_ONCE_S or kept.made_from.until_s <= now_s or self._away_too_long():
            return None
        OUTDATED.inc()
        return kept

    def _away_too_long(self) -> bool:
        """Whether the database is away for longer than what is kept may be shown."""
        return self._away_s is not None and self._now_s() - self._away_s > self._stale_s

    def _outdate(self, key: Key) -> None:
        """It is not true any more: it is only for the case that no other can be made."""
        kept = self._entries.get(key)
        self._drop(key)
        if kept is not None:
            self._last[key] = (kept, self._now_s())
            self._bytes += kept.size

    def _forget_last(self, key: Key) -> None:
        if key in self._last:
            last, _since_s = self._last.pop(key)
            self._bytes -= last.size

    def _drop(self, key: Key) -> None:
        kept = self._entries.pop(key, None)
        if kept is None:
            return
        self._bytes -= kept.size
        for variant in kept.made_from.stock:
            keys = self._by_variant[variant]
            keys.discard(key)
            if not keys:
                del self._by_variant[variant]

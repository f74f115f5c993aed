"""A limit to guessing discount codes: wrong ones per session and per network. Who has no code is not asked anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tidegate import catalog
from tidegate.catalog import Snapshot, clean_code
from tidegate.checkout.shop import Shop
from tidegate.platform.attempts import FULL_FOR, Limit, buckets_of
from tidegate.platform.batcher import Batcher
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings
from tidegate.platform.texts import plural
from tidegate.platform.valkey import OUTAGE, Script, ScriptLine

JUDGE = Script(f"""{FULL_FOR}
-- KEYS: the buckets of all guesses, in order of arrival.
-- ARGV: how many guesses, seconds of a window; then of each guess: how many buckets, 1 if it is wrong, what each holds.
-- Answers for how many seconds each is refused, 0 for not at all. What is refused is not counted.
local answer, bucket, at = {{}}, 0, 3
for guess = 1, tonumber(ARGV[1]) do
    local buckets, wait = tonumber(ARGV[at]), 0
    for i = 1, buckets do wait = math.max(wait, full_for(KEYS[bucket + i], ARGV[at + 1 + i])) end
    if wait == 0 and ARGV[at + 1] == '1' then
        for i = 1, buckets do
            local key = KEYS[bucket + i]
            if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, ARGV[2]) end
        end
    end
    answer[guess], bucket, at = wait, bucket + buckets, at + 2 + buckets
end
return answer
""")


class Guess(NamedTuple):
    """A code as it was sent, cleaned, and what its sender is held to."""

    code: str
    limit: Limit


def guess_of(shop: Shop, code: str | None, *, session: str, address: str) -> Guess | None:
    """What came with a request; None without a code. `session` is its token, `address` its network address.

    While a bucket of the limit is full, right codes are refused as well, so that nobody learns which they are; buying
    without a code goes on. Hot routes hand the limit to `require_buyer`, which looks at it in the round trip that finds
    the session.
    """
    if not code:
        return None
    limits = shop.settings.carts
    buckets = buckets_of(
        "code",
        who=session,
        address=address,
        most=limits.code_guesses,
        most_per_network=limits.code_guesses_per_network,
    )
    return Guess(clean_code(code), Limit(buckets, _words))


class Codes:
    """Judges codes in one process, many at a time: one query and one round trip to Valkey for all that came meanwhile.

    They are judged in order of arrival, so that codes sent at once cannot slip past together: beyond the limit a right
    one is refused like the wrong ones around it. Right codes, which everybody may send at once when a sale begins,
    count for nothing. Fails open while Valkey is away.
    """

    def __init__(self, database: Database, settings: Settings, snapshot: Snapshot) -> None:
        self._database = database
        self._snapshot = snapshot
        self._window_s = settings.carts.code_window_s
        self._line = ScriptLine(
            settings.require_valkey_url(), scripts=(JUDGE,), timeout_s=settings.cache.timeout_ms / 1000, name="codes"
        )
        self._batches: Batcher[Guess, int] = Batcher(self._judge, name="codes", limits=settings.engine)
        self._unjudged: Counter[str] = Counter()
        """Guesses that wait, by the keys of their buckets."""

    def start(self) -> None:
        """Begin to judge. Call inside the event loop."""
        self._batches.start()

    async def close(self) -> None:
        """Answer those who wait, and end."""
        await self._batches.drain()
        await self._line.close()

    async def admit(self, guess: Guess | None, *, looked: bool = False) -> None:
        """Count a code that does not exist. Raises: TooManyRequests, also for right ones once too many were wrong.

        With `looked` the caller has just looked at the limit: then a code that this process has seen lately costs no
        question, unless codes of the same session or network are still to be judged. That look may be older than what
        another process has counted since, by the time that a session takes to be found.
        """
        if guess is None:
            return
        keys = [bucket.key for bucket in guess.limit.buckets]
        if looked and self._snapshot.knows_code(guess.code) and not any(self._unjudged[key] for key in keys):
            return
        self._unjudged.update(keys)
        try:
            wait_s = await self._batches.submit(guess)
        finally:
            self._unjudged.subtract(keys)
            for key in keys:
                if not self._unjudged[key]:
                    del self._unjudged[key]
        guess.limit.refuse(wait_s)

    async def _judge(self, guesses: Sequence[Guess]) -> list[int | Exception]:
        unseen = {guess.code for guess in guesses if not self._snapshot.knows_code(guess.code)}
        wrong: Collection[str] = ()
        failed: Exception | None = None  # for those alone whose codes this process does not know
        if unseen:
            try:
                async with self._database.connection() as conn:
                    wrong = unseen - (await catalog.voucher_terms(conn, codes=list(unseen))).keys()
            except Exception as error:
                failed = error
        to_judge = [guess for guess in guesses if failed is None or guess.code not in unseen]
        waits = iter(await self._waits(to_judge, wrong))
        return [failed if failed is not None and guess.code in unseen else next(waits) for guess in guesses]

    async def _waits(self, guesses: Sequence[Guess], wrong: Collection[str]) -> list[int]:
        """For how many seconds each is refused, 0 for not at all; `wrong` ones are counted."""
        if not guesses:
            return []
        keys: list[bytes] = []
        arguments = [b"%d" % len(guesses), b"%d" % self._window_s]
        for guess in guesses:
            buckets = guess.limit.buckets
            keys += [bucket.key.encode() for bucket in buckets]
            arguments += [b"%d" % number for number in (len(buckets), guess.code in wrong)]
            arguments += [b"%d" % bucket.most for bucket in buckets]
        try:
            return list(await self._line.ask(JUDGE, keys, arguments))
        except OUTAGE:
            return [0] * len(guesses)


def _words(seconds: int) -> str:
    return plural(
        "Too many codes that do not exist were tried. Try again in %(num)s minute, or order without a code.",
        "Too many codes that do not exist were tried. Try again in %(num)s minutes, or order without a code.",
        (seconds + 59) // 60,
    )

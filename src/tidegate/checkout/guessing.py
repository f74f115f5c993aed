"""A limit to guessing discount codes: wrong ones per session and per network. Who has no code is not asked anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tidegate import catalog
from tidegate.catalog import clean_code
from tidegate.checkout.shop import Shop
from tidegate.platform.attempts import Limit, buckets_of
from tidegate.platform.batcher import Batcher
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings
from tidegate.platform.texts import plural

Result = TypeVar("Result")


def code_limit(shop: Shop, code: str | None, *, session: str, address: str) -> Limit | None:
    """What a request with a code is held to: of its session (the token) and of its network; None without a code.

    While it is full, right codes are refused as well, so that nobody learns which they are; buying without a code goes
    on. A hot route hands it to `require_buyer`, which looks at it in the round trip that finds the session.
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
    return Limit(buckets, _words)


async def with_code(
    shop: Shop, work: Callable[[], Awaitable[Result]], *, code: str | None, limit: Limit | None
) -> Result:
    """Do what needs a code, within the limit that `code_limit` gave, which the caller has looked at.

    A code that does not exist is counted first. Whether it does is known here beforehand, so that codes sent at once
    cannot slip past together, and right ones, which everybody may send at once when a sale begins, count for nothing.
    Fails open without Valkey. Raises: TooManyRequests; what `work` raises.
    """
    if code and limit is not None and not await _exists(shop, code):
        await shop.attempts.count(limit.buckets, window_s=shop.settings.carts.code_window_s, words=limit.words)
    return await work()


async def with_checked_code(
    shop: Shop, work: Callable[[], Awaitable[Result]], *, code: str | None, session: str, address: str
) -> Result:
    """The same where nobody has looked at the limit. Raises: TooManyRequests; what `work` raises."""
    limit = code_limit(shop, code, session=session, address=address)
    if limit is not None:
        await shop.attempts.check(limit.buckets, words=limit.words)
    return await with_code(shop, work, code=code, limit=limit)


def make_codes(database: Database, settings: Settings) -> Batcher[str, bool]:
    """Whether codes exist, by the database: many are asked for at once, as when a sale with a code begins."""

    async def exist(codes: Sequence[str]) -> list[bool]:
        async with database.connection() as conn:
            found = await catalog.voucher_terms(conn, codes=codes)
        return [code in found for code in codes]

    return Batcher(exist, name="codes", limits=settings.engine)


async def _exists(shop: Shop, code: str) -> bool:
    """Whether there is such a code; what this process has seen lately costs no question to the database."""
    cleaned = clean_code(code)
    return shop.desk.snapshot.knows_code(cleaned) or await shop.codes.submit(cleaned)


def _words(seconds: int) -> str:
    return plural(
        "Too many codes that do not exist were tried. Try again in %(num)s minute, or order without a code.",
        "Too many codes that do not exist were tried. Try again in %(num)s minutes, or order without a code.",
        (seconds + 59) // 60,
    )

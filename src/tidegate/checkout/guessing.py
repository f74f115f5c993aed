"""A limit to guessing discount codes: wrong ones per buyer and per network. Who has no code is not asked anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tidegate import catalog
from tidegate.catalog import clean_code
from tidegate.checkout.shop import Shop
from tidegate.platform.attempts import buckets_of
from tidegate.platform.ids import PersonId
from tidegate.platform.texts import plural

Result = TypeVar("Result")


async def with_code(
    shop: Shop, work: Callable[[], Awaitable[Result]], *, code: str | None, buyer_id: PersonId, address: str
) -> Result:
    """Do what needs a code; a code that does not exist is counted first. `address` is the buyer's network address.

    Whether it exists is known here beforehand, so that codes sent at once cannot slip past together, and right ones,
    which everybody may send at once when a sale begins, count for nothing. Once too many were wrong, right ones are
    refused as well, so that nobody learns which they are; buying without a code goes on. Fails open without Valkey.
    Raises: TooManyRequests; what `work` raises.
    """
    if not code:
        return await work()
    limits = shop.settings.carts
    buckets = buckets_of(
        "code",
        who=str(buyer_id),
        address=address,
        most=limits.code_guesses,
        most_per_network=limits.code_guesses_per_network,
    )
    if await _exists(shop, code):
        await shop.attempts.check(buckets, words=_words)
    else:
        await shop.attempts.count(buckets, window_s=limits.code_window_s, words=_words)
    return await work()


async def _exists(shop: Shop, code: str) -> bool:
    """Whether there is such a code; what this process has seen lately costs no question to the database."""
    if shop.desk.snapshot.knows_code(clean_code(code)):
        return True
    async with shop.database.connection() as conn:
        return await catalog.find_voucher(conn, code=code) is not None


def _words(seconds: int) -> str:
    return plural(
        "Too many codes that do not exist were tried. Try again in %(num)s minute, or order without a code.",
        "Too many codes that do not exist were tried. Try again in %(num)s minutes, or order without a code.",
        (seconds + 59) // 60,
    )

"""A limit to guessing discount codes: wrong ones per buyer and per network. Who has no code is not asked anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tidegate.checkout.contracts import CodeUnknown
from tidegate.checkout.shop import Shop
from tidegate.platform.attempts import buckets_of
from tidegate.platform.ids import PersonId
from tidegate.platform.texts import plural

Result = TypeVar("Result")


async def with_code(
    shop: Shop, work: Callable[[], Awaitable[Result]], *, code: str | None, buyer_id: PersonId, address: str
) -> Result:
    """Do what needs a code; a code that does not exist is counted. `address` is the buyer's network address.

    Once too many were wrong, right ones are refused as well, so that nobody learns which they are; buying without a
    code goes on. Fails open while Valkey is away.
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
    counted = shop.attempts.counted(buckets, window_s=limits.code_window_s, wrong=CodeUnknown, words=_words)
    async with counted:
        return await work()


def _words(seconds: int) -> str:
    return plural(
        "Too many codes that do not exist were tried. Try again in %(num)s minute, or order without a code.",
        "Too many codes that do not exist were tried. Try again in %(num)s minutes, or order without a code.",
        (seconds + 59) // 60,
    )

"""Limits of log-ins that fail and of mails that are asked for: per account and per network, counted in Valkey.

They fail open: while Valkey is away people can still sign in, and guessing stays bounded by the few threads that hash
(`accounts.hash_workers`), at some tens of attempts per second and process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidegate.accounts.contracts import WrongCredentials
from tidegate.platform.attempts import buckets_of, open_attempts
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _


@asynccontextmanager
async def counted_attempt(settings: Settings, *, email: str, address: str) -> AsyncIterator[None]:
    """Count an attempt for the length of a block; unless that ends in WrongCredentials, it is not counted after all.

    It is counted before the password is looked at, so that attempts sent at once cannot slip past together.
    Raises: TooManyRequests when the account's or the network's bucket is full.
    """
    limits = settings.accounts
    buckets = buckets_of(
        "login",
        who=email,
        address=address,
        most=limits.login_attempts,
        most_per_network=limits.login_attempts_per_network,
    )

    def words(seconds: int) -> str:
        return _("Too many log-ins that failed. Try again in %(seconds)s seconds.", seconds=seconds)

    async with open_attempts(settings) as attempts:
        counted = attempts.counted(buckets, window_s=limits.login_window_s, wrong=WrongCredentials, words=words)
        async with counted:
            yield


async def count_link_request(settings: Settings, *, email: str, address: str) -> None:
    """Count a request for a mailed link, per address and per network, apart from log-ins that failed.

    Whoever uses up an account's log-ins thus cannot keep its owner out: a link still reaches them, and whoever uses up
    its links has had them mailed to the owner. Fails open: mails are sent by workers at their own pace.
    Raises: TooManyRequests.
    """
    limits = settings.accounts
    buckets = buckets_of(
        "link",
        who=email,
        address=address,
        most=limits.link_requests,
        most_per_network=limits.link_requests_per_network,
    )

    def words(seconds: int) -> str:
        return _(
            "Too many mails were asked for. Look into your mailbox, or try again in %(seconds)s seconds.",
            seconds=seconds,
        )

    async with open_attempts(settings) as attempts:
        await attempts.count(buckets, window_s=limits.login_window_s, words=words)

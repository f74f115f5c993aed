"""Counting log-ins per account and per network in Valkey: two buckets, so that neither hides the other.

Both fail open: while Valkey is away people can still sign in, and guessing stays bounded by the few threads that hash
(`accounts.hash_workers`), at some tens of attempts per second and process. A limit that failed closed would make
Valkey something that the shop's staff cannot work without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from tidegate.accounts.contracts import WrongCredentials
from tidegate.platform.buckets import OUTAGE, count_in, network_of, take_back
from tidegate.platform.problems import TooManyRequests
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

log = structlog.get_logger(__name__)

ACCOUNT = "accounts.attempts.account"
NETWORK = "accounts.attempts.network"


@asynccontextmanager
async def counted_attempt(settings: Settings, *, email: str, address: str) -> AsyncIterator[None]:
    """Count an attempt for the length of a block; unless that ends in WrongCredentials, it is not counted after all.

    It is counted before the password is looked at, so that attempts sent at once cannot slip past together.
    Raises: TooManyRequests when the account's or the network's bucket is full.
    """
    buckets = _buckets(email=email, address=address)
    limits = settings.accounts
    retry_after_s = await _count(settings, buckets, window_s=limits.login_window_s, most=limits.login_attempts)
    if retry_after_s:
        raise TooManyRequests(
            _("Too many log-ins that failed. Try again in %(seconds)s seconds.", seconds=retry_after_s),
            retry_after_s=retry_after_s,
        )
    wrong = False
    try:
        yield
    except WrongCredentials:
        wrong = True
        raise
    finally:
        if not wrong:
            await _forget(settings, buckets)


async def count_link_request(settings: Settings, *, email: str, address: str) -> None:
    """Count a request for a mailed link, per address and per network, apart from log-ins that failed.

    Whoever uses up an account's log-ins thus cannot keep its owner out: a link still reaches them, and whoever uses up
    its links has had them mailed to the owner. Fails open: mails are sent by workers at their own pace.
    Raises: TooManyRequests.
    """
    buckets = tuple(f"link:{bucket}" for bucket in _buckets(email=email, address=address))
    limits = settings.accounts
    retry_after_s = await _count(settings, buckets, window_s=limits.login_window_s, most=limits.link_requests)
    if retry_after_s:
        raise TooManyRequests(
            f"Too many mails were asked for. Look into your mailbox, or try again in {retry_after_s} seconds.",
            retry_after_s=retry_after_s,
        )


def _buckets(*, email: str, address: str) -> tuple[str, ...]:
    """Keys of the buckets: keyed hashes, since Valkey is no place for personal data."""
    sealer = current_sealer()
    account = sealer.fingerprint(email, column=ACCOUNT).hex()
    if not address:
        return (f"login:account:{account}",)
    network = sealer.fingerprint(network_of(address), column=NETWORK).hex()
    return (f"login:account:{account}", f"login:network:{network}")


async def _count(settings: Settings, buckets: tuple[str, ...], *, window_s: int, most: int) -> int:
    """Add one to each bucket. Seconds until the fullest one ends when one is over its limit, else 0."""
    try:
        return await count_in(settings, buckets, window_s=window_s, most=most)
    except OUTAGE as error:
        log.warning("log-ins are not counted", error=type(error).__name__)
        return 0


async def _forget(settings: Settings, buckets: tuple[str, ...]) -> None:
    try:
        await take_back(settings, buckets)
    except OUTAGE as error:
        log.warning("log-ins are not counted", error=type(error).__name__)

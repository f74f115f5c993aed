"""Passwords: argon2id in a bounded pool of threads, off the event loop.

Parameters are OWASP's minimum for argon2id (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from prometheus_client import Counter, Gauge

from tidegate.accounts.contracts import SignInBusy
from tidegate.platform.overload.doors import outside
from tidegate.platform.texts import text as _

T = TypeVar("T")

MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1

WAITING = Gauge("tidegate_password_hashes_waiting", "Passwords that wait for a thread to hash them.")
RUNNING = Gauge("tidegate_password_hashes_running", "Passwords being hashed.")
DONE = Counter("tidegate_password_hashes", "Passwords that were hashed.")
SHED = Counter("tidegate_password_hashes_shed", "Passwords that were not hashed since too many waited: answered 503.")


class Passwords:
    """Hashes and verifies; at most `workers` at once and `queue` waiting, each with MEMORY_KIB of memory."""

    def __init__(self, *, workers: int, queue: int) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._free = threading.BoundedSemaphore(workers + queue)
        self._decoy_lock = threading.Lock()
        self._decoy = ""

    async def hash(self, password: str) -> str:
        """The PHC string of a password. Raises: SignInBusy when too many wait already."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password fits. Without a hash the same work is done on a decoy and the answer is no.

        Raises: SignInBusy when too many wait already.
        """
        return await self._run(lambda: self._fits(password_hash, password))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _fits(self, password_hash: str | None, password: str) -> bool:
        decoy = self._decoy_hash()
        try:
            self._hasher.verify(password_hash or decoy, password)
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    def _decoy_hash(self) -> str:
        with self._decoy_lock:
            self._decoy = self._decoy or self._hasher.hash(secrets.token_urlsafe(32))
            return self._decoy

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._free.acquire(blocking=False):
            SHED.inc()
            raise SignInBusy(_("Too many people sign in at this moment. Try again in a few seconds."))
        WAITING.inc()

        def bounded() -> T:
            WAITING.dec()
            try:
                with RUNNING.track_inprogress():
                    return work()
            finally:
                DONE.inc()
                self._free.release()

        try:
            pending = asyncio.get_running_loop().run_in_executor(self._threads, bounded)
        except BaseException:
            WAITING.dec()
            self._free.release()
            raise
        with outside():  # the threads have a queue of their own, which must not look like a shop that is slow
            # Shielded: a caller who goes away does not take the place back before the thread is done with it.
            return await asyncio.shield(pending)


@lru_cache(maxsize=1)
def process_passwords(*, workers: int, queue: int) -> Passwords:
    """The pool of this process."""
    return Passwords(workers=workers, queue=queue)

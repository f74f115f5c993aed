"""Two requests with one idempotency key in one process: the second shares the first one's outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from tidegate.platform.failures import outcome_of
from tidegate.platform.idempotency import RequestKey
from tidegate.platform.problems import KeyReused

T = TypeVar("T")
Name = tuple[UUID, str]
"""A buyer and a key."""


class Twins:
    """What is being worked on in this process, by key. Bounded by the requests that may run at once."""

    def __init__(self) -> None:
        self._running: dict[Name, tuple[bytes, asyncio.Task[Any]]] = {}
        self._shared: dict[Name, tuple[bytes, asyncio.Future[Any]]] = {}
        self._tasks: dict[asyncio.Task[Any], Name | None] = {}

    async def once(self, key: RequestKey | None, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """The outcome of `work`, and whether an earlier request with the same key did it.

        The work goes on when its caller is cancelled: somebody else may share it, and half a purchase helps nobody.
        Raises: KeyReused for the same key with another fingerprint; what `work` raises.
        """
        name = None if key is None else (key.buyer_id, key.key)
        if name is not None and key is not None and (running := self._running.get(name)) is not None:
            if running[0] != key.fingerprint:
                raise KeyReused()
            outcome: T = await outcome_of(running[1])
            return outcome, True
        task = asyncio.get_running_loop().create_task(work())
        self._tasks[task] = name
        if name is not None and key is not None:
            self._running[name] = (key.fingerprint, task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task), False

    async def share(self, key: RequestKey | None, work: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """The same for work that is one batch's: it ends with its caller, and costs no task.

        When the first caller goes away while others wait, the next of them does the work itself.
        """
        if key is None:
            return await work(), False
        name = (key.buyer_id, key.key)
        while (running := self._shared.get(name)) is not None:
            if running[0] != key.fingerprint:
                raise KeyReused()
            await asyncio.wait([running[1]])
            if not running[1].cancelled():
                outcome: T = await outcome_of(running[1])
                return outcome, True
        promise = asyncio.get_running_loop().create_future()
        self._shared[name] = (key.fingerprint, promise)
        try:
            outcome = await work()
        except Exception as error:
            promise.set_exception(error)
            promise.exception()  # nobody need wait for it
            raise
        except BaseException:
            promise.cancel()
            raise
        else:
            promise.set_result(outcome)
            return outcome, False
        finally:
            del self._shared[name]

    async def finish(self, *, within_s: float) -> None:
        """Wait for what is being worked on: at the end of a process, payments whose order is recorded already."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=within_s)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        """It is over; an outcome that nobody waits for any more is no unhandled error."""
        name = self._tasks.pop(task)
        if name is not None:
            del self._running[name]
        if not task.cancelled():
            task.exception()

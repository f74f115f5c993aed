"""Natural batching: requests that arrive while the previous batch runs form the next one.

    sessions = Batcher(find_sessions, name="sessions", limits=settings.engine)
    sessions.start()
    person = await sessions.submit(token)
    await sessions.drain()

`find_sessions` takes a list of requests and answers a list of results of the same length and order; an exception in
that list is raised for its caller alone. A batch of one costs what a plain call costs; under load batches grow by
themselves, and the cost of a round trip or a commit is shared.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

from tidegate.platform.cancellation import is_cancelled
from tidegate.platform.failures import own_copy
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import BatchSettings
from tidegate.platform.texts import text as _

Request = TypeVar("Request")
Result = TypeVar("Result")
Run = Callable[[Sequence[Request]], Awaitable[Sequence[Result | Exception]]]
"""One batch: a result or an exception for each request, in the same order."""

SIZE = Histogram(
    "tidegate_batch_size", "Requests in one batch.", ["batch"], buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
)
WAIT_S = Histogram(
    "tidegate_batch_wait_seconds",
    "How long the first request of a batch had waited when the batch began.",
    ["batch"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
RUN_S = Histogram(
    "tidegate_batch_run_seconds",
    "How long one batch took.",
    ["batch"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
REJECTED = Counter("tidegate_batch_rejected", "Requests answered with 503 instead of a result.", ["batch", "reason"])

TURN_S = 0.5
"""Longest wait for a common turn; then a batch runs beside the one that hangs."""

SWEEP_S = 0.05
"""Pause between two looks for requests that are past their deadline."""

HUNG = _("This took too long and was given up. Look whether it took effect before you try again.")


class WrongResults(Exception):
    """A batch answered another number of results than there were requests: a bug in what runs it."""


class _Waiting(Generic[Request, Result]):
    """One request, its caller's future, and until when it may wait (the loop's clock)."""

    __slots__ = ("arrived", "deadline", "future", "request")

    def __init__(self, request: Request, future: asyncio.Future[Result], arrived: float, deadline: float) -> None:
        self.request = request
        self.future = future
        self.arrived = arrived
        self.deadline = deadline


class Batcher(Generic[Request, Result]):
    """Collects requests into batches; one batch runs at a time. Belongs to one event loop.

    Requests that wait longer than `limits.deadline_s`, or find `limits.queue_max` others waiting, get Overloaded; a
    running batch has as long again before its callers are let go (it is not interrupted). A caller that is cancelled
    leaves the queue; in a running batch its result is dropped.

    With `apart_ms` a batch begins that long after the one before at the earliest: somebody who comes alone waits for
    nothing, and where many come, batches are few and large in place of many that are small, whose cost would take the
    CPU from all that is to be done for each.

    Batchers with a common `turn` run one batch at a time among them. Where batches would wait for each other's locks
    anyway, waiting before a batch is taken is better than after: it grows meanwhile.
    """

    def __init__(
        self,
        run: Run[Request, Result],
        *,
        name: str,
        limits: BatchSettings,
        turn: asyncio.Lock | None = None,
        apart_ms: int = 0,
    ) -> None:
        self._run = run
        self._turn = turn
        self._limits = limits
        self._apart_s = apart_ms / 1000
        self._began = float("-inf")
        """When the last batch began (the loop's clock)."""
        self._queue: deque[_Waiting[Request, Result]] = deque()
        self._running: Sequence[_Waiting[Request, Result]] = ()
        self._filled = asyncio.Event()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._closing = False
        self.name = name
        self._size, self._wait_s, self._run_s = SIZE.labels(name), WAIT_S.labels(name), RUN_S.labels(name)
        self._full, self._late, self._closed = (
            REJECTED.labels(name, reason) for reason in ("queue_full", "deadline", "shutdown")
        )

    def start(self) -> None:
        """Begin to run batches. Call inside the event loop."""
        assert self._task is None, f"the batcher {self.name} was started twice"
        self._task = asyncio.create_task(self._work(), name=f"batcher-{self.name}")

    async def drain(self) -> None:
        """Refuse new requests, finish those that wait, and stop.

        Bounded by the deadlines of those that wait: a batch that hangs is cancelled when its callers have been let go.
        """
        self._closing = True
        self._filled.set()
        self._hurry.set()
        now = asyncio.get_running_loop().time()
        last = max((waiting.deadline for waiting in (*self._running, *self._queue)), default=now)
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(max(last, now) + self._limits.deadline_s + 2 * SWEEP_S):
                    await self._task
        self._let_all_go()
        if self._sweep is not None:
            self._sweep.cancel()

    async def submit(self, request: Request) -> Result:
        """The result of `request`, from whichever batch it lands in.

        Raises: what the batch says of this request; Overloaded (503) when the queue is full, when it waited longer
        than the setting `deadline_s`, or at shutdown.
        """
        return await self.hand_in(request)

    def hand_in(self, request: Request) -> asyncio.Future[Result]:
        """The same for a caller that has something else to wait for meanwhile. Raises: Overloaded."""
        if self._closing or len(self._queue) >= self._limits.queue_max:
            (self._closed if self._closing else self._full).inc()
            raise Overloaded()
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + self._limits.deadline_s
        waiting: _Waiting[Request, Result] = _Waiting(request, loop.create_future(), now, deadline)
        self._queue.append(waiting)
        self._filled.set()
        if len(self._queue) >= self._limits.batch_max:
            self._hurry.set()
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_S, self._let_go)
        return waiting.future

    async def _work(self) -> None:
        try:
            while True:
                await self._filled.wait()
                if self._limits.linger_ms and self._queue:
                    await self._linger(self._queue[0].arrived + self._limits.linger_ms / 1000)
                if self._apart_s:
                    await self._linger(self._began + self._apart_s)
                mine = await self._wait_for_turn()
                try:
                    batch = self._take()
                    if batch:
                        await self._run_batch(batch)
                finally:
                    if mine and self._turn is not None:
                        self._turn.release()
                if not batch and self._closing and not self._queue:
                    return
        finally:
            self._let_all_go()

    async def _wait_for_turn(self) -> bool:
        """Take the turn; False when there is none, or somebody keeps it for too long: turns make batches larger, not
        right.
        """
        if self._turn is None:
            return False
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            return False
        return True

    async def _linger(self, until: float) -> None:
        """Wait for company: until then (the loop's clock), a full batch, or shutdown."""
        loop = asyncio.get_running_loop()
        if until <= loop.time():
            return
        timer = loop.call_at(until, self._hurry.set)
        try:
            await self._hurry.wait()
        finally:
            timer.cancel()

    def _take(self) -> list[_Waiting[Request, Result]]:
        """The next batch, without those whose callers have gone."""
        batch: list[_Waiting[Request, Result]] = []
        while self._queue and len(batch) < self._limits.batch_max:
            waiting = self._queue.popleft()
            if not waiting.future.done():
                batch.append(waiting)
        if not self._closing:
            if not self._queue:
                self._filled.clear()
            if len(self._queue) < self._limits.batch_max:
                self._hurry.clear()
        return batch

    async def _run_batch(self, batch: Sequence[_Waiting[Request, Result]]) -> None:
        loop = asyncio.get_running_loop()
        self._began = started = loop.time()
        self._running = batch
        self._size.observe(len(batch))
        self._wait_s.observe(started - batch[0].arrived)
        results: Sequence[Result | Exception]
        try:
            results = await self._run([waiting.request for waiting in batch])
            if len(results) != len(batch):
                raise WrongResults(f"{self.name}: {len(results)} results for {len(batch)} requests")
        except Exception as error:
            results = [error] * len(batch)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            results = [Overloaded(HUNG) for _ in batch]
        finally:
            self._run_s.observe(loop.time() - started)
        self._running = ()
        raised: set[int] = set()
        for waiting, result in zip(batch, results, strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, Exception):
                waiting.future.set_exception(own_copy(result) if id(result) in raised else result)
                raised.add(id(result))
            else:
                waiting.future.set_result(result)

    def _let_go(self) -> None:
        """Answer those that are past their deadline and forget who has gone; look again while anybody waits."""
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for waiting in self._queue:
            if waiting.deadline <= now:
                self._refuse(waiting, self._late)
        if any(waiting.future.done() for waiting in self._queue):
            self._queue = deque(waiting for waiting in self._queue if not waiting.future.done())
        for waiting in self._running:
            if waiting.deadline + self._limits.deadline_s <= now:
                self._refuse(waiting, self._late, HUNG)
        if self._queue or self._running:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._let_go)

    def _let_all_go(self) -> None:
        """At the end nobody is left waiting, also when the end came by force."""
        self._closing = True
        for waiting in self._running:
            self._refuse(waiting, self._closed, HUNG)
        for waiting in self._queue:
            self._refuse(waiting, self._closed)
        self._running = ()
        self._queue.clear()

    def _refuse(self, waiting: _Waiting[Request, Result], reason: Counter, detail: str = "") -> None:
        if not waiting.future.done():
            reason.inc()
            waiting.future.set_exception(Overloaded(detail))

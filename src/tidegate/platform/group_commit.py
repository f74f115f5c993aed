"""Group commit: many requests, one transaction, one wait for the disk.

    holds = GroupCommit(PostgresTransactions(database.connect), settle_holds, name="holds", limits=settings.engine)

`settle_holds(conn, requests)` answers a list of results (or exceptions, for single callers) and does not commit; the
batch is committed before anybody is answered. What happens when it fails:

- bad data, a broken constraint, a bug (`Refused`): halves, until the request to blame stands alone and gets the error;
- serialisation, deadlock, shutdown, connection lost before COMMIT (`Interrupted`): all of it again, with jitter;
- connection lost around COMMIT (`CommitUnknown`): the database is asked whether it happened, and only then repeated;
- past the deadline: Overloaded (503), with `UNKNOWN_OUTCOME` where it may have happened.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import structlog
from prometheus_client import Counter

from tidegate.platform.backoff import backoff_s
from tidegate.platform.batcher import Batcher, WrongResults
from tidegate.platform.database import Connection
from tidegate.platform.failures import describe_error
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import BatchSettings
from tidegate.platform.transactions import CommitUnknown, Interrupted, Mark, Refused, Transactions

log = structlog.get_logger(__name__)

Request = TypeVar("Request")
Result = TypeVar("Result")
Settle = Callable[[Connection, Sequence[Request]], Awaitable[Sequence[Result | Exception]]]
"""Settles requests on a connection that somebody else commits: a result or an exception each, in the same order."""

FAILURES = Counter("tidegate_batch_failures", "Transactions of a batch that failed.", ["batch", "kind"])

RETRY_BASE_S = 0.005
RETRY_CAP_S = 0.25
RESOLVE_PAUSE_S = 0.02
"""Pause before a repeat (doubles, with jitter) and between two questions about an unknown COMMIT."""

RESOLVE_LEAST_S = 1.0
"""How long an unknown COMMIT is asked about at least, also when its deadline has passed meanwhile."""

UNKNOWN_OUTCOME = (
    "The connection to the database broke while this was being stored. Send it again with the same Idempotency-Key to"
    " learn whether it took effect."
)


class GroupCommit(Generic[Request, Result]):
    """Settles requests in batches, each in one transaction. Start it inside the event loop; drain it at the end."""

    def __init__(
        self,
        transactions: Transactions,
        settle: Settle[Request, Result],
        *,
        name: str,
        limits: BatchSettings,
        turn: asyncio.Lock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`turn` is shared by those whose batches would wait for each other's locks; see `Batcher`."""
        self._transactions = transactions
        self._settle = settle
        self._limits = limits
        self._draw = draw
        self._batcher: Batcher[Request, Result] = Batcher(self._run, name=name, limits=limits, turn=turn)
        self.name = name

    def start(self) -> None:
        """Begin to take requests."""
        self._batcher.start()

    async def drain(self) -> None:
        """Refuse new requests, settle those that wait, close the connection."""
        try:
            await self._batcher.drain()
        finally:
            await self._transactions.close()

    async def submit(self, request: Request) -> Result:
        """The result of `request`, once it is durable. Raises: what `settle` says of it; Overloaded."""
        return await self._batcher.submit(request)

    async def _run(self, requests: Sequence[Request]) -> Sequence[Result | Exception]:
        deadline = asyncio.get_running_loop().time() + self._limits.deadline_s
        return await self._commit(requests, deadline)

    async def _commit(self, requests: Sequence[Request], deadline: float) -> Sequence[Result | Exception]:
        """Results of requests that are committed, in one transaction or in halves of it. Never raises an Exception."""
        try:
            return await self._until_committed(requests, deadline)
        except Exception as error:
            log.error("batch_broke", batch=self.name, requests=len(requests), error=describe_error(error))
            return [Overloaded(UNKNOWN_OUTCOME) for _ in requests]

    async def _until_committed(self, requests: Sequence[Request], deadline: float) -> Sequence[Result | Exception]:
        if asyncio.get_running_loop().time() >= deadline:
            return [Overloaded() for _ in requests]
        failures = 0
        while True:
            try:
                return await self._transactions.run(partial(self._work, requests))
            except Refused as refused:
                FAILURES.labels(self.name, "refused").inc()
                return await self._isolate(requests, refused.cause, deadline)
            except CommitUnknown as unknown:
                FAILURES.labels(self.name, "commit_unknown").inc()
                committed = await self._resolve(unknown.mark, deadline)
                if committed is None:
                    return [Overloaded(UNKNOWN_OUTCOME) for _ in requests]
                if committed:
                    results: Sequence[Result | Exception] = unknown.result
                    return results
            except Interrupted as interrupted:
                FAILURES.labels(self.name, "interrupted").inc()
                if not failures:
                    log.warning("batch_interrupted", batch=self.name, requests=len(requests), reason=str(interrupted))
            failures += 1
            pause_s = backoff_s(failures=failures, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, draw=self._draw())
            if asyncio.get_running_loop().time() + pause_s >= deadline:
                return [Overloaded() for _ in requests]
            await asyncio.sleep(pause_s)

    async def _work(self, requests: Sequence[Request], conn: Connection) -> Sequence[Result | Exception]:
        results = await self._settle(conn, requests)
        if len(results) != len(requests):
            raise WrongResults(f"{self.name}: {len(results)} results for {len(requests)} requests")
        return results

    async def _isolate(
        self, requests: Sequence[Request], cause: Exception, deadline: float
    ) -> Sequence[Result | Exception]:
        """Settle halves by themselves, so that one bad request harms no other."""
        if len(requests) == 1:
            log.warning("request_refused", batch=self.name, error=describe_error(cause))
            return [cause]
        middle = len(requests) // 2
        return [
            *await self._commit(requests[:middle], deadline),
            *await self._commit(requests[middle:], deadline),
        ]

    async def _resolve(self, mark: Mark, deadline: float) -> bool | None:
        """Whether a transaction was committed; None when that cannot be learned before the deadline."""
        until = max(deadline, asyncio.get_running_loop().time() + RESOLVE_LEAST_S)
        while (committed := await self._transactions.resolve(mark)) is None:
            if asyncio.get_running_loop().time() >= until:
                log.error("commit_outcome_unknown", batch=self.name, xid=mark.xid)
                return None
            await asyncio.sleep(RESOLVE_PAUSE_S)
        return committed

"""Batches of a sweeper in which one row that cannot be done keeps no others from their turn."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter
from psycopg import Error, OperationalError

from tidegate.platform.failures import describe_error
from tidegate.platform.problems import Overloaded
from tidegate.platform.transactions import AGAIN, STALE_PLAN

log = structlog.get_logger(__name__)

Id = TypeVar("Id", bound=UUID)

SET_ASIDE = Counter("tidegate_set_aside", "Times that a sweeper left a row for later since it failed.", ["sweep"])

PAUSE_S = 60.0
"""How long a row that failed is left alone before it is tried again."""

MOST_A_ROUND = 20
"""Most rows that one round finds to fail; where all do, its other rows wait for the next one."""

MOST = 10_000
"""Most rows that are left alone at a time; further ones are tried again in the next round."""


class SetAside(Generic[Id]):
    """Does rows in one batch; where that fails in halves, until the row to blame stands alone and is left for later.

    Kept between rounds by whoever repeats them.
    """

    def __init__(self, sweep: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`sweep` names it in logs and metrics."""
        self._sweep = sweep
        self._clock = clock
        self._until_s: dict[Id, float] = {}

    @property
    def ids(self) -> list[Id]:
        """What is to be left alone now: the question for due rows leaves it out, so that it takes no places."""
        now_s = self._clock()
        self._until_s = {each: until_s for each, until_s in self._until_s.items() if until_s > now_s}
        return list(self._until_s)

    async def run(self, ids: Sequence[Id], work: Callable[[Sequence[Id]], Awaitable[int]]) -> int:
        """How many rows `work` did, which is one transaction a call.

        Raises: what has nothing to do with the rows (no connection, a deadlock, a lock that did not come free).
        """
        aside = set(self.ids)
        parts = [[each for each in ids if each not in aside]]
        done = failed = 0
        while parts and failed < MOST_A_ROUND:
            part = parts.pop()
            try:
                done += await work(part) if part else 0
            except Exception as error:
                if _may_pass(error):
                    raise
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                else:
                    failed += 1
                    self._leave(part[0], error)
        return done

    def _leave(self, each: Id, error: Exception) -> None:
        if len(self._until_s) < MOST:
            self._until_s[each] = self._clock() + PAUSE_S
        SET_ASIDE.labels(self._sweep).inc()
        log.error("row_set_aside", sweep=self._sweep, id=str(each), error=describe_error(error))


def _may_pass(error: Exception) -> bool:
    """Whether the server or the network is to blame, so that the same rows may succeed later."""
    if isinstance(error, Error) and error.sqlstate:
        return error.sqlstate.startswith((*AGAIN, STALE_PLAN))
    return isinstance(error, (OperationalError, OSError, Overloaded))

"""PostgreSQL: one pool per process, and the two ways to use it."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from tidegate.platform.arrays import write_lists_fast
from tidegate.platform.breaker import Breaker, BreakerState
from tidegate.platform.cpu import yield_cpu
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings

log = structlog.get_logger("tidegate.database")

Connection = AsyncConnection[tuple[Any, ...]]
"""A connection in autocommit mode; use cases run inside a transaction that their caller opened."""

OUTAGE = (OperationalError, PoolTimeout)
"""What is raised while PostgreSQL is away or out of connections."""


UNASKED_S = 0.5
"""A connection that rested no longer is given without a round trip to ask whether it stands."""

SETTLED_PLANS = " ".join(
    f"-c {setting}"
    for setting in (
        "plan_cache_mode=force_generic_plan",
        "enable_seqscan=off",
        "enable_hashjoin=off",
        "enable_mergejoin=off",
        "jit=off",
    )
)
"""Rows by their keys, planned once: neither statistics nor an empty table may change how a sale's statements run."""


class Database:
    """The pool of this process."""

    def __init__(self, settings: Settings, *, backend_nice: int = 0) -> None:
        """`backend_nice`: niceness (CPU priority) of the server's processes behind the pool, where we may set it."""
        limits = settings.database
        options = (
            f"-c statement_timeout={limits.statement_timeout_ms} -c lock_timeout={limits.lock_timeout_ms} "
            f"-c idle_in_transaction_session_timeout={limits.idle_in_transaction_timeout_ms} -c timezone=UTC"
        )
        self._url = settings.require_database_url()
        self._arguments: dict[str, Any] = {
            "autocommit": True,
            "options": options,
            "application_name": "tidegate",
            "connect_timeout": limits.connect_timeout_s,
            "tcp_user_timeout": limits.statement_timeout_ms,
        }
        self._pool = AsyncConnectionPool[Connection](
            self._url,
            min_size=limits.pool_min,
            max_size=max(limits.pool_max, limits.pool_min),
            timeout=limits.pool_wait_s,
            kwargs=self._arguments,
            check=self._check,
            configure=partial(_configure, backend_nice=backend_nice),
            reconnect_timeout=30,
            open=False,
        )
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._returned_s: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        self._given_s = 0.0
        """When the pool last gave somebody a connection."""
        self._breaker = Breaker(failures=limits.breaker_failures, pause_s=limits.breaker_pause_s, clock=time.monotonic)

    async def open(self) -> None:
        """Start the pool; connections are made in the background."""
        await self._pool.open()

    async def close(self) -> None:
        """Give all connections back, and before them what was to close with them."""
        while self._closing:
            await self._closing.pop()()
        await self._pool.close()

    def close_with(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed with this pool that lives as long and on the same event loop."""
        self._closing.append(close)

    async def connect(self) -> PipelinedConnection:
        """A connection of the caller's own, outside the pool: for those who send the same statements all the time."""
        arguments = {**self._arguments, "options": f"{self._arguments['options']} {SETTLED_PLANS}"}
        conn = await PipelinedConnection.connect(self._url, **arguments)
        write_lists_fast(conn)
        return conn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode, for reads.

        Raises: Overloaded when none comes free in time, and at once while none has come to anybody for a while.
        """
        if not self._breaker.admits():
            raise Overloaded()
        asked_s = time.monotonic()
        try:
            conn = await self._pool.getconn()
        except PoolTimeout as error:
            if self._given_s < asked_s:  # else it is there, and only busy
                self._note(answered=False)
            raise Overloaded() from error
        self._given_s = time.monotonic()
        self._note(answered=True)
        try:
            yield conn
        finally:
            self._returned_s[conn] = time.monotonic()
            await asyncio.shield(self._pool.putconn(conn))

    async def _check(self, conn: Connection) -> None:
        """Ask a connection whether it stands, unless it just did and its server has not said goodbye since."""
        rested_s = time.monotonic() - self._returned_s.get(conn, 0.0)
        goodbye = select.poll()
        goodbye.register(conn.fileno(), select.POLLIN)
        if rested_s > UNASKED_S or goodbye.poll(0):
            await AsyncConnectionPool.check_connection(conn)

    @property
    def is_left_alone(self) -> bool:
        """Whether nobody waits for a connection, since none came for a while."""
        return self._breaker.state is BreakerState.OPEN

    def _note(self, *, answered: bool) -> None:
        before = self._breaker.state
        if answered:
            self._breaker.succeeded()
        else:
            self._breaker.failed()
        if self._breaker.state is not before:
            away = self._breaker.state is BreakerState.OPEN
            log.warning("database_left_alone" if away else "database_answers")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction: committed at the end, rolled back by an exception."""
        async with self.connection() as conn, conn.transaction():
            yield conn


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """A `Database` for the length of a block."""
    database = Database(settings)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def plan_once(conn: Connection) -> None:
    """Have the statements of this transaction planned once, and not so that they read a whole table."""
    await conn.execute(
        "SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)"
    )


async def order_by_index(conn: Connection) -> None:
    """Have the statements of this transaction read the first rows of an index, and not sort all of them for that."""
    assert conn.info.transaction_status == TransactionStatus.INTRANS, "it is a setting of a transaction"
    await conn.execute("SELECT set_config('enable_sort', 'off', true)")


async def _configure(conn: Connection, *, backend_nice: int) -> None:
    write_lists_fast(conn)
    if backend_nice:
        await yield_cpu(conn, nice=backend_nice)

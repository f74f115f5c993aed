"""Reads that a batch does all the time, on a connection of its own.

What a pool does for each of its callers (a lock, a question whether the connection still lives, a task that gives it
back) costs more than looking up a few rows. Reads change nothing, so whatever goes wrong on the own connection is done
once more on one of the pool's, which know how to wait for a database and when to leave it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

import structlog
from psycopg import Error

from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.transactions import silence_ends

log = structlog.get_logger("tidegate.database")

T = TypeVar("T")

PAUSE_S = 1.0
"""After a failure the pool's connections are used for so long before a new one is made."""

CONNECT_S = 1.0
LONGEST_S = 2.0
"""Longest wait for a connection, and for an answer on it."""

CLOSE_S = 1.0


class ReadLine:
    """Reads on one connection, one at a time. Belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._conn: PipelinedConnection | None = None
        self._pool_until = 0.0

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What `read` reads; it may be called twice. Raises: what it raises; Overloaded while the database is away."""
        conn = await self._connection()
        if conn is not None:
            try:
                with silence_ends(conn, after_s=LONGEST_S):
                    return await read(conn)
            except (Error, OSError) as error:
                await self._leave(error)
            except BaseException:
                await self.close()
                raise
        async with self._database.connection() as pooled:
            return await read(pooled)

    async def close(self) -> None:
        """Let the connection go."""
        conn, self._conn = self._conn, None
        if conn is not None:
            with suppress(TimeoutError, Error, OSError):
                async with asyncio.timeout(CLOSE_S):
                    await conn.close()

    async def _connection(self) -> PipelinedConnection | None:
        """The connection, made if need be; None while there is none to be had."""
        if self._conn is None and self._pool_until <= asyncio.get_running_loop().time():
            try:
                async with asyncio.timeout(CONNECT_S):
                    self._conn = await self._database.connect()
            except (Error, OSError) as error:  # TimeoutError is one
                await self._leave(error)
        return self._conn

    async def _leave(self, error: Exception) -> None:
        log.warning("read_line_lost", error=describe_error(error))
        self._pool_until = asyncio.get_running_loop().time() + PAUSE_S
        await self.close()


def together(conn: Connection) -> AbstractAsyncContextManager[Any]:
    """A pipeline, whatever kind of connection it is."""
    return conn.together() if isinstance(conn, PipelinedConnection) else conn.pipeline()

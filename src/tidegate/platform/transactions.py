"""One transaction on a connection of its own, and a plain answer to "did it happen?" whatever breaks.

The answers are exceptions by what the caller must do: `Refused` (this work cannot be done), `Interrupted` (nothing was
committed: do it again), `CommitUnknown` (the connection broke around COMMIT: ask `resolve` before anything else).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from psycopg import OperationalError
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from tidegate.platform.database import Connection

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

AGAIN = (
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.LockNotAvailable,
    pg.QueryCanceled,
    pg.AdminShutdown,
    pg.CrashShutdown,
    pg.CannotConnectNow,
    pg.InsufficientResources,
    pg.ReadOnlySqlTransaction,
    pg.IdleInTransactionSessionTimeout,
)
"""Errors of a moment: the transaction is gone, and the same work may succeed when it is done again."""

CLOSE_S = 1.0
"""Longest wait for a broken connection to close."""


class Refused(Exception):
    """The work cannot be done as it is (bad data, a broken constraint, a bug); nothing was changed."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Interrupted(Exception):
    """Something outside the work stopped it; nothing was committed."""


class CommitUnknown(Exception, Generic[T]):
    """The connection broke around COMMIT. `resolve(xid)` knows whether it happened; `result` is the work's."""

    def __init__(self, xid: str, result: Any) -> None:
        super().__init__(f"transaction {xid}")
        self.xid = xid
        self.result = result


class Transactions(Protocol):
    """Runs work in transactions, one after the other."""

    async def run(self, work: Work[T]) -> T:
        """Do `work` in one transaction and commit it. Raises: Refused, Interrupted, CommitUnknown."""

    async def resolve(self, xid: str) -> bool | None:
        """Whether that transaction was committed; None: cannot be told yet."""

    async def close(self) -> None:
        """Let the connection go."""


class PostgresTransactions:
    """Transactions on one PostgreSQL connection, kept open and made anew when it breaks.

    Work runs in psycopg's pipeline mode: statements leave without waiting for one another, BEGIN and COMMIT with them.
    Whoever needs a row fetches it, which waits for all that was sent so far; `rowcount` is known only after that.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, is_race: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`connect` makes a connection in autocommit mode.

        `is_race` knows by their names the constraints that say "another transaction was first": the work is done
        again, and finds what the other one wrote.
        """
        self._connect = connect
        self._is_race = is_race
        self._conn: Connection | None = None

    async def run(self, work: Work[T]) -> T:
        """See `Transactions.run`."""
        conn = await self._connection()
        attempt = _Attempt[T]()
        try:
            await attempt.run(conn, work)
        except Exception as error:
            raise await self._judge(conn, attempt, error) from error
        except BaseException:
            await self._drop()
            raise
        return attempt.result

    async def resolve(self, xid: str) -> bool | None:
        """Ask PostgreSQL how a transaction ended. See `Transactions.resolve`."""
        try:
            conn = await self._connection()
            cursor = await conn.execute("SELECT pg_xact_status(%s::xid8)", (xid,))
            row = await cursor.fetchone()
        except (Interrupted, OperationalError, pg.Error):
            await self._drop()
            return None
        status = None if row is None else row[0]
        return {"committed": True, "aborted": False}.get(status) if status is not None else None

    async def close(self) -> None:
        """See `Transactions.close`."""
        await self._drop()

    async def _connection(self) -> Connection:
        if self._conn is not None and self._conn.closed:
            await self._drop()
        if self._conn is None:
            try:
                self._conn = await self._connect()
            except (pg.Error, OSError) as error:
                raise Interrupted(f"no connection: {type(error).__name__}") from error
        return self._conn

    async def _judge(self, conn: Connection, attempt: _Attempt[T], error: Exception) -> Exception:
        """What the failure means, with the connection ready for the next transaction or gone."""
        lost = conn.closed or conn.info.transaction_status == TransactionStatus.UNKNOWN
        if lost or not await _rolled_back(conn):
            await self._drop()
            if attempt.committing:
                return CommitUnknown(attempt.xid, attempt.result)
            return Interrupted(f"connection lost: {type(error).__name__}")
        if isinstance(error, (*AGAIN, OSError)):
            return Interrupted(type(error).__name__)
        if isinstance(error, pg.IntegrityError) and self._is_race(error.diag.constraint_name or ""):
            return Interrupted(f"another was first: {error.diag.constraint_name}")
        return Refused(error)

    async def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await conn.close()
            except (TimeoutError, pg.Error, OSError):
                pass


class _Attempt(Generic[T]):
    """How far one transaction came."""

    xid: str
    result: T
    committing = False

    async def run(self, conn: Connection, work: Work[T]) -> None:
        async with conn.pipeline():
            await conn.execute("BEGIN")
            named = await conn.execute("SELECT pg_current_xact_id()::text")
            self.result = await work(conn)
            row = await named.fetchone()
            assert row is not None
            self.xid = row[0]
            self.committing = True
            done = await conn.execute("COMMIT")
        assert done.statusmessage == "COMMIT", "the work went on after one of its statements had failed"


async def _rolled_back(conn: Connection) -> bool:
    """End a failed transaction; whether the connection can be used again."""
    try:
        if conn.info.transaction_status != TransactionStatus.IDLE:
            await conn.execute("ROLLBACK")
    except pg.Error:
        return False
    return conn.info.transaction_status == TransactionStatus.IDLE

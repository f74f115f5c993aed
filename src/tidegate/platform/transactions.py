"""One transaction on a connection of its own, and a plain answer to "did it happen?" whatever breaks.

The answers are exceptions by what the caller must do: `Refused` (this work cannot be done), `Interrupted` (nothing was
committed: do it again), `CommitUnknown` (the connection broke around COMMIT: ask `resolve` before anything else).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from psycopg import AsyncCursor
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.pipelines import PipelinedConnection

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

AGAIN = (
    "08",  # connection exceptions
    "25006",  # read only: a standby, or a server that is about to change over
    "25P03",  # idle in transaction for too long
    "25P04",  # transaction timeout
    "26000",  # a prepared statement that a pooler in between has forgotten
    "40",  # serialisation failure, deadlock
    "53",  # out of disk, memory or connections
    "55P03",  # lock not available
    "57",  # cancelled, or the server goes down or comes up
)
"""SQLSTATEs and their classes that say: the same work may succeed when it is done again."""

STALE_PLAN = "0A000"
"""What a prepared statement says after a migration; a new connection prepares it anew."""

LONGEST_S = 15.0
"""Longest life of one transaction; above `statement_timeout` and `lock_timeout`, which end it in a gentler way."""

QUESTION_S = 2.0
"""Longest wait for the answer of `resolve`, once connected."""

GOODBYE = "57P"
"""Class of the errors with which the server ends a connection; says nothing of a COMMIT that was under way."""

CLOSE_S = 1.0
"""Longest wait for a broken connection to close."""

NAME_IT = """
INSERT INTO platform.commits (id, happened) VALUES (%s, true) RETURNING pg_current_xact_id()::text, pg_backend_pid()
"""

RELEASE_EARLY = f"{NAME_IT.rstrip()}, set_config('synchronous_commit', 'off', true)"
"""The same, and COMMIT will not wait for the disk: its locks are free at once. `MAKE_DURABLE` has to follow."""

MAKE_DURABLE = "SELECT pg_logical_emit_message(true, 'tidegate', '')"
"""A transaction of its own that writes next to nothing: its COMMIT waits, as long as the session's `synchronous_commit`
says, until all that was committed before is where it belongs, since the log is written in order."""

END_IT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_xid = %s::xid8::xid
"""
"""A transaction that still runs belongs to a connection that nobody listens to: it is ended, and its locks with it."""

ASK_OR_FORBID = """
INSERT INTO platform.commits AS known (id, happened) VALUES (%s, false)
ON CONFLICT (id) DO UPDATE SET happened = known.happened RETURNING happened
"""
"""Waits for the transaction if it still runs. Once this says false it can never happen: its row is taken."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A transaction's row in `platform.commits`, and where it ran, which is good for nothing but ending it.

    The transaction's number alone says too little: a server that crashed gives the numbers of transactions whose
    records it had not yet written to others, and `pg_xact_status` then speaks of those.
    """

    id: UUID
    xid: str
    pid: int


async def wait_until_durable(conn: Connection) -> None:
    """Wait until all that was read on this connection is on the disk (in a transaction: at its COMMIT)."""
    await conn.execute(MAKE_DURABLE)


class Refused(Exception):
    """The work cannot be done as it is (bad data, a broken constraint, a bug); nothing was changed."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Interrupted(Exception):
    """Something outside the work stopped it; nothing was committed."""


class CommitUnknown(Exception, Generic[T]):
    """The connection broke around COMMIT. `resolve(mark)` knows whether it happened; `result` is the work's."""

    def __init__(self, mark: Mark, result: T) -> None:
        super().__init__(f"transaction {mark.xid}, {mark.id}")
        self.mark = mark
        self.result = result


class Transactions(Protocol):
    """Runs work in transactions, one after the other."""

    async def run(self, work: Work[T]) -> T:
        """Do `work` in one transaction and commit it. Raises: Refused, Interrupted, CommitUnknown."""

    async def resolve(self, mark: Mark) -> bool | None:
        """Whether that transaction was committed; None: cannot be told yet. What was not never will be."""

    async def close(self) -> None:
        """Let the connection go."""


class PostgresTransactions:
    """Transactions on one PostgreSQL connection, kept open and made anew when it breaks.

    Work runs in psycopg's pipeline mode: statements leave without waiting for one another, BEGIN and COMMIT with them.
    Whoever needs a row fetches it, which waits for all that was sent so far; `rowcount` is known only after that.
    COMMIT leaves when the transaction is known to have its row in `platform.commits`, which comes with the first fetch:
    work that fetches once costs two round trips in all. Work that fetches nothing costs two as well; without that row
    nobody could ask later.

    A transaction that takes longer than `longest_s` loses its connection, so that a silent network holds up nobody.

    With `release_early` the locks of a transaction are free before its COMMIT is on the disk: whoever waits for the
    same rows does not wait for the disk as well. `run` returns when it is there all the same. Meanwhile others may see
    what a crash of the server would undo, together with whatever they had written to it on top of that. Who only reads
    and then acts elsewhere, at a provider say, calls `wait_until_durable` first.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[PipelinedConnection]],
        *,
        is_race: Callable[[str], bool] = lambda _: False,
        longest_s: float = LONGEST_S,
        release_early: bool = False,
    ) -> None:
        """`connect` makes a connection in autocommit mode.

        `is_race` knows by their names the constraints that say "another transaction was first": the work is done
        again, and finds what the other one wrote.
        """
        self._connect = connect
        self._is_race = is_race
        self._longest_s = longest_s
        self._release_early = release_early
        self._conn: PipelinedConnection | None = None

    async def run(self, work: Work[T]) -> T:
        """See `Transactions.run`."""
        conn = await self._connection()
        attempt = _Attempt[T](release_early=self._release_early)
        try:
            with silence_ends(conn, after_s=self._longest_s):
                await attempt.run(conn, work)
        except Exception as error:
            raise await self._judge(conn, attempt, error) from error
        except BaseException:
            await self._drop()
            raise
        return attempt.result

    async def resolve(self, mark: Mark) -> bool | None:
        """Ask PostgreSQL whether a transaction happened, and end it if it still runs. See `Transactions.resolve`."""
        try:
            conn = await self._connection()
            with silence_ends(conn, after_s=QUESTION_S):
                await conn.execute(END_IT, (mark.pid, mark.xid))
                cursor = await conn.execute(ASK_OR_FORBID, (mark.id,))
                row = await cursor.fetchone()
        except (Interrupted, pg.Error, OSError):
            await self._drop()
            return None
        return None if row is None else row[0]

    async def close(self) -> None:
        """See `Transactions.close`."""
        await self._drop()

    async def _connection(self) -> PipelinedConnection:
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
        ended = conn.info.transaction_status == TransactionStatus.IDLE and not conn.closed
        alive = ended or await _rolled_back(conn)
        if ended or not alive:
            await self._drop()
        if attempt.committing and not (alive and attempt.was_refused(error)):
            return CommitUnknown(attempt.mark, attempt.result)
        if not alive:
            return Interrupted(f"connection lost: {type(error).__name__}")
        if _sqlstate(error) == STALE_PLAN:
            await self._drop()
            return Interrupted("a migration has changed what a prepared statement returns")
        if isinstance(error, OSError) or _sqlstate(error).startswith(AGAIN):
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


class _RolledBack(Exception):
    """COMMIT was answered with ROLLBACK: the work went on after one of its statements had failed."""


class _Attempt(Generic[T]):
    """How far one transaction came."""

    mark: Mark
    result: T
    committing = False

    def __init__(self, *, release_early: bool) -> None:
        self._release_early = release_early
        self._commit: AsyncCursor[tuple[Any, ...]] | None = None

    async def run(self, conn: PipelinedConnection, work: Work[T]) -> None:
        async with conn.together():
            self._commit = await self._send(conn, work)
            if self._release_early:
                await conn.execute(MAKE_DURABLE)
        if self._commit.statusmessage != "COMMIT":
            raise _RolledBack(f"COMMIT was answered with {self._commit.statusmessage}")

    async def _send(self, conn: Connection, work: Work[T]) -> AsyncCursor[tuple[Any, ...]]:
        """Everything up to COMMIT, whose answer comes when the pipeline ends."""
        await conn.execute("BEGIN")
        mark_id = new_id()
        named = await conn.execute(RELEASE_EARLY if self._release_early else NAME_IT, (mark_id,))
        self.result = await work(conn)
        row = await named.fetchone()
        assert row is not None, "INSERT ... RETURNING returns its row"
        self.mark = Mark(mark_id, *row[:2])
        self.committing = True
        return await conn.execute("COMMIT")

    def was_refused(self, error: Exception) -> bool:
        """Whether the server itself said that this transaction, whose COMMIT was sent, was not committed."""
        if self._commit is not None and self._commit.statusmessage == "COMMIT":
            return False  # it is what followed that failed
        if isinstance(error, (_RolledBack, pg.PipelineAborted)):
            return True
        return _sqlstate(error) != "" and not _sqlstate(error).startswith(GOODBYE)


async def _rolled_back(conn: Connection) -> bool:
    """End a failed transaction; whether the connection can be used again.

    psycopg 3.3 takes a statement for prepared whose preparation an aborted pipeline skipped. Only its own `rollback`
    makes it forget what it believes, and that does nothing when no transaction is open.
    """
    try:
        with silence_ends(conn, after_s=QUESTION_S):
            await conn.rollback()
    except (pg.Error, OSError):
        return False
    return conn.info.transaction_status == TransactionStatus.IDLE


def _sqlstate(error: Exception) -> str:
    """The server's code for an error; empty when the error is not the server's."""
    return (error.sqlstate or "") if isinstance(error, pg.Error) else ""


@contextmanager
def silence_ends(conn: Connection, *, after_s: float) -> Iterator[None]:
    """Break the connection when the block takes longer, as if the other side had closed it.

    A cancellation would not do: psycopg then asks the server to stop and waits for it, on the same silent network.
    """
    timer = asyncio.get_running_loop().call_later(after_s, _hang_up, conn)
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(conn: Connection) -> None:
    if not conn.closed:
        with socket.socket(fileno=os.dup(conn.fileno())) as twin, suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

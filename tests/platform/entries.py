"""Tables and work for tests of transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.waiting import eventually
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.transactions import MAKE_DURABLE, NAME_IT, Mark, PostgresTransactions, Work

TABLES = """
CREATE TABLE public.entries (
    id bigint GENERATED ALWAYS AS IDENTITY,
    request int NOT NULL CHECK (request >= 0)
);
CREATE TABLE public.once (request int PRIMARY KEY);
CREATE TABLE public.parents (id int PRIMARY KEY);
CREATE TABLE public.children (parent int REFERENCES public.parents DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE public.stock (id int PRIMARY KEY, free int NOT NULL);
INSERT INTO public.stock VALUES (1, 10), (2, 10);
CREATE TABLE public.slow (request int);
CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON public.slow
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wait();
"""
"""COMMIT of a transaction that wrote to `slow` waits for advisory lock 1."""


Connect = Callable[[], Awaitable[PipelinedConnection]]


def connector(*urls: str, options: str = "") -> Connect:
    """Connects to one URL after the other, and then to the last one again and again."""
    left = list(urls)

    async def connect() -> PipelinedConnection:
        url = left.pop(0) if len(left) > 1 else left[0]
        return await PipelinedConnection.connect(url, autocommit=True, options=options, connect_timeout=5)

    return connect


class HeldBack(PipelinedConnection):
    """A connection that commits, and asks for the disk only when `go` is set."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.committed = asyncio.Event()
        self.go = asyncio.Event()

    async def until_committed(self) -> None:
        """Until others see what it wrote. Raises: TimeoutError."""
        async with asyncio.timeout(10):
            await self.committed.wait()

    async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        """As the connection's; `committed` is set once COMMIT has been answered."""
        if query == MAKE_DURABLE:
            assert self._pipeline is not None
            await self.wait(self._pipeline._fetch_gen(flush=True))
            self.committed.set()
            await self.go.wait()
        return await super().execute(query, *args, **options)


async def held_back(url: str) -> tuple[HeldBack, PostgresTransactions]:
    """Transactions that release their locks early, and their connection."""
    conn = await HeldBack.connect(url, autocommit=True)

    async def connect() -> PipelinedConnection:
        return conn

    return conn, PostgresTransactions(connect, release_early=True)


async def value(conn: Connection, query: str) -> object:
    row = await (await conn.execute(query)).fetchone()
    assert row is not None
    return row[0]


async def rows(conn: Connection) -> list[int]:
    """Requests in the table, in the order of their writing."""
    return [row[0] for row in await (await conn.execute("SELECT request FROM public.entries ORDER BY id")).fetchall()]


async def nothing(conn: Connection) -> str:
    return "nothing"


def write(*requests: int) -> Work[str]:
    """Work that writes and fetches nothing."""

    async def work(conn: Connection) -> str:
        for request in requests:
            await conn.execute("INSERT INTO public.entries (request) VALUES (%s)", (request,))
        return "written"

    return work


async def look_then_write(conn: Connection) -> int:
    """Work as the engine's: statements, one fetch in the middle, statements."""
    await conn.execute("SELECT set_config('tidegate.note', 'here', true)")
    free = await value(conn, "SELECT free FROM public.stock WHERE id = 1 FOR NO KEY UPDATE")
    await conn.execute("UPDATE public.stock SET free = free - 1 WHERE id = 1")
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    assert isinstance(free, int)
    return free


async def marked(conn: Connection) -> Mark:
    """Give a transaction that was begun by hand its mark."""
    mark_id = new_id()
    row = await (await conn.execute(NAME_IT, (mark_id,))).fetchone()
    assert row is not None
    return Mark(mark_id, *row)


async def backend(conn: Connection) -> object:
    return await value(conn, "SELECT pg_backend_pid()")


async def until_known(transactions: PostgresTransactions, mark: Mark) -> bool | None:
    """How a transaction ended, once that can be told."""
    answers: list[bool | None] = []

    async def known() -> bool:
        answers.append(await transactions.resolve(mark))
        return answers[-1] is not None

    await eventually(known)
    return answers[-1]

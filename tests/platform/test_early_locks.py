"""Locks that are released before the disk has answered: what waits for it all the same, and what breaks in between."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.platform.entries import connector, held_back, look_then_write, rows, value, write
from tidegate.platform.database import Connection
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.transactions import MAKE_DURABLE, CommitUnknown, PostgresTransactions


async def test_locks_are_free_before_the_disk_is_asked_for(entries_url: str, direct: Connection) -> None:
    conn, transactions = await held_back(entries_url)
    running = asyncio.create_task(transactions.run(look_then_write))
    await conn.until_committed()
    assert await value(direct, "SELECT free FROM public.stock WHERE id = 1 FOR NO KEY UPDATE NOWAIT") == 9
    assert not running.done()
    conn.go.set()
    assert await running == 10
    await transactions.close()


async def test_only_the_transaction_itself_does_not_wait_for_the_disk(entries_url: str) -> None:
    conn, transactions = await held_back(entries_url)
    await conn.execute("SET synchronous_commit TO on")  # the suite's server does not wait for its disk
    conn.go.set()
    inside = await transactions.run(partial(value, query="SHOW synchronous_commit"))
    assert (inside, await value(conn, "SHOW synchronous_commit")) == ("off", "on")
    await transactions.close()


async def test_a_backend_that_is_ended_before_the_disk_leaves_it_unknown(entries_url: str, direct: Connection) -> None:
    conn, transactions = await held_back(entries_url)
    running = asyncio.create_task(transactions.run(write(1)))
    await conn.until_committed()
    await direct.execute("SELECT pg_terminate_backend(%s, 5000)", (conn.info.backend_pid,))
    conn.go.set()
    with pytest.raises(CommitUnknown) as caught:
        await running
    other = PostgresTransactions(connector(entries_url))
    assert await other.resolve(caught.value.mark) is True
    assert await rows(direct) == [1]
    await other.close()


class Unable(PipelinedConnection):
    """A connection whose server commits, and then refuses to write what should follow."""

    async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        return await super().execute("SELECT 1 / 0" if query == MAKE_DURABLE else query, *args, **options)


async def test_what_was_committed_is_not_done_again_for_what_follows_it(entries_url: str, direct: Connection) -> None:
    transactions = PostgresTransactions(lambda: Unable.connect(entries_url, autocommit=True), release_early=True)
    with pytest.raises(CommitUnknown) as caught:
        await transactions.run(write(1))
    assert await transactions.resolve(caught.value.mark) is True
    assert await rows(direct) == [1]
    await transactions.close()

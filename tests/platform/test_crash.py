"""What is said of a batch after the database crashed under it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from tests.platform.entries import connector, held_back, marked, value, write
from tidegate.migrations import statements
from tidegate.platform.database import Connection
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running, stop
from tidegate.platform.settings import DatabaseSettings
from tidegate.platform.transactions import CommitUnknown, PostgresTransactions

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

TRIES = 10
SQL = Path(statements.__file__).parent / "sql" / "0082_platform_commits.sql"


def durable_server(folder: Path) -> EmbeddedPostgres:
    """One that waits for its disk, as the suite's own does not."""
    limits = DatabaseSettings(embedded_memory_share=0.01, embedded_max_connections=20)
    return EmbeddedPostgres(folder / "postgres", "password", limits)


async def make_tables(server: EmbeddedPostgres) -> None:
    conn = await connected(server)
    await conn.execute("CREATE SCHEMA platform")
    await conn.execute(SQL.read_bytes())
    await conn.execute("CREATE TABLE public.entries (request int)")
    await conn.close()


async def write_and_tell(conn: Connection) -> str:
    """Writes, and returns how far the log has been written, on the disk or not."""
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    return str(await value(conn, "SELECT pg_current_wal_insert_lsn()"))


async def connected(server: EmbeddedPostgres) -> Connection:
    return await AsyncConnection.connect(server.url(), autocommit=True)


async def test_what_is_said_to_be_committed_is_on_the_disk(tmp_path: Path, release_early: bool) -> None:
    server = durable_server(tmp_path)
    with running(server, log=tmp_path / "postgres.log"):
        await make_tables(server)
        conn = await connected(server)
        transactions = PostgresTransactions(connector(server.url()), release_early=release_early)
        for _ in range(20):
            written = await transactions.run(write_and_tell)
            assert await value(conn, f"SELECT pg_current_wal_flush_lsn() > '{written}'")
        await transactions.close()
        await conn.close()


async def test_what_a_crash_left_of_a_commit_that_was_not_on_the_disk_is_told_as_it_is(tmp_path: Path) -> None:
    """It may have happened or not, and is there or not accordingly; what did not happen never will."""
    server, log = durable_server(tmp_path), tmp_path / "postgres.log"
    with running(server, log=log):
        await make_tables(server)
    undone = 0
    for request in range(TRIES):
        with running(server, log=log) as process:
            held, transactions = await held_back(server.url())
            writing = asyncio.create_task(transactions.run(write(request)))
            await held.until_committed()
            stop(process, with_signal=signal.SIGQUIT)
            held.go.set()
            with pytest.raises(CommitUnknown) as caught:
                await writing
        with running(server, log=log):
            transactions = PostgresTransactions(connector(server.url()), release_early=True)
            happened = await transactions.resolve(caught.value.mark)
            if not happened:
                undone += 1
                await transactions.run(write(request))
            await transactions.close()
            conn = await connected(server)
            assert await value(conn, f"SELECT count(*) FROM public.entries WHERE request = {request}") == 1
            await conn.close()
    assert undone, "no crash undid anything: this test has shown nothing"


async def test_a_number_that_a_crash_gave_to_another_transaction_deceives_nobody(tmp_path: Path) -> None:
    """`pg_xact_status` calls a transaction committed whose records died with the server: another got its number."""
    server, log = durable_server(tmp_path), tmp_path / "postgres.log"
    with running(server, log=log):
        await make_tables(server)
    for _ in range(TRIES):
        with running(server, log=log) as process:
            lost = await connected(server)
            await lost.execute("BEGIN")
            mark = await marked(lost)
            stop(process, with_signal=signal.SIGQUIT)  # `pg_ctl stop -m immediate`
            await lost.close()
        with running(server, log=log):
            conn = await connected(server)
            while int(str(await value(conn, "SELECT pg_current_xact_id()::text"))) < int(mark.xid):
                pass
            seemed = (await (await conn.execute("SELECT pg_xact_status(%s::xid8)", (mark.xid,))).fetchone() or ("",))[0]
            transactions = PostgresTransactions(connector(server.url()))
            happened = await transactions.resolve(mark)
            await transactions.close()
            await conn.close()
        assert happened is False
        if seemed == "committed":
            return
    raise AssertionError("no number was given twice: this test has shown nothing")

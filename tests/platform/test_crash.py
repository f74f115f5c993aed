"""What is said of a batch after the database crashed under it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from tests.platform.entries import connector, marked, value
from tidegate.migrations import statements
from tidegate.platform.database import Connection
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running, stop
from tidegate.platform.settings import DatabaseSettings
from tidegate.platform.transactions import PostgresTransactions

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

TRIES = 10
SQL = Path(statements.__file__).parent / "sql" / "0082_platform_commits.sql"


async def connected(server: EmbeddedPostgres) -> Connection:
    return await AsyncConnection.connect(server.url(), autocommit=True)


async def test_a_number_that_a_crash_gave_to_another_transaction_deceives_nobody(tmp_path: Path) -> None:
    """`pg_xact_status` calls a transaction committed whose records died with the server: another got its number."""
    limits = DatabaseSettings(embedded_memory_share=0.01, embedded_max_connections=20)
    server, log = EmbeddedPostgres(tmp_path / "postgres", "password", limits), tmp_path / "postgres.log"
    with running(server, log=log):
        conn = await connected(server)
        await conn.execute("CREATE SCHEMA platform")
        await conn.execute(SQL.read_bytes())
        await conn.close()
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

"""What PostgresTransactions says of a failure is what a real PostgreSQL did, whatever breaks in between."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg import errors as pg

from tests.platform.entries import (
    backend,
    connector,
    look_then_write,
    marked,
    nothing,
    rows,
    until_known,
    value,
    write,
)
from tests.waiting import eventually
from tidegate.platform.broken_network import Proxy
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.transactions import (
    NAME_IT,
    CommitUnknown,
    Interrupted,
    Mark,
    PostgresTransactions,
    Refused,
    Work,
)

# What goes well, and what it costs


async def test_work_is_committed_and_its_result_comes_back(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    assert await transactions.run(look_then_write) == 10
    assert await transactions.run(look_then_write) == 9
    assert await rows(direct) == [1, 1]


async def two_looks(conn: Connection) -> None:
    await value(conn, "SELECT 1")
    await value(conn, "SELECT 2")


@pytest.mark.parametrize(
    ("work", "expected"),
    [(nothing, 2), (write(1, 2, 3), 2), (look_then_write, 2), (two_looks, 3)],
    ids=["nothing", "writes only", "one fetch", "two fetches"],
)
async def test_a_transaction_costs_one_round_trip_more_than_it_has_fetches(
    through: PostgresTransactions, proxy: Proxy, work: Work[object], expected: int
) -> None:
    for _ in range(8):  # also when psycopg has begun to prepare the statements
        await through.run(nothing)
        proxy.round_trips = 0
        await through.run(work)
        assert proxy.round_trips == expected
    assert proxy.connections == 1


# What the server refuses


async def divide_by_zero(conn: Connection) -> None:
    await conn.execute("SELECT 1 / 0")


async def break_the_check(conn: Connection) -> None:
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    await conn.execute("INSERT INTO public.entries (request) VALUES (-1)")
    for _ in range(20):
        await conn.execute("INSERT INTO public.entries (request) VALUES (2)")


async def break_the_check_and_fetch(conn: Connection) -> None:
    await break_the_check(conn)
    await value(conn, "SELECT 1")


async def break_the_key_with_the_last_write(conn: Connection) -> None:
    await value(conn, "SELECT 1")
    await conn.execute("INSERT INTO public.once VALUES (1)")
    await conn.execute("INSERT INTO public.once VALUES (1)")


async def orphan(conn: Connection) -> None:
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    await conn.execute("INSERT INTO public.children VALUES (1)")


async def bad_text(conn: Connection) -> None:
    await conn.execute("SELECT %s::int", ("one",))


async def no_such_table(conn: Connection) -> None:
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    await conn.execute("SELECT * FROM public.no_such_table")


async def bug(conn: Connection) -> None:
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    raise LookupError("a bug")


@pytest.mark.parametrize(
    ("work", "cause"),
    [
        (divide_by_zero, pg.DivisionByZero),
        (bad_text, pg.InvalidTextRepresentation),
        (break_the_check, pg.CheckViolation),
        (break_the_check_and_fetch, pg.CheckViolation),
        (break_the_key_with_the_last_write, pg.UniqueViolation),
        (no_such_table, pg.UndefinedTable),
        (bug, LookupError),
    ],
)
async def test_bad_data_is_refused_with_the_original_error_and_the_connection_stays(
    transactions: PostgresTransactions, direct: Connection, work: Work[None], cause: type[Exception]
) -> None:
    before = await transactions.run(backend)
    for _ in range(8):  # also when psycopg has begun to prepare the statements
        with pytest.raises(Refused) as caught:
            await transactions.run(work)
        assert type(caught.value.cause) is cause
        assert await transactions.run(backend) == before
    assert await rows(direct) == []
    assert await transactions.run(write(7)) == "written"
    assert await rows(direct) == [7]


async def test_a_constraint_that_fails_at_commit_is_refused(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    for _ in range(8):
        with pytest.raises(Refused) as caught:
            await transactions.run(orphan)
        assert type(caught.value.cause) is pg.ForeignKeyViolation
        assert await transactions.run(nothing) == "nothing"
    assert await rows(direct) == []


async def swallow_in_a_pipeline_of_its_own(conn: Connection) -> str:
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    try:
        async with conn.pipeline():
            await conn.execute("INSERT INTO public.entries (request) VALUES (-1)")
    except pg.CheckViolation:
        pass
    return "all went well"


async def swallow(conn: Connection) -> str:
    await conn.execute("INSERT INTO public.entries (request) VALUES (1)")
    with suppress(pg.DivisionByZero):
        await value(conn, "SELECT 1 / 0")
    await conn.execute("INSERT INTO public.entries (request) VALUES (2)")
    return "all went well"


@pytest.mark.parametrize("work", [swallow, swallow_in_a_pipeline_of_its_own])
async def test_work_that_hides_an_error_is_refused(
    transactions: PostgresTransactions, direct: Connection, work: Work[str]
) -> None:
    for _ in range(8):
        with pytest.raises(Refused):
            await transactions.run(work)
    assert await rows(direct) == []
    assert await transactions.run(write(7)) == "written"


async def test_errors_that_come_after_the_first_are_not_logged_with_their_rows(
    transactions: PostgresTransactions, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(conn: Connection) -> None:
        await conn.execute("INSERT INTO public.once VALUES (4711)")
        await conn.execute("INSERT INTO public.once VALUES (4711)")
        raise LookupError("a bug")

    with pytest.raises(Refused, match="a bug"):
        await transactions.run(work)
    assert "4711" not in caplog.text


async def test_savepoints_work_inside(transactions: PostgresTransactions, direct: Connection) -> None:
    async def work(conn: Connection) -> None:
        await write(1)(conn)
        with pytest.raises(pg.CheckViolation):
            async with conn.transaction():
                await write(2, -1)(conn)
        await write(3)(conn)

    await transactions.run(work)
    assert await rows(direct) == [1, 3]


# What passes by itself


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("22000", Refused),
        ("23505", Refused),
        ("42P01", Refused),
        ("P0001", Refused),
        ("25006", Interrupted),
        ("40001", Interrupted),
        ("40P01", Interrupted),
        ("53100", Interrupted),
        ("53200", Interrupted),
        ("55P03", Interrupted),
        ("57014", Interrupted),
        ("57P01", Interrupted),
        ("57P03", Interrupted),
    ],
)
async def test_errors_are_judged_by_their_code(
    transactions: PostgresTransactions, direct: Connection, sqlstate: str, expected: type[Exception]
) -> None:
    async def work(conn: Connection) -> None:
        await write(1)(conn)
        await conn.execute(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$")

    with pytest.raises(expected):
        await transactions.run(work)
    assert await transactions.run(write(2)) == "written"
    assert await rows(direct) == [2]


def take(first: int, second: int, mine: asyncio.Event, other: asyncio.Event) -> Work[str]:
    """Work that locks two rows, the second when the other side has its first."""

    async def work(conn: Connection) -> str:
        await value(conn, f"SELECT free FROM public.stock WHERE id = {first} FOR NO KEY UPDATE")
        mine.set()
        await other.wait()
        await value(conn, f"SELECT free FROM public.stock WHERE id = {second} FOR NO KEY UPDATE")
        return "both"

    return work


async def test_a_migration_under_a_prepared_statement_interrupts_once(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    async def read_all(conn: Connection) -> int:
        return len(await (await conn.execute("SELECT * FROM entries", prepare=True)).fetchall())

    assert await transactions.run(read_all) == 0
    await direct.execute("ALTER TABLE entries ADD COLUMN later integer")
    with pytest.raises(Interrupted, match="migration"):
        await transactions.run(read_all)
    assert await transactions.run(read_all) == 0


async def test_one_side_of_a_deadlock_is_interrupted(transactions: PostgresTransactions, entries_url: str) -> None:
    other = PostgresTransactions(connector(entries_url))
    here, there = asyncio.Event(), asyncio.Event()
    outcomes = await asyncio.gather(
        transactions.run(take(1, 2, here, there)), other.run(take(2, 1, there, here)), return_exceptions=True
    )
    assert outcomes.count("both") == 1
    assert [str(outcome) for outcome in outcomes if isinstance(outcome, Interrupted)] == ["DeadlockDetected"]
    assert await transactions.run(write(1)) == await other.run(write(2)) == "written"
    await other.close()


async def test_a_lock_that_never_comes_interrupts(entries_url: str, direct: Connection) -> None:
    transactions = PostgresTransactions(connector(entries_url, options="-c lock_timeout=50"))
    async with direct.transaction():
        await direct.execute("SELECT FROM public.stock WHERE id = 1 FOR NO KEY UPDATE")
        with pytest.raises(Interrupted, match="LockNotAvailable"):
            await transactions.run(look_then_write)
    assert await transactions.run(look_then_write) == 10
    await transactions.close()


async def test_a_backend_that_is_ended_in_the_middle_interrupts(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    async def work(conn: Connection) -> None:
        await write(1)(conn)
        await direct.execute("SELECT pg_terminate_backend(%s, 5000)", (await backend(conn),))
        await write(2)(conn)
        await value(conn, "SELECT 1")

    with pytest.raises(Interrupted):
        await transactions.run(work)
    assert await transactions.run(write(3)) == "written"
    assert await rows(direct) == [3]


async def test_a_backend_that_is_ended_while_the_last_writes_wait_with_commit_leaves_nothing(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    async def work(conn: Connection) -> None:
        await write(1)(conn)
        await direct.execute("SELECT pg_terminate_backend(%s, 5000)", (await backend(conn),))
        await write(2)(conn)

    with pytest.raises(CommitUnknown) as caught:
        await transactions.run(work)
    assert await transactions.resolve(caught.value.mark) is False
    assert await transactions.run(write(3)) == "written"
    assert await rows(direct) == [3]


async def test_a_connection_that_died_between_two_transactions_interrupts(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    await direct.execute("SELECT pg_terminate_backend(%s, 5000)", (await transactions.run(backend),))
    with pytest.raises(Interrupted):
        await transactions.run(write(1))
    assert await transactions.run(write(2)) == "written"
    assert await rows(direct) == [2]


async def test_a_server_that_is_away_interrupts_and_answers_no_question(tmp_path: Path) -> None:
    away = PostgresTransactions(connector(f"postgresql:///?host={tmp_path}"))
    with pytest.raises(Interrupted):
        await away.run(nothing)
    assert await away.resolve(Mark(new_id(), "1000", 1)) is None
    await away.close()


async def test_a_cancelled_transaction_leaves_nothing_behind(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    begun = asyncio.Event()

    async def work(conn: Connection) -> None:
        await value(conn, "SELECT free FROM public.stock WHERE id = 1 FOR NO KEY UPDATE")
        await write(1)(conn)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(transactions.run(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await transactions.run(look_then_write) == 10
    assert await rows(direct) == [1]


# Asking how a transaction ended


async def test_the_server_is_asked_how_a_transaction_ended(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    marks = []
    for end in ("COMMIT", "ROLLBACK"):
        await direct.execute("BEGIN")
        marks.append(await marked(direct))
        await direct.execute(end)
    for _ in range(2):
        assert [await transactions.resolve(mark) for mark in marks] == [True, False]


async def test_what_is_said_not_to_have_happened_can_no_longer_happen(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    late = Mark(new_id(), "1000", 1)
    assert await transactions.resolve(late) is False
    with pytest.raises(pg.UniqueViolation):
        await direct.execute(NAME_IT, (late.id,))
    assert await transactions.resolve(late) is False


async def test_a_transaction_in_question_that_still_runs_is_ended_with_its_locks(
    transactions: PostgresTransactions, entries_url: str
) -> None:
    forgotten = await AsyncConnection.connect(entries_url, autocommit=True)
    await forgotten.execute("BEGIN")
    mark = await marked(forgotten)
    await forgotten.execute("SELECT FROM public.stock WHERE id = 1 FOR NO KEY UPDATE")
    assert await until_known(transactions, mark) is False
    assert await transactions.run(look_then_write) == 10
    await forgotten.close()


# What happens while COMMIT is under way


async def slow_commit(conn: Connection) -> str:
    await conn.execute("INSERT INTO public.slow VALUES (1)")
    return "written"


WHO_WAITS = "SELECT max(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_a_backend_that_is_ended_during_commit_leaves_it_unknown(
    transactions: PostgresTransactions, direct: Connection
) -> None:
    await direct.execute("SELECT pg_advisory_lock(1)")
    running = asyncio.create_task(transactions.run(slow_commit))
    await eventually(lambda: value(direct, WHO_WAITS))
    await direct.execute("SELECT pg_terminate_backend(%s, 5000)", (await value(direct, WHO_WAITS),))
    with pytest.raises(CommitUnknown) as caught:
        await running
    assert await until_known(transactions, caught.value.mark) is False
    assert await value(direct, "SELECT count(*) FROM public.slow") == 0


async def test_a_commit_under_way_on_a_cut_connection_is_ended_before_it_is_done_again(
    through: PostgresTransactions, proxy: Proxy, direct: Connection
) -> None:
    await direct.execute("SELECT pg_advisory_lock(1)")
    running = asyncio.create_task(through.run(slow_commit))
    await eventually(lambda: value(direct, WHO_WAITS))
    proxy.cut()
    with pytest.raises(CommitUnknown) as caught:
        await running
    assert await until_known(through, caught.value.mark) is False
    await direct.execute("SELECT pg_advisory_unlock(1)")
    assert await through.run(slow_commit) == "written"
    assert await value(direct, "SELECT count(*) FROM public.slow") == 1


async def test_a_commit_that_waits_for_a_lock_in_vain_interrupts(entries_url: str, direct: Connection) -> None:
    transactions = PostgresTransactions(connector(entries_url, options="-c lock_timeout=50"))
    await direct.execute("SELECT pg_advisory_lock(1)")
    with pytest.raises(Interrupted, match="LockNotAvailable"):
        await transactions.run(slow_commit)
    assert await value(direct, "SELECT count(*) FROM public.slow") == 0
    await transactions.close()


async def test_a_commit_that_takes_too_long_is_given_up_and_ended(entries_url: str, direct: Connection) -> None:
    # PostgreSQL's statement_timeout does not cover COMMIT.
    transactions = PostgresTransactions(connector(entries_url, options="-c statement_timeout=50"), longest_s=0.3)
    await direct.execute("SELECT pg_advisory_lock(1)")
    with pytest.raises(CommitUnknown) as caught:
        await transactions.run(slow_commit)
    assert await until_known(transactions, caught.value.mark) is False
    assert await value(direct, "SELECT count(*) FROM public.slow") == 0
    await transactions.close()


async def test_the_longest_time_is_that_of_one_transaction(entries_url: str) -> None:
    transactions = PostgresTransactions(connector(entries_url), longest_s=0.2)
    before = await transactions.run(backend)
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.5
    while loop.time() < end:
        assert await transactions.run(backend) == before
    await transactions.close()


class Forgetful(PipelinedConnection):
    """A connection whose client runs out of memory after it sent COMMIT."""

    async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        cursor = await super().execute(query, *args, **options)
        if query == "COMMIT":
            raise MemoryError
        return cursor


async def test_an_error_of_our_own_after_commit_leaves_it_unknown(
    entries_url: str, direct: Connection, release_early: bool
) -> None:
    transactions = PostgresTransactions(
        lambda: Forgetful.connect(entries_url, autocommit=True), release_early=release_early
    )
    with pytest.raises(CommitUnknown) as caught:
        await transactions.run(write(1))
    assert await transactions.resolve(caught.value.mark) is True
    assert await rows(direct) == [1]
    await transactions.close()

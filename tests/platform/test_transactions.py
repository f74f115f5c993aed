"""What PostgresTransactions says of a failure is what a real PostgreSQL did, whatever breaks in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg import errors as pg

from tests.proxy import Proxy
from tests.waiting import eventually
from tidegate.platform.database import Connection
from tidegate.platform.group_commit import GroupCommit
from tidegate.platform.settings import BatchSettings
from tidegate.platform.transactions import CommitUnknown, Interrupted, PostgresTransactions, Refused, Work

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
"""

Connect = Callable[[], Awaitable[Connection]]


@pytest.fixture
def url(database_url: str) -> str:
    """A database with tables of ours."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(TABLES)
    return database_url


@pytest.fixture
async def direct(url: str) -> AsyncIterator[Connection]:
    """A connection that nothing disturbs."""
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    async with Proxy.before_postgres(url) as proxy:
        yield proxy


@pytest.fixture
async def transactions(url: str) -> AsyncIterator[PostgresTransactions]:
    transactions = PostgresTransactions(connector(url))
    yield transactions
    await transactions.close()


@pytest.fixture
async def through(proxy: Proxy) -> AsyncIterator[PostgresTransactions]:
    """Transactions through the proxy."""
    transactions = PostgresTransactions(connector(proxy.url))
    yield transactions
    await transactions.close()


def connector(*urls: str, options: str = "") -> Connect:
    """Connects to one URL after the other, and then to the last one again and again."""
    left = list(urls)

    async def connect() -> Connection:
        url = left.pop(0) if len(left) > 1 else left[0]
        return await AsyncConnection.connect(url, autocommit=True, options=options, connect_timeout=5)

    return connect


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


async def backend(conn: Connection) -> object:
    return await value(conn, "SELECT pg_backend_pid()")


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


async def test_one_side_of_a_deadlock_is_interrupted(transactions: PostgresTransactions, url: str) -> None:
    other = PostgresTransactions(connector(url))
    here, there = asyncio.Event(), asyncio.Event()
    outcomes = await asyncio.gather(
        transactions.run(take(1, 2, here, there)), other.run(take(2, 1, there, here)), return_exceptions=True
    )
    assert outcomes.count("both") == 1
    assert [str(outcome) for outcome in outcomes if isinstance(outcome, Interrupted)] == ["DeadlockDetected"]
    assert await transactions.run(write(1)) == await other.run(write(2)) == "written"
    await other.close()


async def test_a_lock_that_never_comes_interrupts(url: str, direct: Connection) -> None:
    transactions = PostgresTransactions(connector(url, options="-c lock_timeout=50"))
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

    with pytest.raises(Interrupted):
        await transactions.run(work)
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
    assert await away.resolve("1000") is None
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
    xids = []
    for end in ("COMMIT", "ROLLBACK"):
        await direct.execute("BEGIN")
        xids.append(str(await value(direct, "SELECT pg_current_xact_id()::text")))
        await direct.execute(end)
    assert [await transactions.resolve(xid) for xid in xids] == [True, False]
    assert await transactions.resolve(str(2**40)) is None
    assert await transactions.resolve(xids[0]) is True


async def test_a_transaction_in_question_that_still_runs_is_ended_with_its_locks(
    transactions: PostgresTransactions, url: str
) -> None:
    forgotten = await AsyncConnection.connect(url, autocommit=True)
    await forgotten.execute("BEGIN")
    xid = str(await value(forgotten, "SELECT pg_current_xact_id()::text"))
    await forgotten.execute("SELECT FROM public.stock WHERE id = 1 FOR NO KEY UPDATE")
    assert await transactions.resolve(xid) is None

    async def rolled_back() -> bool:
        return await transactions.resolve(xid) is False

    await eventually(rolled_back)
    assert await transactions.run(look_then_write) == 10
    await forgotten.close()


# A network that breaks

TO_SERVER = b"COMMIT\x00"
"""In the message that asks for a commit."""
TO_CLIENT = b"COMMIT\x00"
"""In the message that says it was done."""


async def test_a_cut_before_the_commit_is_sent_interrupts(
    through: PostgresTransactions, proxy: Proxy, direct: Connection
) -> None:
    proxy.up.cut_at(b"public.entries")
    with pytest.raises(Interrupted):
        await through.run(write(1))
    assert proxy.up.cuts == 1
    assert await through.run(write(2)) == "written"
    assert await rows(direct) == [2]


async def test_a_cut_before_the_commit_arrives_is_unknown_and_did_not_happen(
    through: PostgresTransactions, proxy: Proxy, direct: Connection
) -> None:
    proxy.up.cut_at(TO_SERVER)
    with pytest.raises(CommitUnknown) as caught:
        await through.run(write(1))
    assert proxy.up.cuts == 1

    async def known() -> bool:
        return await through.resolve(caught.value.xid) is False

    await eventually(known)
    assert await rows(direct) == []


async def test_a_cut_before_the_answer_arrives_is_unknown_and_did_happen(
    through: PostgresTransactions, proxy: Proxy, direct: Connection
) -> None:
    proxy.down.cut_at(TO_CLIENT)
    with pytest.raises(CommitUnknown) as caught:
        await through.run(write(1))
    assert proxy.down.cuts == 1
    assert caught.value.result == "written"
    assert await through.resolve(caught.value.xid) is True
    assert await rows(direct) == [1]


async def write_each(conn: Connection, requests: Sequence[int]) -> Sequence[int | Exception]:
    """Settles as the engine does: looks, then writes."""
    await value(conn, "SELECT free FROM public.stock WHERE id = 1 FOR NO KEY UPDATE")
    for request in requests:
        await conn.execute("INSERT INTO public.entries (request) VALUES (%s)", (request,))
    return list(requests)


async def settle(transactions: PostgresTransactions, requests: Sequence[int]) -> list[int | BaseException]:
    """The outcomes of one batch."""
    limits = BatchSettings(deadline_s=10)
    engine: GroupCommit[int, int] = GroupCommit(transactions, write_each, name="through_a_proxy", limits=limits)
    engine.start()
    try:
        return await asyncio.gather(*map(engine.submit, requests), return_exceptions=True)
    finally:
        await engine.drain()


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("times", [1, 3])
async def test_eight_requests_are_eight_rows_when_the_connection_is_cut_around_commit(
    through: PostgresTransactions, proxy: Proxy, direct: Connection, way: str, times: int
) -> None:
    # Each cut on the way up hits one attempt; on the way back the first cut is the last: it was committed.
    if way == "up":
        proxy.up.cut_at(TO_SERVER, times=times)
    else:
        proxy.down.cut_at(TO_CLIENT, times=times)
    assert await settle(through, range(8)) == list(range(8))
    assert proxy.up.cuts + proxy.down.cuts == (times if way == "up" else 1)
    assert await rows(direct) == list(range(8))


async def test_a_bad_request_and_a_cut_around_commit_together(
    through: PostgresTransactions, proxy: Proxy, direct: Connection
) -> None:
    proxy.down.cut_at(TO_CLIENT, times=2)
    outcomes = await settle(through, [0, 1, 2, -1, 4, 5, 6, 7])
    assert isinstance(outcomes.pop(3), pg.CheckViolation)
    assert outcomes == [0, 1, 2, 4, 5, 6, 7]
    assert proxy.down.cuts == 2
    assert await rows(direct) == [0, 1, 2, 4, 5, 6, 7]


async def test_a_network_that_falls_silent_before_commit_holds_up_nobody_for_long(
    proxy: Proxy, url: str, direct: Connection
) -> None:
    transactions = PostgresTransactions(connector(proxy.url, url), longest_s=0.3)
    proxy.up.fall_silent(at=TO_SERVER)
    assert await settle(transactions, range(8)) == list(range(8))
    assert proxy.up.silent
    assert await rows(direct) == list(range(8))


async def test_a_network_that_swallows_the_answer_holds_up_nobody_for_long(
    proxy: Proxy, url: str, direct: Connection
) -> None:
    transactions = PostgresTransactions(connector(proxy.url, url), longest_s=0.3)
    proxy.down.fall_silent(at=TO_CLIENT)
    assert await settle(transactions, range(8)) == list(range(8))
    assert proxy.down.silent
    assert await rows(direct) == list(range(8))


async def test_a_slow_network_is_no_failure(through: PostgresTransactions, proxy: Proxy, direct: Connection) -> None:
    proxy.up.delay_s = proxy.down.delay_s = 0.02
    assert await settle(through, range(8)) == list(range(8))
    assert proxy.connections == 1
    assert await rows(direct) == list(range(8))

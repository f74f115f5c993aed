"""A connection that breaks or falls silent around COMMIT costs nobody a request, and doubles none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from psycopg import errors as pg

from tests.platform.entries import connector, rows, until_known, value, write
from tidegate.platform.broken_network import Proxy
from tidegate.platform.database import Connection
from tidegate.platform.group_commit import GroupCommit
from tidegate.platform.settings import BatchSettings
from tidegate.platform.transactions import CommitUnknown, Interrupted, PostgresTransactions

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
    assert await until_known(through, caught.value.mark) is False
    assert await rows(direct) == []


async def test_a_cut_before_the_answer_arrives_is_unknown_and_did_happen(
    through: PostgresTransactions, proxy: Proxy, direct: Connection
) -> None:
    proxy.down.cut_at(TO_CLIENT)
    with pytest.raises(CommitUnknown) as caught:
        await through.run(write(1))
    assert proxy.down.cuts == 1
    assert caught.value.result == "written"
    assert await through.resolve(caught.value.mark) is True
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
    proxy: Proxy, entries_url: str, direct: Connection
) -> None:
    transactions = PostgresTransactions(connector(proxy.url, entries_url), longest_s=0.3)
    proxy.up.fall_silent(at=TO_SERVER)
    assert await settle(transactions, range(8)) == list(range(8))
    assert proxy.up.silent
    assert await rows(direct) == list(range(8))


async def test_a_network_that_swallows_the_answer_holds_up_nobody_for_long(
    proxy: Proxy, entries_url: str, direct: Connection
) -> None:
    transactions = PostgresTransactions(connector(proxy.url, entries_url), longest_s=0.3)
    proxy.down.fall_silent(at=TO_CLIENT)
    assert await settle(transactions, range(8)) == list(range(8))
    assert proxy.down.silent
    assert await rows(direct) == list(range(8))


async def test_a_slow_network_is_no_failure(through: PostgresTransactions, proxy: Proxy, direct: Connection) -> None:
    proxy.up.delay_s = proxy.down.delay_s = 0.02
    assert await settle(through, range(8)) == list(range(8))
    assert proxy.connections == 1
    assert await rows(direct) == list(range(8))

"""The outbox: nothing committed is lost, nothing rolled back is told, nothing goes round for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emptying import empty
from tests.servers import TestCluster
from tidegate.platform.backoff import RetryPolicy, backoff_s
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import EVENT_TASK, RECEIPTS, WITHIN_1M, Call, Subscription
from tidegate.platform.outbox import (
    CHANNEL,
    Claimed,
    Event,
    Handler,
    Outcome,
    claim_events,
    handle_events,
    load_events,
    release_events,
    write_events,
)
from tidegate.platform.relay import calls_for

pytestmark = pytest.mark.anyio

POLICY = RetryPolicy(lease_s=60, base_s=2, cap_s=900, max_attempts=3)
AT_ONCE = RetryPolicy(lease_s=0, base_s=0, cap_s=0, max_attempts=3)
EMAIL = "ada.lovelace@example.com"
MILLISECONDS = st.integers(0, 10_000_000).map(lambda ms: ms / 1000)


@pytest.fixture(scope="module")
def module_database_url(cluster: TestCluster) -> Iterator[str]:
    """The database of this file's tests."""
    url = cluster.clone()
    yield url
    cluster.drop(url)


@pytest.fixture
def database_url(module_database_url: str) -> str:
    """It, emptied."""
    return empty(module_database_url)


def event(topic: str = "order.paid", **payload: object) -> Event:
    return Event(EventId(new_id()), topic, payload, {"email": EMAIL})


async def write(database: Database, events: Sequence[Event]) -> None:
    async with database.transaction() as conn:
        await write_events(conn, events)


async def write_and_fail(database: Database, event: Event) -> None:
    async with database.transaction() as conn:
        await write_events(conn, [event])
        raise ZeroDivisionError


async def claim(database: Database, *, limit: int = 100, lease_s: float = 60) -> list[EventId]:
    async with database.transaction() as conn:
        return [each.id for each in await claim_events(conn, limit=limit, lease_s=lease_s)]


async def row(database: Database, event_id: EventId) -> tuple[object, ...]:
    """state, attempts, last_error, seconds until due, personal data."""
    async with database.connection() as conn:
        found = await (
            await conn.execute(
                """
                SELECT state, attempts, last_error, extract(epoch FROM next_attempt_at - clock_timestamp())::float8,
                       personal_sealed
                FROM platform.outbox WHERE id = %s
                """,
                (event_id,),
            )
        ).fetchone()
    assert found is not None
    return found


async def nothing(events: Sequence[Event]) -> None:
    pass


async def break_down(events: Sequence[Event]) -> None:
    for event in events:
        assert event.personal is not None
        raise RuntimeError(f"cannot write to {event.personal['email']}")


async def handle(
    database: Database, written: Event, handlers: Mapping[str, Sequence[Handler]], policy: RetryPolicy = POLICY
) -> Outcome:
    return (await handle_events(database, event_ids=[written.id], handlers=handlers, policy=policy))[written.id]


async def test_an_event_is_there_exactly_when_its_transaction_is(database: Database) -> None:
    told, untold = event(), event()
    await write(database, [told])
    with pytest.raises(ZeroDivisionError):
        await write_and_fail(database, untold)
    assert await claim(database) == [told.id]


async def test_an_event_comes_back_as_it_was_and_its_personal_data_is_not_readable(database: Database) -> None:
    written = event(number="K7P2-9QXA", lines=[{"title": "Lamp"}])
    await write(database, [written])
    async with database.connection() as conn:
        stored = await (await conn.execute("SELECT o::text, personal_sealed FROM platform.outbox o")).fetchone()
        read, _ = await load_events(conn, event_ids=[written.id], policy=POLICY)
    assert stored is not None
    assert EMAIL not in stored[0]
    assert EMAIL.encode() not in bytes(stored[1])
    assert read == [written]
    assert EMAIL not in repr(read)


async def test_an_event_that_commits_late_is_not_passed_over(database: Database) -> None:
    early, late = event(), event()
    assert early.id < late.id
    async with database.transaction() as conn:
        await write_events(conn, [early])
        await write(database, [late])
        assert await claim(database) == [late.id]
    assert await claim(database) == [early.id]


async def test_claimers_share_the_events_among_themselves(database: Database) -> None:
    events = [event() for _ in range(60)]
    await write(database, events)
    claims = await asyncio.gather(*(claim(database, limit=15) for _ in range(6)))
    taken = [event_id for claimed in claims for event_id in claimed]
    taken += await claim(database)
    assert sorted(taken) == sorted(one.id for one in events)
    assert all(len(claimed) <= 15 for claimed in claims)


async def test_a_lease_that_ran_out_or_was_given_back_is_handed_out_again(database: Database) -> None:
    await write(database, [event()])
    first = await claim(database, lease_s=0)
    assert await claim(database, lease_s=60) == first
    assert await claim(database) == []
    async with database.connection() as conn:
        await release_events(conn, event_ids=first)
    assert await claim(database) == first


async def test_a_handled_event_is_done_and_forgets_whom_it_was_about(database: Database) -> None:
    seen: list[Event] = []

    async def handler(events: Sequence[Event]) -> None:
        seen.extend(events)

    written = event()
    await write(database, [written])
    handlers = {"order.paid": [handler, handler]}
    assert await handle(database, written, handlers) == Outcome.DONE
    assert await handle(database, written, handlers) == Outcome.GONE
    assert seen == [written, written]
    state, attempts, error, _, personal = await row(database, written.id)
    assert (state, attempts, error, personal) == ("done", 1, None, None)
    assert await claim(database, lease_s=0) == []


async def test_a_failure_brings_the_event_back_later_and_does_not_stop_the_other_handlers(database: Database) -> None:
    ran: list[Event] = []

    async def other(events: Sequence[Event]) -> None:
        ran.extend(events)

    written = event()
    await write(database, [written])
    outcomes = await handle_events(
        database,
        event_ids=[written.id],
        handlers={"order.paid": [break_down, other]},
        policy=RetryPolicy(60, base_s=100, cap_s=900, max_attempts=3),
        draw=lambda: 0.0,
    )
    assert outcomes == {written.id: Outcome.FAILED}
    assert ran == [written]
    state, attempts, error, due_in_s, personal = await row(database, written.id)
    assert (state, attempts) == ("pending", 1)
    assert personal is not None
    assert isinstance(due_in_s, float)
    assert 40 < due_in_s < 51
    assert isinstance(error, str)
    assert "RuntimeError" in error
    assert EMAIL not in error


async def test_an_event_that_keeps_failing_ends_as_dead_with_the_reason(database: Database) -> None:
    written = event()
    await write(database, [written])
    for _ in range(AT_ONCE.max_attempts):
        assert await claim(database, lease_s=0) == [written.id]
        await handle(database, written, {"order.paid": [break_down]}, AT_ONCE)
    assert await claim(database) == []
    state, attempts, error, _, _ = await row(database, written.id)
    assert (state, attempts) == ("dead", AT_ONCE.max_attempts)
    assert "RuntimeError" in str(error)


async def test_an_event_that_kills_its_worker_every_time_ends_as_dead(database: Database) -> None:
    written = event()
    await write(database, [written])
    async with database.connection() as conn:
        for _ in range(AT_ONCE.max_attempts):
            assert await load_events(conn, event_ids=[written.id], policy=AT_ONCE) == ([written], {})
        assert await load_events(conn, event_ids=[written.id], policy=AT_ONCE) == ([], {})
    state, _, error, _, _ = await row(database, written.id)
    assert (state, error) == ("dead", "its worker died on every attempt")


async def test_a_topic_that_this_worker_does_not_know_waits_for_one_that_does(database: Database) -> None:
    written = event("order.returned")
    await write(database, [written])
    known = {"order.paid": [nothing]}
    assert await handle(database, written, known, AT_ONCE) == Outcome.FAILED
    assert (await row(database, written.id))[0] == "pending"
    newer = {**known, "order.returned": []}
    assert await handle(database, written, newer, AT_ONCE) == Outcome.DONE


async def test_events_of_a_topic_are_handled_together(database: Database) -> None:
    seen: list[Sequence[Event]] = []

    async def handler(events: Sequence[Event]) -> None:
        seen.append(events)

    paid, sent = [event() for _ in range(3)], event("order.sent")
    await write(database, [*paid, sent])
    ids = [each.id for each in (*paid, sent)]
    handlers = {"order.paid": [handler], "order.sent": [handler]}
    assert await handle_events(database, event_ids=ids, handlers=handlers, policy=POLICY) == dict.fromkeys(
        ids, Outcome.DONE
    )
    assert sorted((sorted(each.id for each in some) for some in seen), key=len) == [
        [sent.id],
        sorted(each.id for each in paid),
    ]
    assert set((await handle_events(database, event_ids=ids, handlers=handlers, policy=POLICY)).values()) == {
        Outcome.GONE
    }


async def test_one_event_that_fails_does_not_bring_back_those_beside_it(database: Database) -> None:
    good, bad = [event() for _ in range(3)], event(bad=True)
    done: list[EventId] = []

    async def handler(events: Sequence[Event]) -> None:
        if any(each.payload.get("bad") for each in events):
            raise KeyError("bad")
        done.extend(each.id for each in events)

    await write(database, [*good, bad])
    ids = [each.id for each in (*good, bad)]
    outcomes = await handle_events(database, event_ids=ids, handlers={"order.paid": [handler]}, policy=POLICY)
    assert outcomes == {**{each.id: Outcome.DONE for each in good}, bad.id: Outcome.FAILED}
    assert sorted(done) == sorted(each.id for each in good)
    assert (await row(database, bad.id))[:2] == ("pending", 1)


async def test_an_outage_in_the_middle_is_not_tried_again_for_each_event(database: Database) -> None:
    calls: list[int] = []

    async def handler(events: Sequence[Event]) -> None:
        calls.append(len(events))
        raise psycopg.OperationalError("the server closed the connection")

    events = [event() for _ in range(3)]
    await write(database, events)
    outcomes = await handle_events(
        database, event_ids=[each.id for each in events], handlers={"order.paid": [handler]}, policy=POLICY
    )
    assert outcomes == dict.fromkeys((each.id for each in events), Outcome.FAILED)
    assert calls == [3]


async def test_one_event_that_cannot_be_read_does_not_keep_the_others(database: Database) -> None:
    good, broken = event(), event()
    await write(database, [good, broken])
    async with database.connection() as conn:
        await conn.execute("UPDATE platform.outbox SET personal_sealed = 'x' WHERE id = %s", (broken.id,))
    outcomes = await handle_events(
        database, event_ids=[good.id, broken.id], handlers={"order.paid": [nothing]}, policy=POLICY
    )
    assert outcomes == {good.id: Outcome.DONE, broken.id: Outcome.FAILED}


def test_events_of_a_topic_share_tasks_and_one_that_was_tried_is_alone() -> None:
    fresh = [Claimed(EventId(new_id()), "order.paid", tried=False) for _ in range(5)]
    tried = [Claimed(EventId(new_id()), "order.paid", tried=True) for _ in range(2)]
    strange = [Claimed(EventId(new_id()), "order.returned", tried=False) for _ in range(2)]
    calls = calls_for([*tried, *fresh, *strange], {"order.paid": Subscription(RECEIPTS, (), at_once=4)})
    assert calls == [
        Call(EVENT_TASK, tuple(str(each.id) for each in fresh[:4]), RECEIPTS),
        Call(EVENT_TASK, (str(fresh[4].id),), RECEIPTS),
        *(Call(EVENT_TASK, (str(each.id),), RECEIPTS) for each in tried),
        *(Call(EVENT_TASK, (str(each.id),), WITHIN_1M) for each in strange),
    ]


async def test_a_batch_wakes_the_relay_once(database: Database, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}")
        await write(database, [event() for _ in range(20)])
        await write(database, [])
        await listener.execute("SELECT pg_notify('tidegate_outbox', 'end')")
        notices = [notice.payload async for notice in listener.notifies(timeout=10, stop_after=2)]
    assert notices == ["", "end"]


@given(
    failures=st.integers(0, 10_000),
    base_s=MILLISECONDS,
    cap_s=MILLISECONDS,
    draw=st.floats(0, 1, exclude_max=True),
)
def test_pauses_grow_to_their_cap_and_are_spread(failures: int, base_s: float, cap_s: float, draw: float) -> None:
    pause = backoff_s(failures=failures, base_s=base_s, cap_s=cap_s, draw=draw)
    assert 0 <= pause <= cap_s
    assert pause <= backoff_s(failures=failures + 1, base_s=base_s, cap_s=cap_s, draw=draw)
    assert pause >= backoff_s(failures=failures, base_s=base_s, cap_s=cap_s, draw=0.0)
    assert 2 * backoff_s(failures=failures, base_s=base_s, cap_s=cap_s, draw=0.0) >= pause

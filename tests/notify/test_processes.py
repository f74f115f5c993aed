"""From a committed event to the mail through the real processes: two schedulers, a worker, and what kills them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
import redis

from benchmarks.followers import add_followers, email_of
from tests.notify.hooking import endpoint, orders
from tests.notify.postbox import Postbox, open_postbox
from tests.notify.processes import Processes, begin, inboxes, progress
from tests.notify.receiver import Call, open_receiver
from tests.sizes import at_full_size
from tests.waiting import eventually
from tidegate import notify
from tidegate.notify.deliveries import on_order_events
from tidegate.notify.tasks import sweep
from tidegate.platform.bytecode import cache_environment
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.jobs import RECEIPTS, lane_depths, make_app
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.settings import current_settings

pytestmark = pytest.mark.anyio

LEASE_S = 2


@pytest.fixture
async def postbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Postbox]:
    """Where the shop mails to; also told to its processes."""
    async with open_postbox() as box:
        monkeypatch.setenv("TIDEGATE_MAIL__SMTP_URL", box.url)
        monkeypatch.setenv("TIDEGATE_MAIL__LEASE_S", str(2 * LEASE_S))
        monkeypatch.setenv("TIDEGATE_MAIL__TIMEOUT_S", str(LEASE_S))
        monkeypatch.setenv("TIDEGATE_JOBS__EVENT_LEASE_S", str(LEASE_S))
        monkeypatch.setenv("TIDEGATE_JOBS__NOTIFY_SWEEP_S", "1")
        monkeypatch.setenv("TIDEGATE_JOBS__SOFT_SHUTDOWN_S", "1")
        current_settings.cache_clear()
        yield box


@pytest.fixture
async def processes(
    postbox: Postbox, database: Database, pytestconfig: pytest.Config, tmp_path: Path
) -> AsyncIterator[Processes]:
    """None running yet; those that are at the end are stopped."""
    processes = Processes(tmp_path, {**os.environ, **cache_environment(pytestconfig.rootpath / ".pytest_cache")})
    yield processes
    processes.stop()


def order_paid(number: int) -> Event:
    return Event(
        EventId(new_id()),
        "order.paid",
        {
            "order_id": str(new_id()),
            "number": f"K7P2-{number:04}",
            "buyer_id": str(uuid4()),
            "total": {"amount": 420, "currency": "GBP"},
            "lines": [{"title": "Lamp", "sku": "LAMP", "quantity": 1, "amount": 420}],
            "order_url": "http://127.0.0.1:8000/orders/1",
        },
        {"email": f"buyer{number}@example.com", "name": "Ada"},
    )


async def pay(database: Database, events: list[Event]) -> None:
    async with database.transaction() as conn:
        await write_events(conn, events)


async def told(database: Database, event: Event) -> int:
    """How many inbox messages the event's buyer has."""
    async with database.connection() as conn:
        recipient = PersonId(UUID(event.payload["buyer_id"]))
        return len(await notify.list_inbox(conn, recipient_id=recipient, limit=10))


async def unfinished(database: Database) -> int:
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                """
                SELECT (SELECT count(*) FROM platform.outbox WHERE state <> 'done')
                     + (SELECT count(*) FROM notify.deliveries WHERE state <> 'sent')
                """
            )
        ).fetchone()
    assert row is not None
    return int(row[0])


async def finished(database: Database) -> bool:
    return await unfinished(database) == 0


async def test_every_paid_order_is_told_once_though_processes_die(
    postbox: Postbox, database: Database, processes: Processes
) -> None:
    for _ in range(2):
        processes.start("scheduler")
    worker = processes.start("worker")
    many = [order_paid(number) for number in range(12)]
    await pay(database, many)
    await eventually(lambda: finished(database), timeout_s=60)
    assert sorted(recipient for recipient, _ in postbox.taken) == sorted(f"buyer{n}@example.com" for n in range(12))
    assert [await told(database, event) for event in many] == [1] * 12

    postbox.stall = True
    last = [order_paid(number) for number in range(90, 99)]
    await pay(database, last)
    await eventually(postbox.stalled.is_set)
    await processes.kill(worker)
    assert [postbox.mails_to(f"buyer{number}@example.com") for number in range(90, 99)] == [[]] * 9
    postbox.stall = False
    processes.start("worker")
    await eventually(lambda: finished(database), timeout_s=60)
    assert [len(postbox.mails_to(f"buyer{number}@example.com")) for number in range(90, 99)] == [1] * 9
    assert [await told(database, event) for event in last] == [1] * 9

    assert set(processes.stop().values()) <= {0, 1}


async def test_a_round_of_the_sweeper_hands_out_what_is_late_and_no_more_than_once(
    postbox: Postbox, database: Database
) -> None:
    settings = current_settings()
    settings = settings.model_copy(
        update={
            "jobs": settings.jobs.model_copy(update={"notify_sweep_s": 60}),
            "mail": settings.mail.model_copy(update={"lease_s": 3_600}),
        }
    )
    make_app(settings)
    event = order_paid(1)
    await on_order_events(database, settings, [event])
    assert await sweep(database, settings) == 0
    assert lane_depths()[RECEIPTS] == 0
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET next_attempt_at = clock_timestamp() - interval '61 seconds'")
    for _ in range(3):
        assert await sweep(database, settings) == 0
    assert lane_depths()[RECEIPTS] == 1


async def test_a_send_survives_the_death_of_its_worker_and_of_its_broker_and_tells_nobody_twice(
    postbox: Postbox, database: Database, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = current_settings()
    small = {"TIDEGATE_FOLLOWS__BATCH": "150", "TIDEGATE_MAIL__BATCH": "40"}
    outlived_by_no_handful = {"TIDEGATE_MAIL__LEASE_S": "12"}
    processes.environment = {**processes.environment, **small, **outlived_by_no_handful}
    crowd = 600
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=crowd)
    gone = {email_of("lamps", number) for number in range(0, crowd, 100)}
    postbox.refusals.update(dict.fromkeys(gone, "550 no such mailbox"))
    for _ in range(2):
        processes.start("scheduler")
    worker = processes.start("worker")
    event_id = await begin(database, "lamps")

    async def half_told() -> bool:
        return len(postbox.taken) >= crowd // 4

    await eventually(half_told, timeout_s=60)
    await processes.kill(worker)
    assert len(postbox.taken) < crowd - len(gone), "killed in the middle"
    with redis.Redis.from_url(settings.require_broker_url()) as broker:
        broker.flushall()
    processes.start("worker")

    async def over() -> bool:
        return (await progress(database, event_id)).over

    await eventually(over, timeout_s=60)
    done = await progress(database, event_id)
    assert (done.followers, done.messages) == (crowd, 2 * crowd)
    assert (done.delivered, done.failed, done.suppressed) == (2 * crowd - len(gone), len(gone), 0)
    assert await inboxes(database, event_id) == crowd
    told = [recipient for recipient, _ in postbox.taken]
    assert set(told) == {email_of("lamps", number) for number in range(crowd)} - gone
    assert len(told) - len(set(told)) <= done.doubtful <= 3 * settings.mail.window, "only what nobody can know"


async def endings(database: Database, endpoint_id: UUID) -> Counter[str]:
    """How many of an endpoint's webhooks stand how."""
    async with database.connection() as conn:
        found = await conn.execute(
            "SELECT state, count(*) FROM notify.deliveries WHERE channel = 'webhook' AND recipient_id = %s"
            " GROUP BY state",
            (endpoint_id,),
        )
        return Counter(dict(await found.fetchall()))


@at_full_size  # a send survives it above, by the same leases
async def test_webhooks_survive_the_death_of_their_worker_and_are_told_once_but_for_what_it_had_in_hand(
    postbox: Postbox, database: Database, processes: Processes
) -> None:
    few = {"BATCH": "30", "CONNECTIONS": "4", "TURN_S": "1", "TIMEOUT_S": "1", "LEASE_S": "1", "SWEEP_MS": "100"}
    again = {"RETRY_BASE_S": "1", "RETRY_CAP_S": "1", "HOLD_BASE_S": "1", "HOLD_CAP_S": "1", "MAX_ATTEMPTS": "2"}
    changes = {f"TIDEGATE_WEBHOOKS__{name}": value for name, value in (few | again).items()}
    processes.environment = {
        **processes.environment, **changes, "TIDEGATE_WEBHOOKS__ALLOW_HOSTS": '["127.0.0.1"]',
    }  # fmt: skip
    settings, crowd, refused = current_settings(), 70, 3
    async with open_receiver() as receiver:
        taken: set[str] = set()

        def first_some(call: Call) -> int | str:
            if len(taken) >= 35:
                return "hang"
            taken.add(call.headers["webhook-id"])
            return 200

        def all_but_few(call: Call) -> int:
            return 400 if call.headers["webhook-id"] in unwanted else 200

        receiver.script = first_some
        listening = (await endpoint(database, settings, receiver.url)).endpoint.endpoint_id
        events = await orders(database, settings, crowd)
        unwanted = {f"msg_{event_id.hex}_{listening.hex}" for event_id in events[-refused:]}
        processes.start("scheduler")
        worker = processes.start("worker")
        await eventually(receiver.hanging.is_set, timeout_s=30)
        await processes.kill(worker)
        told = await endings(database, listening)
        assert 0 < told["sent"] < crowd, "killed in the middle"
        assert told["sent"] + told["pending"] == crowd
        async with database.transaction() as conn:
            other = (await endpoint(database, settings, f"{receiver.url}/other")).endpoint.endpoint_id
            await orders(database, settings, 5)
            await notify.delete_endpoint(conn, endpoint_id=other)
        receiver.script = all_but_few
        processes.start("worker")

        async def over() -> bool:
            return not any([(await endings(database, each))["pending"] for each in (listening, other)])

        await eventually(over, timeout_s=60)
        assert await endings(database, listening) == {"sent": crowd + 5 - refused, "failed": refused}
        assert await endings(database, other) == {"suppressed": 5}
        async with database.connection() as conn:
            rows = await conn.execute(
                "SELECT event_id FROM notify.deliveries"
                " WHERE channel = 'webhook' AND recipient_id = %s AND attempts > 1",
                (listening,),
            )
            in_hand = {f"msg_{row[0].hex}_{listening.hex}" for row in await rows.fetchall()}
        answered_twice = {each for each in taken if receiver.ids[each] > 1}
        assert answered_twice <= in_hand - unwanted, "only what the dead worker had in hand"
        assert len(in_hand - unwanted) <= 30, "and that is one batch at most"
        assert len(receiver.ids) == crowd + 5

"""The whole road on RabbitMQ's quorum queues: a receipt and a large send, though a worker and the broker die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from benchmarks.followers import add_followers
from tests.notify.postbox import Postbox
from tests.notify.processes import Processes, inboxes, progress
from tests.notify.test_processes import finished, order_paid, pay, told
from tests.notify.test_processes import postbox as postbox  # noqa: PLC0414 - a fixture
from tests.notify.test_processes import processes as processes  # noqa: PLC0414 - a fixture
from tests.rabbit import Rabbit, is_installed
from tests.waiting import eventually
from tidegate import notify
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import BULK, LANES, Call, lane_depths, make_app, publish
from tidegate.platform.settings import current_settings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not is_installed(), reason="no RabbitMQ here: install the package rabbitmq-server"),
]

CROWD = 3_000


@pytest.fixture
def rabbit(tmp_path: Path, postbox: Postbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rabbit]:
    """A node that the shop's processes are told of."""
    node = Rabbit(tmp_path)
    monkeypatch.setenv("TIDEGATE_BROKER_URL", node.url)
    current_settings.cache_clear()
    try:
        node.start()
        yield node
    finally:
        node.stop()


async def test_receipts_and_sends_survive_the_death_of_their_worker_and_a_restart_of_rabbitmq(
    rabbit: Rabbit, postbox: Postbox, database: Database, processes: Processes
) -> None:
    settings = current_settings()
    make_app(settings)
    assert lane_depths() == dict.fromkeys(LANES, 0)
    publish([Call("notify.tell", ("00000000-0000-7000-8000-000000000000",), BULK)])
    await eventually(lambda: lane_depths()[BULK] == 1)

    processes.environment = {
        **processes.environment,
        "TIDEGATE_BROKER_URL": rabbit.url,
        "TIDEGATE_FOLLOWS__BATCH": "100",
        "TIDEGATE_PACING__STEP": "20",
        "TIDEGATE_PACING__UNKNOWN_SHARE": "0.05",
    }
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=CROWD, own_addresses=False)
    processes.start("scheduler")
    worker = processes.start("worker")
    first = order_paid(1)
    await pay(database, [first])
    await eventually(lambda: finished(database), timeout_s=60)
    assert len(postbox.mails_to("buyer1@example.com")) == await told(database, first) == 1

    event_id = EventId(new_id())
    async with database.transaction() as own:
        (topic,) = await notify.find_followed(own, topics={notify.TopicKind.COLLECTION: ["lamps"]})
        words = {"title": "Lamps", "url": "http://127.0.0.1:8000/drops/lamps"}
        inbox = [notify.Channel.INBOX]
        await notify.begin_send(
            own, event_id=event_id, topic=topic, template="drop_open", variables=words, channels=inbox
        )

    async def some_are_told() -> bool:
        return await inboxes(database, event_id) >= CROWD // 10

    await eventually(some_are_told, timeout_s=60)
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    worker.kill()
    worker.wait()
    processes.running.remove(worker)
    await eventually(lambda: not any(one.is_running() for one in family))
    rabbit.stop()
    assert await inboxes(database, event_id) < CROWD, "stopped in the middle"
    rabbit.start()
    processes.start("worker")
    last = order_paid(2)
    await pay(database, [last])

    async def over() -> bool:
        return (await progress(database, event_id)).over and await finished(database)

    await eventually(over, timeout_s=60)
    assert await inboxes(database, event_id) == CROWD
    assert len(postbox.mails_to("buyer2@example.com")) == await told(database, last) == 1

"""Messages an hour: a million inboxes, a hundred thousand mails, and a receipt that must not wait behind them.

    python -m benchmarks notify [--inbox 1000000] [--mail 100000] [--naive 5000] [--webhooks 50000] [--smoke] --json

Real Celery workers (two processes for all lanes, one more that leaves `bulk` alone), the scheduler, a durable
PostgreSQL and Valkey, all on this machine's cores. Each send begins as in the shop: with a row and an outbox event.

`inbox_per_hour` counts followers whose delivery and inbox message are committed, mostly by INSERT ... SELECT.
`email_per_hour` counts mails that went over real SMTP to a sink process which drops them, with their deliveries.
`webhook_per_hour` counts webhooks that were signed, posted over real HTTP to a sink process and marked as taken.
`naive_per_hour` is a Celery task per recipient on the same workers: an inbox message and its delivery in a transaction.
`row_limit_per_hour` is a bare COPY of the same rows into tables with the same indexes, by one connection.
`sink_limit_per_hour` is what the sink takes from one connection that waits for nothing: it is not what is measured.
`api_p99_excess_ms` and `paced_per_hour` are those of the benchmark `notify_pacing`, which `--no-pacing` leaves out.
`transactional_p99_s` is from the commit of an order's event to its mail in the sink, while the mails are sent.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import psutil
import psycopg

from benchmarks.followers import add_followers, email_of
from benchmarks.notify_processes import NAIVE_TASK, VARIABLES
from benchmarks.notify_webhooks import call_endpoints
from benchmarks.probes import say
from benchmarks.servers import Servers, environment, machine, servers, serving
from benchmarks.smtp_sink import ask, limit_per_hour
from tidegate import notify
from tidegate.platform.database import Database, open_database
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import BULK, Call, lane_depths, make_app, publish
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.settings import current_settings

POLL_S: Final = 0.1
RECEIPT_EVERY_S: Final = 0.25
LONGEST_S: Final = 1_800.0
NAIVE_AHEAD: Final = 500
SMOKE: Final = ("--inbox", "2000", "--mail", "200", "--naive", "20", "--webhooks", "200", "--no-pacing")
SAME_ROWS: Final = ("deliveries", "inbox_messages")


@dataclass(frozen=True, slots=True)
class Options:
    """How many of each."""

    inbox: int
    mail: int
    naive: int
    webhooks: int
    pacing: bool


@dataclass(slots=True)
class Watch:
    """The largest that was seen of what must stay bounded."""

    processes: Sequence[psutil.Process]
    rss_mb: float = 0.0
    queue: int = 0

    def look(self) -> None:
        """Look once."""
        family = [each for process in self.processes for each in (process, *process.children(recursive=True))]
        sizes = [_rss_mb(each) for each in family]
        self.rss_mb = max(self.rss_mb, *sizes)
        self.queue = max(self.queue, sum(lane_depths().values()))


@dataclass(slots=True)
class Receipts:
    """Orders paid while a send runs: their addresses, and when they were committed (monotonic seconds)."""

    paid_at: dict[str, float] = field(default_factory=dict)


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring."""
    asked = parse(options)
    with ExitStack() as stack:
        these = stack.enter_context(servers())
        sink_port = free_port()
        stack.enter_context(serving(these.home, "benchmarks.smtp_sink", str(sink_port), port=sink_port))
        hook_port = free_port()
        stack.enter_context(serving(these.home, "benchmarks.http_sink", str(hook_port), port=hook_port))
        hooks = {"TIDEGATE_WEBHOOKS__ALLOW_HOSTS": '["127.0.0.1"]'}
        with environment({"TIDEGATE_MAIL__SMTP_URL": f"smtp://127.0.0.1:{sink_port}"} | hooks):
            make_app(current_settings())
            processes = []
            for kind in ("worker", "urgent", "scheduler"):
                port = free_port()
                processes.append(
                    stack.enter_context(serving(these.home, "benchmarks.notify_processes", kind, str(port), port=port))
                )
            figures = asyncio.run(_measure(these, asked, (sink_port, hook_port), Watch(processes)))
    if not asked.pacing:
        return figures
    from benchmarks import notify_pacing

    return {**notify_pacing.run([]), **figures}


def parse(options: Sequence[str]) -> Options:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks notify")
    parser.add_argument("--inbox", type=int, default=1_000_000)
    parser.add_argument("--mail", type=int, default=100_000)
    parser.add_argument("--naive", type=int, default=5_000)
    parser.add_argument("--webhooks", type=int, default=50_000)
    parser.add_argument("--no-pacing", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    found = parser.parse_args(options)
    if found.smoke:
        return parse(SMOKE)
    return Options(found.inbox, found.mail, found.naive, found.webhooks, pacing=not found.no_pacing)


async def _measure(these: Servers, asked: Options, ports: tuple[int, int], watch: Watch) -> Mapping[str, object]:
    sink_port, hook_port = ports
    with psycopg.connect(these.database_url, autocommit=True) as conn:
        say("making followers")
        add_followers(conn, kind="collection", key="warm", count=10)
        add_followers(conn, kind="collection", key="inbox", count=asked.inbox, own_addresses=False)
        add_followers(conn, kind="collection", key="mail", count=asked.mail, inbox=False)
        async with open_database(current_settings()) as database:
            await _send(database, watch, key="warm", channels=tuple(notify.Channel))
            say("telling inboxes")
            inbox_id, inbox_s = await _send(database, watch, key="inbox", channels=(notify.Channel.INBOX,))
            limit_s = _copy_rows(conn, inbox_id)
            say("mailing, with receipts between")
            receipts = Receipts()
            paying = asyncio.create_task(pay(database, receipts))
            mail_id, mail_s = await _send(database, watch, key="mail", channels=(notify.Channel.EMAIL,))
            paying.cancel()
            waits_s = await asyncio.to_thread(receipt_waits, sink_port, receipts)
            say("calling webhooks")
            hooks = await call_endpoints(conn, database, sink_port=hook_port, count=asked.webhooks)
            say("a task per recipient")
            naive_s = await _naive(conn, asked.naive)
            counts = await _account(conn, database, asked, sink_port, inbox_id=inbox_id, mail_id=mail_id)
    inbox, limit, naive = (
        _per_hour(asked.inbox, inbox_s),
        _per_hour(asked.inbox, limit_s),
        _per_hour(asked.naive, naive_s),
    )
    return {
        "inbox_per_hour": inbox,
        "email_per_hour": _per_hour(asked.mail, mail_s),
        "webhook_per_hour": _per_hour(hooks.count, hooks.seconds),
        "sink_limit_per_hour": await asyncio.to_thread(limit_per_hour, sink_port),
        "naive_per_hour": naive,
        "ratio_to_naive": round(inbox / naive, 1),
        "row_limit_per_hour": limit,
        "ratio_to_limit": round(inbox / limit, 3),
        "transactional_p99_s": round(waits_s[int(len(waits_s) * 0.99)], 2),
        "receipts": len(waits_s),
        **counts,
        "lost": counts["lost"] + hooks.lost,
        "duplicated": counts["duplicated"] + hooks.duplicated,
        "peak_rss_mb": round(watch.rss_mb, 1),
        "queue_peak": watch.queue,
        "inbox_followers": asked.inbox,
        "mail_followers": asked.mail,
        "webhooks": hooks.count,
        **machine(these, processes=3),
    }


async def _send(
    database: Database, watch: Watch, *, key: str, channels: Sequence[notify.Channel]
) -> tuple[EventId, float]:
    """Tell the followers of a collection; the event, and the seconds until the last one was told."""
    event_id = EventId(new_id())
    begun_s = time.monotonic()
    async with database.transaction() as conn:
        (topic,) = await notify.find_followed(conn, topics={notify.TopicKind.COLLECTION: [key]})
        await notify.begin_send(
            conn, event_id=event_id, topic=topic, template="drop_open", variables=VARIABLES, channels=channels
        )
    while True:
        async with database.connection() as conn:
            (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
        if send.progress.over:
            return event_id, time.monotonic() - begun_s
        if time.monotonic() - begun_s > LONGEST_S:
            raise RuntimeError(f"not told within {LONGEST_S:g} s: {send.progress}")
        await asyncio.to_thread(watch.look)
        await asyncio.sleep(POLL_S)


async def pay(database: Database, receipts: Receipts) -> None:
    """Pay an order every `RECEIPT_EVERY_S` seconds."""
    while True:
        email = f"buyer-{len(receipts.paid_at)}@buyer.example"
        payload = {
            "order_id": str(new_id()),
            "number": "K7P2-0001",
            "buyer_id": str(new_id()),
            "total": {"amount": 420, "currency": "GBP"},
            "lines": [{"title": "Lamp", "sku": "LAMP", "quantity": 1, "amount": 420}],
            "order_url": "http://127.0.0.1:8000/orders/1",
        }
        async with database.transaction() as conn:
            await write_events(conn, [Event(EventId(new_id()), "order.paid", payload, {"email": email, "name": "Ada"})])
        receipts.paid_at[email] = time.monotonic()
        await asyncio.sleep(RECEIPT_EVERY_S)


def receipt_waits(sink_port: int, receipts: Receipts) -> list[float]:
    """How long each receipt took, sorted; waits for the last ones."""
    deadline = time.monotonic() + 60
    while True:
        seen = ask(sink_port, [f"XSEEN {email}" for email in receipts.paid_at])
        if all(times == 1 for times, _ in seen):
            paid = receipts.paid_at.values()
            return sorted(at - paid_at for (_, at), paid_at in zip(seen, paid, strict=True))
        if time.monotonic() > deadline:
            raise RuntimeError("a receipt never came, or came twice")
        time.sleep(POLL_S)


def _copy_rows(conn: psycopg.Connection[Any], event_id: UUID) -> float:
    """Seconds of a bare COPY of a send's rows into tables with the same columns and indexes."""
    took_s = 0.0
    for table in SAME_ROWS:
        conn.execute(f"CREATE TABLE notify.same_{table} (LIKE notify.{table} INCLUDING ALL)")
        with tempfile.TemporaryFile() as file:
            with conn.cursor() as cursor:
                rows = f"SELECT * FROM notify.{table} WHERE event_id = '{event_id}' ORDER BY recipient_id"  # noqa: S608
                with cursor.copy(f"COPY ({rows}) TO STDOUT (FORMAT binary)") as copy:
                    for data in copy:
                        file.write(data)
            file.seek(0)
            begun_s = time.monotonic()
            with conn.cursor() as cursor, cursor.copy(f"COPY notify.same_{table} FROM STDIN (FORMAT binary)") as copy:
                while data := file.read(1 << 20):
                    copy.write(data)
            took_s += time.monotonic() - begun_s
        conn.execute(f"DROP TABLE notify.same_{table}")
    return took_s


async def _naive(conn: psycopg.Connection[Any], count: int) -> float:
    """Seconds until `count` recipients were told by a task each."""
    people = [row[0] for row in conn.execute("SELECT recipient_id FROM notify.recipients LIMIT %s", (count,))]
    event_id = new_id()
    begun_s = time.monotonic()
    for first in range(0, count, NAIVE_AHEAD):
        some = people[first : first + NAIVE_AHEAD]
        calls = [Call(NAIVE_TASK, (str(event_id), str(person)), BULK) for person in some]
        await asyncio.to_thread(publish, calls)
    while True:
        told = conn.execute("SELECT count(*) FROM notify.deliveries WHERE event_id = %s", (event_id,)).fetchone()
        if told == (count,):
            return time.monotonic() - begun_s
        if time.monotonic() - begun_s > LONGEST_S:
            raise RuntimeError("the naive way did not get through")
        await asyncio.sleep(POLL_S)


async def _account(
    conn: psycopg.Connection[Any],
    database: Database,
    asked: Options,
    sink_port: int,
    *,
    inbox_id: EventId,
    mail_id: EventId,
) -> dict[str, int]:
    """Who was not told, or twice, by what inboxes and the sink hold, and by the sends' own counts."""
    rows = conn.execute(
        "SELECT count(*), count(DISTINCT recipient_id) FROM notify.inbox_messages WHERE event_id = %s", (inbox_id,)
    ).fetchone()
    assert rows is not None
    seen = await asyncio.to_thread(ask, sink_port, [f"XSEEN {email_of('mail', n)}" for n in range(asked.mail)])
    uncounted = 0
    for event_id, followers in ((inbox_id, asked.inbox), (mail_id, asked.mail)):
        async with database.connection() as own:
            (send,) = await notify.list_sends(own, limit=1, event_id=event_id)
        uncounted += abs(followers - send.progress.done)
    return {
        "lost": asked.inbox - rows[1] + sum(times == 0 for times, _ in seen),
        "duplicated": rows[0] - rows[1] + int(sum(max(times - 1, 0) for times, _ in seen)),
        "uncounted": uncounted,
    }


def _per_hour(count: int, seconds: float) -> int:
    return round(count / seconds * 3_600)


def _rss_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return 0.0

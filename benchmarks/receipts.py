"""Receipts of a sale: seconds from the commit of a paid order to its mail, and what each costs.

    python -m benchmarks receipts [--orders 5000] [--rates 14 100] [--seconds 10] [--smoke] --json

Real Celery workers, the scheduler, a durable PostgreSQL and Valkey, and an SMTP sink process, all on this machine's
cores; nobody else asks for anything. Paid orders are written as the shop writes them, with an outbox event each; those
that are paid all at once in transactions of `PER_COMMIT`.

`receipts_per_s` is of `orders` that are paid at once, from the first commit to the last mail; `longest_s` is the last.
`cpu_ms_per_receipt` is that of all processes but the sink: workers, scheduler, PostgreSQL, Valkey and this one.
`at_RATE_per_s` are arrivals at that rate for `seconds`: their `p50_s`, `p99_s` and `cpu_ms_per_receipt`.
`idle_cpu_ms_per_s` is what worker, scheduler, PostgreSQL and Valkey use while nothing happens.
`lost` and `doubled` are receipts that never came, and those that came twice.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import psutil

from benchmarks.probes import say
from benchmarks.servers import Servers, environment, machine, servers, serving
from benchmarks.smtp_sink import ask
from tidegate.platform.database import Database, open_database
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import make_app
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.settings import current_settings

PER_COMMIT: Final = 50
LONGEST_S: Final = 300.0
IDLE_S: Final = 5.0
POLL_S: Final = 0.05
SMOKE: Final = ("--orders", "40", "--rates", "20", "--seconds", "1")


@dataclass(frozen=True, slots=True)
class Came:
    """Receipts: how long each took (sorted, seconds), what they cost, how many never came or came twice."""

    waits_s: list[float]
    took_s: float
    cpu_s: float
    lost: int
    doubled: int

    def wait_s(self, share: float) -> float:
        """What this share of the receipts took at most."""
        return round(self.waits_s[int((len(self.waits_s) - 1) * share)], 3)

    @property
    def each_ms(self) -> float:
        """CPU of one."""
        return round(self.cpu_s * 1000 / len(self.waits_s), 2)


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring."""
    asked = parse(options)
    with ExitStack() as stack:
        these = stack.enter_context(servers())
        sink_port = free_port()
        stack.enter_context(serving(these.home, "benchmarks.smtp_sink", str(sink_port), port=sink_port))
        with environment({"TIDEGATE_MAIL__SMTP_URL": f"smtp://127.0.0.1:{sink_port}"}):
            make_app(current_settings())
            for kind in ("single", "urgent", "scheduler"):
                port = free_port()
                stack.enter_context(serving(these.home, "benchmarks.notify_processes", kind, str(port), port=port))
            return asyncio.run(_measure(these, asked, sink_port))


def parse(options: Sequence[str]) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks receipts")
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--rates", type=float, nargs="*", default=[14.0, 100.0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--smoke", action="store_true")
    found = parser.parse_args(options)
    return parse(SMOKE) if found.smoke else found


async def _measure(these: Servers, asked: argparse.Namespace, sink_port: int) -> Mapping[str, object]:
    async with open_database(current_settings()) as database:
        await _receipts(sink_port, partial(_pay, database, rate_per_s=10.0, seconds=1.0))
        began_s = cpu_s(sink_port)
        await asyncio.sleep(IDLE_S)
        idle_ms = (cpu_s(sink_port) - began_s) * 1000 / IDLE_S
        at_rates = {}
        for rate in asked.rates:
            say(f"{rate:g} orders a second")
            at_rates[rate] = await _receipts(sink_port, partial(_pay, database, rate_per_s=rate, seconds=asked.seconds))
        say(f"{asked.orders} orders at once")
        burst = await _receipts(sink_port, partial(_pay_at_once, database, asked.orders))
    every = [*at_rates.values(), burst]
    return {
        "receipts_per_s": round(len(burst.waits_s) / burst.took_s),
        "p50_s": burst.wait_s(0.5),
        "longest_s": burst.wait_s(1.0),
        "cpu_ms_per_receipt": burst.each_ms,
        "idle_cpu_ms_per_s": round(idle_ms, 1),
        **{
            f"at_{rate:g}_per_s": {
                "p50_s": came.wait_s(0.5),
                "p99_s": came.wait_s(0.99),
                "cpu_ms_per_receipt": came.each_ms,
            }
            for rate, came in at_rates.items()
        },
        "orders": asked.orders,
        "lost": sum(came.lost for came in every),
        "doubled": sum(came.doubled for came in every),
        **machine(these, processes=3),
    }


async def _receipts(sink_port: int, pay: Callable[[], Awaitable[dict[str, float]]]) -> Came:
    """What came within `LONGEST_S` of the receipts of orders that `pay` pays."""
    ((before, _),) = await asyncio.to_thread(ask, sink_port, ["XCOUNT"])
    began_cpu_s, began_s = cpu_s(sink_port), time.monotonic()
    paid_at = await pay()
    while time.monotonic() < began_s + LONGEST_S:
        ((count, _),) = await asyncio.to_thread(ask, sink_port, ["XCOUNT"])
        if count >= before + len(paid_at):
            break
        await asyncio.sleep(POLL_S)
    used_s = cpu_s(sink_port) - began_cpu_s
    seen = await asyncio.to_thread(ask, sink_port, [f"XSEEN {email}" for email in paid_at])
    return Came(
        sorted(at_s - paid_s for (times, at_s), paid_s in zip(seen, paid_at.values(), strict=True) if times),
        max(at_s for _, at_s in seen) - began_s,
        used_s,
        sum(not times for times, _ in seen),
        sum(times > 1 for times, _ in seen),
    )


async def _pay_at_once(database: Database, orders: int) -> dict[str, float]:
    paid_at: dict[str, float] = {}
    for start in range(0, orders, PER_COMMIT):
        paid_at |= await _commit(database, min(PER_COMMIT, orders - start))
    return paid_at


async def _pay(database: Database, *, rate_per_s: float, seconds: float) -> dict[str, float]:
    """Paid orders at a steady rate: their addresses, and when they were committed (monotonic seconds)."""
    paid_at: dict[str, float] = {}
    began_s = time.monotonic()
    for n in range(max(round(rate_per_s * seconds), 1)):
        await asyncio.sleep(max(began_s + n / rate_per_s - time.monotonic(), 0))
        paid_at |= await _commit(database, 1)
    return paid_at


async def _commit(database: Database, count: int) -> dict[str, float]:
    events = [_paid() for _ in range(count)]
    async with database.transaction() as conn:
        await write_events(conn, events)
    now_s = time.monotonic()
    return {event.personal["email"]: now_s for event in events if event.personal}


def _paid() -> Event:
    event_id = EventId(new_id())
    payload = {
        "order_id": str(new_id()),
        "number": "K7P2-0001",
        "buyer_id": str(new_id()),
        "total": {"amount": 420, "currency": "GBP"},
        "lines": [{"title": "Lamp", "sku": "LAMP", "quantity": 1, "amount": 420}],
        "order_url": "http://127.0.0.1:8000/orders/1",
    }
    return Event(event_id, "order.paid", payload, {"email": f"{event_id}@buyer.example", "name": "Ada"})


def cpu_s(sink_port: int) -> float:
    """Seconds of CPU used so far by this process and all it started, but the sink."""
    used = 0.0
    me = psutil.Process()
    for each in (me, *me.children(recursive=True)):
        try:
            if str(sink_port) not in each.cmdline():
                used += sum(each.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return used

"""The crowd: an open-arrival HTTP load generator for the purchase routes, run as a process of its own.

Buyers arrive by a Poisson process whether or not earlier ones were served, and latency counts from the moment at which
a buyer was due, not from when a connection came free: a server that stalls cannot hide it (coordinated omission).
With a rate of 0 each connection sends its next buyer at once (closed loop): good for finding where the limit is, not
for latencies.

`python -m benchmarks.load PLAN.json` reads a `Plan`, and writes a `Report` as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import sys
import time
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from benchmarks.visits import Asks, Visit, Wording
from tidegate.rehearse.wire import Answer, Connection

TICK_S = 0.001
"""How often at most the clock is looked at; several buyers may be due in one tick."""
CONNECT_AT_ONCE = 64
LATE_S = 0.02
"""A buyer who was sent off later than this met a generator that was too slow."""
SLUGS_KEPT = 5


class Plan(msgspec.Struct, frozen=True):
    """What to do. `rate_per_s` buyers a second for `seconds`; numbers of buyers count from `first_buyer`.

    With the kind `guest` strangers become guests first, each with a session of their own, and then buy in one request.
    With the kind `ask` each sends one `request` (see `visits.Asks`), filled from the lines of `fills_file`; an answer
    below 400 counts as paid. Who is paid later than `in_time_s` after they were due is not counted as `in_time`.
    `core` is the only core that the generator runs on; None: any.
    """

    port: int
    kind: Literal["express", "two_step", "guest", "ask"]
    rate_per_s: float
    seconds: float
    first_buyer: int
    buyers: int
    connections: int = 64
    sku_format: str = "HOT-%06d"
    skus: int = 1
    drop: str | None = None
    provider: str = "instant"
    token: str = "tok_ok"  # noqa: S105 - a way to pay, no secret
    code: str | None = None
    answer_timeout_s: float = 10.0
    ids_file: str = ""
    request: str = ""
    fills_file: str = ""
    seed: int = 1
    in_time_s: float = 10.0
    core: int | None = None


class Guest(msgspec.Struct, frozen=True):
    """What a new guest is told."""

    token: str


class Report(msgspec.Struct, frozen=True):
    """What happened. Latencies in milliseconds; a purchase in two steps is one latency.

    `unanswered` had no answer within the time, `broken` lost their connection: of these nobody knows the outcome.
    `not_paid` were told of an order that is not paid yet. `in_time` were paid within the time of the plan.
    `p99_thirds_ms` are the p99 of those who came in the first, second and last third of the time.
    """

    arrived: int
    paid: int
    in_time: int
    requests: int
    statuses: dict[str, int]
    problems: dict[str, int]
    unanswered: int
    broken: int
    not_paid: int
    seconds: float
    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    paid_p50_ms: float
    paid_p99_ms: float
    p99_thirds_ms: list[float]
    first_step_p99_ms: float | None
    late: int
    late_p99_ms: float
    cpu_s: float
    cpu_us_per_request: float
    cpu_share: float

    @property
    def errors(self) -> int:
        """Buyers who did not get a paid order."""
        return self.arrived - self.paid


class Crowd:
    """All buyers of one plan on a bounded set of kept-alive connections."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._loop = asyncio.get_running_loop()
        self._wording = Wording(
            port=plan.port,
            drop=plan.drop,
            provider=plan.provider,
            token=plan.token,
            sku_format=plan.sku_format,
            code=plan.code,
        )
        fills = Path(plan.fills_file).read_bytes().splitlines() if plan.fills_file else ()
        self._asks = Asks(plan.request, fills=fills)
        self._idle: deque[Connection[Visit]] = deque()
        self._waiting: deque[Visit] = deque()
        self._open: set[Connection[Visit]] = set()
        self._done = asyncio.Event()
        self._random = random.Random(plan.seed)
        self._number = plan.first_buyer
        self._stop_number = plan.first_buyer + plan.buyers
        self._arriving = True
        self._inside = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.ids: list[bytes] = []
        self.due_s = array("d")
        self.took_s = array("d")
        self.first_took_s = array("d")
        self.paid_took_s = array("d")
        self.late_s = array("d")
        self.statuses: dict[int, int] = {}
        self.problems: dict[str, int] = {}
        self.broken = self.not_paid = self.requests = self.arrived = 0
        self.began_s = self.ended_s = self._next_s = 0.0

    async def run(self) -> Report:
        """Open all connections, let everyone come, wait for the last answers."""
        for first in range(0, self.plan.connections, CONNECT_AT_ONCE):
            count = min(CONNECT_AT_ONCE, self.plan.connections - first)
            await asyncio.gather(*(self._connect() for _ in range(count)))
        gc.collect()
        gc.freeze()
        gc.disable()
        cpu_before_s = _cpu_s()
        self.began_s = self.ended_s = self._next_s = time.perf_counter()
        if self.plan.rate_per_s > 0:
            self._tick()
        else:
            self._loop.call_later(self.plan.seconds, self._close_doors)
            for connection in list(self._idle):
                self._next_in_turn(connection)
        try:
            async with asyncio.timeout(self.plan.seconds + self.plan.answer_timeout_s):
                await self._done.wait()
        except TimeoutError:
            self.ended_s = time.perf_counter()
        cpu_s = _cpu_s() - cpu_before_s
        for connection in list(self._open):
            connection.close()
        return _report(self, cpu_s, unanswered=self._inside)

    # --- arriving

    def _tick(self) -> None:
        """Send off everyone who is due."""
        now_s = time.perf_counter()
        rate = self.plan.rate_per_s
        last_s = self.began_s + self.plan.seconds
        self.late_s.append(max(0.0, now_s - self._next_s))
        while self._next_s <= now_s:
            if self._next_s > last_s or self._number >= self._stop_number:
                self._close_doors()
                return
            self._arrive(self._next_s)
            self._next_s += self._random.expovariate(rate)
        self._loop.call_later(max(self._next_s - now_s, TICK_S), self._tick)

    def _arrive(self, due_s: float) -> None:
        visit = Visit(self._number, due_s)
        self._number += 1
        self.arrived += 1
        self._inside += 1
        if self._idle:
            self._begin(self._idle.popleft(), visit)
        else:
            self._waiting.append(visit)

    def _close_doors(self) -> None:
        self._arriving = False
        if self._inside == 0:
            self._finish()

    def _next_in_turn(self, connection: Connection[Visit]) -> None:
        """Closed loop: the next buyer on this connection, at once."""
        if self._arriving and self._number < self._stop_number:
            visit = Visit(self._number, time.perf_counter())
            self._number += 1
            self.arrived += 1
            self._inside += 1
            self._begin(connection, visit)
        elif self._arriving:
            self._close_doors()

    def _begin(self, connection: Connection[Visit], visit: Visit) -> None:
        sku = visit.number % self.plan.skus
        if self.plan.kind == "ask":
            request = self._asks.request(visit.number)
        elif self.plan.kind == "express":
            request = self._wording.purchase(visit.number, sku)
        elif self.plan.kind == "guest":
            request = self._wording.guest
        else:
            request = self._wording.hold(visit.number, sku)
        self.requests += 1
        connection.send(visit, request)

    # --- being answered

    def answered(self, connection: Connection[Visit], visit: Visit, answer: Answer) -> None:
        """Take note of an answer; a hold leads to its order on the same connection, a guest to a purchase."""
        now_s = time.perf_counter()
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if self.plan.kind == "ask" and answer.status < 400:
            self._note_paid(visit, answer, now_s)
        elif answer.status == 201:
            if self.plan.kind != "express" and not visit.halfway:
                visit.halfway = True
                self.first_took_s.append(now_s - visit.due_s)
                self.requests += 1
                connection.send(visit, self._second(visit, answer))
                return
            if answer.is_paid():
                self._note_paid(visit, answer, now_s)
            else:
                self.not_paid += 1
        else:
            slug = answer.problem()
            if slug in self.problems or len(self.problems) < SLUGS_KEPT:
                self.problems[slug] = self.problems.get(slug, 0) + 1
        self.due_s.append(visit.due_s)
        self.took_s.append(now_s - visit.due_s)
        self._leave(now_s)
        self._free(connection)

    def _second(self, visit: Visit, answer: Answer) -> bytes:
        if self.plan.kind == "two_step":
            return self._wording.order(visit.number, answer.identity())
        token = msgspec.json.decode(answer.body(), type=Guest).token
        return self._wording.guest_purchase(visit.number, visit.number % self.plan.skus, token.encode())

    def _note_paid(self, visit: Visit, answer: Answer, now_s: float) -> None:
        self.ids.append(answer.identity())
        self.paid_took_s.append(now_s - visit.due_s)

    def opened(self, connection: Connection[Visit]) -> None:
        """One connection more to send with."""
        self._open.add(connection)
        self._free(connection)

    def lost(self, connection: Connection[Visit], visit: Visit | None) -> None:
        """A connection ended; if a buyer was waiting on it, what became of the purchase is unknown."""
        self._open.discard(connection)
        if visit is not None:
            self.broken += 1
            self._leave(time.perf_counter())
        elif connection in self._idle:
            self._idle.remove(connection)
        if not self._done.is_set():
            task = self._loop.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _free(self, connection: Connection[Visit]) -> None:
        if self._waiting:
            self._begin(connection, self._waiting.popleft())
        elif self.plan.rate_per_s > 0 or self.began_s == 0.0:
            self._idle.append(connection)
        else:
            self._next_in_turn(connection)

    def _leave(self, now_s: float) -> None:
        self._inside -= 1
        self.ended_s = now_s
        if self._inside == 0 and not self._arriving:
            self._finish()

    def _finish(self) -> None:
        self._done.set()

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self.plan.port)
        except OSError as error:
            if self.began_s == 0.0:
                raise
            name = type(error).__name__
            self.problems[name] = self.problems.get(name, 0) + 1


def _report(crowd: Crowd, cpu_s: float, *, unanswered: int) -> Report:
    took = sorted(crowd.took_s)
    seconds = max(crowd.ended_s - crowd.began_s, 1e-9)
    paid = len(crowd.ids)
    first = sorted(crowd.first_took_s)
    paid_took = sorted(crowd.paid_took_s)
    return Report(
        arrived=crowd.arrived,
        paid=paid,
        in_time=bisect_right(paid_took, crowd.plan.in_time_s),
        requests=crowd.requests,
        statuses={str(status): count for status, count in sorted(crowd.statuses.items())},
        problems=crowd.problems,
        unanswered=unanswered,
        broken=crowd.broken,
        not_paid=crowd.not_paid,
        seconds=round(seconds, 3),
        per_s=round(paid / seconds, 1),
        p50_ms=_ms(took, 0.5),
        p90_ms=_ms(took, 0.9),
        p99_ms=_ms(took, 0.99),
        p999_ms=_ms(took, 0.999),
        max_ms=_ms(took, 1.0),
        paid_p50_ms=_ms(paid_took, 0.5),
        paid_p99_ms=_ms(paid_took, 0.99),
        p99_thirds_ms=_thirds(crowd),
        first_step_p99_ms=_ms(first, 0.99) if first else None,
        late=sum(late > LATE_S for late in crowd.late_s),
        late_p99_ms=_ms(sorted(crowd.late_s), 0.99),
        cpu_s=round(cpu_s, 3),
        cpu_us_per_request=round(cpu_s / max(crowd.requests, 1) * 1e6, 1),
        cpu_share=round(cpu_s / seconds, 3),
    )


def _thirds(crowd: Crowd) -> list[float]:
    """p99 of those who came in each third of the time, in milliseconds."""
    parts: list[list[float]] = [[], [], []]
    length = max((max(crowd.due_s, default=crowd.began_s) - crowd.began_s) / 3, 1e-9)
    for due_s, took_s in zip(crowd.due_s, crowd.took_s, strict=True):
        parts[min(int((due_s - crowd.began_s) / length), 2)].append(took_s)
    return [_ms(sorted(part), 0.99) for part in parts]


def _ms(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered seconds lie (nearest rank), in milliseconds; 0 without any."""
    if not ordered:
        return 0.0
    return round(ordered[max(min(int(share * len(ordered) + 0.9999), len(ordered)), 1) - 1] * 1000, 2)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _run(plan: Plan) -> tuple[Report, list[bytes]]:
    crowd = Crowd(plan)
    return await crowd.run(), crowd.ids


def main(arguments: Sequence[str]) -> int:
    """Carry out the plan in the file that is named; its report goes to standard output."""
    plan = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Plan)
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    report, ids = uvloop.run(_run(plan))
    if plan.ids_file:
        Path(plan.ids_file).write_bytes(b"".join(each + b"\n" for each in ids))
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

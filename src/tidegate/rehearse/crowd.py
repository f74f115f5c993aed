"""The crowd: shoppers who come when they are due, whether or not the shop keeps up, each a small state machine.

Latency counts from the moment at which somebody wanted something, not from when a connection came free: a shop that
stalls cannot hide it (coordinated omission). The same seed gives the same people at the same moments.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType

import msgspec

from tidegate.client import Phase, Place, PlaceState, Status, next_poll_s, retry_s
from tidegate.gate import Draw
from tidegate.platform.problems import StartupError
from tidegate.rehearse.answers import JoinedPlace, Session, order_of
from tidegate.rehearse.contracts import End, Kind, Scenario, Second, Step, Told
from tidegate.rehearse.manners import (
    BOT_S,
    BROKEN_TRIES,
    LATER,
    OPENING_S,
    PANIC_S,
    QUIT_SHARE,
    REFUSED_FOR_LOAD,
    SOLD_OUT,
    UNANSWERED_S,
)
from tidegate.rehearse.monitor import work_us
from tidegate.rehearse.returning import Returning
from tidegate.rehearse.rules import CONNECTION_LOST, arrival_times, chance, pick_kind
from tidegate.rehearse.shopper import Shopper
from tidegate.rehearse.tally import SIGNED_IN, Tally
from tidegate.rehearse.wire import Answer, Connection, Idle, Ways
from tidegate.rehearse.wording import Login, Wording

TICK_S = 0.002
"""How often the clock is looked at; several shoppers may be due in one tick."""

CONNECT_AT_ONCE = 64

Usage = tuple[Mapping[str, float], Mapping[str, float]]


class Crowd:
    """All shoppers of one rehearsal. `tokens` are sessions that exist already; without them guests are made.

    Shoppers whose number is in `logins` have none and sign in when they come. `memory_before` is what this process
    used, in bytes, before anything was made for the crowd.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        wording: Wording,
        ways: Ways,
        tokens: Sequence[bytes] = (),
        seed: int,
        on_second: Callable[[Second], None] = lambda _: None,
        usage: Callable[[], Usage] = lambda: ({}, {}),
        logins: Mapping[int, Login] = MappingProxyType({}),
        memory_before: int | None = None,
    ) -> None:
        self._scenario, self._wording, self._ways, self._tokens = scenario, wording, ways, tokens
        self._seed = seed
        self._returning = Returning(ways.connections, seed=seed)
        dice = random.Random(seed)  # noqa: S311 - a crowd, no secret
        self._times = arrival_times(scenario.arrivals, opens_after_s=scenario.sale.opens_after_s, draw=dice.random)
        self._on_second, self._usage = on_second, usage
        self._loop = asyncio.get_running_loop()
        self._idle: Idle[Shopper] = Idle()
        self._open: set[Connection[Shopper]] = set()
        self._queue: deque[Shopper] = deque()
        self._due: list[tuple[float, int, Shopper]] = []
        self._pending: set[Shopper] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._has_room = scenario.sale.room != "none"
        self._status: Status | None = None
        self._draw: Draw | None = None
        self._status_body = b""
        self._next = self._order = 0
        self._inside = self._waiting = self._reconnects = 0
        self._logins, self._memory_before = logins, memory_before
        self._tally = Tally()
        self.began_s = 0.0
        self.begun = asyncio.Event()

    async def run(self) -> Told:
        """Let everyone come, and wait until the last one has left or the scenario's time is over."""
        for first in range(0, self._ways.connections, CONNECT_AT_ONCE):
            count = min(CONNECT_AT_ONCE, self._ways.connections - first)
            await asyncio.gather(*(self._connect(first + n) for n in range(count)))
        self._tally.begin(memory_before=self._memory_before)
        self.began_s = time.perf_counter()
        self.begun.set()
        self._tick()
        sampling = self._loop.create_task(self._sample())
        try:
            async with asyncio.timeout(self._scenario.lasts_s):
                await self._over.wait()
        except TimeoutError:
            self._give_up_all()
        sampling.cancel()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._open):
            connection.close()
        await asyncio.gather(sampling, *self._tasks, return_exceptions=True)
        return self._tally.told()

    def _tick(self) -> None:
        """Let come who is due, and go on with whoever thought or waited long enough."""
        now_s = time.perf_counter()
        since_s = now_s - self.began_s
        while self._next < len(self._times) and self._times[self._next] <= since_s:
            came_s = self.began_s + self._times[self._next]
            self._tally.was_late(now_s - came_s)
            self._arrive(came_s)
        due = self._due
        while due and due[0][0] <= now_s:
            due_s, _, shopper = heapq.heappop(due)
            if not shopper.over:
                self._tally.was_late(now_s - due_s)
                self._ask(shopper, shopper.step, due_s)
        if not self._over.is_set():
            self._loop.call_later(TICK_S, self._tick)

    def _arrive(self, came_s: float) -> None:
        number = self._next
        self._next += 1
        kind = pick_kind(self._scenario.mix, chance(self._seed, number, 0))
        signs_in = number in self._logins
        token = self._tokens[number % len(self._tokens)] if self._tokens and not signs_in else b""
        self._tally.came()
        self._inside += 1
        self._tally.most_inside = max(self._tally.most_inside, self._inside)
        self._ask(Shopper(number, kind, came_s, token=token), Step.SIGN_IN if signs_in else Step.PAGE, came_s)

    def _leave(self, shopper: Shopper, end: End) -> None:
        """The visit is over."""
        if shopper.over:
            return
        shopper.over = True
        if shopper.tab:
            return
        self._waiting -= shopper.waits
        self._inside -= 1
        self._tally.left(end)
        if self._inside == 0 and self._next == len(self._times):
            self._over.set()

    def _give_up_all(self) -> None:
        """The time is over: who waits for an answer in vain has met a failure, the others are still inside."""
        now_s = time.perf_counter()
        for shopper in list(self._pending):
            if now_s - shopper.due_s > UNANSWERED_S and not shopper.tab and not shopper.over:
                self._tally.problem("unanswered")
                self._leave(shopper, End.FAILED)
        if self._inside:
            self._tally.ends[End.INSIDE] = self._inside
        self._over.set()

    def _ask(self, shopper: Shopper, step: Step, due_s: float) -> None:
        shopper.step, shopper.due_s = step, due_s
        self._pending.add(shopper)
        connection = self._idle.take()
        if connection is not None:
            self._send(connection, shopper)
        else:
            self._queue.append(shopper)

    def _later(self, shopper: Shopper, step: Step, wait_s: float) -> None:
        """Go on with `step` after a pause."""
        shopper.step = step
        self._order += 1
        heapq.heappush(self._due, (time.perf_counter() + wait_s, self._order, shopper))

    def _send(self, connection: Connection[Shopper], shopper: Shopper) -> None:
        self._tally.requests += 1
        shopper.sent_s = time.perf_counter()
        if shopper.step is Step.SIGN_IN:
            connection.send(shopper, self._wording.sign_in(self._logins[shopper.number]))
        else:
            connection.send(shopper, self._wording.request(shopper, guests=not self._tokens))

    def opened(self, connection: Connection[Shopper]) -> None:
        """One connection more to send with."""
        self._open.add(connection)
        self._tally.most_sockets = max(self._tally.most_sockets, len(self._open))
        self._free(connection)

    def _free(self, connection: Connection[Shopper]) -> None:
        while self._queue and not connection.last:
            shopper = self._queue.popleft()
            if not shopper.over:
                self._send(connection, shopper)
                return
        self._idle.put(connection)

    def lost(self, connection: Connection[Shopper], asker: Shopper | None) -> None:
        """A connection ended; whoever waited on it asks again, under the same key."""
        self._open.discard(connection)
        self._idle.discard(connection)
        if self._over.is_set():
            return
        if asker is not None:
            self._pending.discard(asker)
            self._tally.problem(CONNECTION_LOST)
            self._again(asker, advice_s=None)
        self._reconnects += 1
        self._start(self._connect(self._reconnects, failures=self._returning.failures(served=connection.served)))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, number: int, *, failures: int = 0) -> None:
        """Open a connection after the pause that follows from so many failures in a row."""
        ways = self._ways
        await asyncio.sleep(self._returning.pause_s(failures))
        address = (ways.addresses[number % len(ways.addresses)], 0) if ways.addresses else None
        while not self._over.is_set():
            try:
                await self._loop.create_connection(lambda: Connection(self), ways.host, ways.port, local_addr=address)
            except OSError as error:
                if self.began_s == 0.0:
                    where = f"{ways.host}:{ways.port}"
                    raise StartupError(f"{where} cannot be reached: {error.strerror or error}") from error
                self._tally.problem(type(error).__name__)
                failures += 1
                await asyncio.sleep(self._returning.pause_s(failures))
            else:
                return

    def answered(self, connection: Connection[Shopper], asker: Shopper, answer: Answer) -> None:
        """Take note of an answer, and do what follows from it."""
        now_s = time.perf_counter()
        self._pending.discard(asker)
        refused, own_s = answer.is_refusal(), asker.sent_s - asker.due_s
        self._tally.answered(asker.step, now_s - asker.due_s, own_s=own_s, refused=refused)
        self._free(connection)
        if asker.over:
            return
        if answer.status in REFUSED_FOR_LOAD:
            self._tally.problem(answer.problem())
            advice = answer.header(b"retry-after")
            self._again(asker, advice_s=float(advice) if advice.isdigit() else None)
        elif answer.status >= 500:
            self._tally.problem(answer.problem())
            self._leave(asker, End.FAILED)
        else:
            asker.failures = 0
            try:
                self._follow(asker, answer, now_s)
            except (msgspec.MsgspecError, ValueError):
                self._tally.problem("unreadable answer")
                self._leave(asker, End.FAILED)

    def _again(self, shopper: Shopper, *, advice_s: float | None) -> None:
        """Try the same once more, later each time, as a well-behaved client does."""
        shopper.failures += 1
        if advice_s is None and shopper.failures >= BROKEN_TRIES:
            self._leave(shopper, End.FAILED)
            return
        wait_s = retry_s(advice_s, failures=shopper.failures, draw=self._chance(shopper))
        if time.perf_counter() + wait_s - shopper.came_s > self._scenario.habits.patience_s:
            self._leave(shopper, End.IMPATIENT)
        else:
            self._later(shopper, shopper.step, wait_s)

    def _follow(self, shopper: Shopper, answer: Answer, now_s: float) -> None:
        match shopper.step:
            case Step.PAGE:
                self._after_page(shopper, answer, now_s)
            case Step.SIGN_IN:
                self._after_sign_in(shopper, answer, now_s)
            case Step.STATUS:
                self._after_status(shopper, answer, now_s)
            case Step.JOIN:
                self._after_join(shopper, answer)
            case Step.PLACE:
                self._after_place(shopper, answer)
            case Step.PURCHASE:
                self._after_purchase(shopper, answer)
            case Step.HOLD:
                self._after_hold(shopper, answer)
            case Step.PAY | Step.ORDER:
                self._after_order(shopper, answer)
            case Step.LEAVE:
                self._after_leave(shopper, answer)

    def _after_page(self, shopper: Shopper, answer: Answer, now_s: float) -> None:
        if answer.status >= 400:
            self._refused(shopper, answer)
            return
        if not shopper.token and not self._tokens:  # that was the request for a session
            shopper.token = msgspec.json.decode(answer.body(), type=Session).token.encode()
            self._ask(shopper, Step.PAGE, now_s)
            return
        shopper.looked += 1
        if shopper.kind is Kind.BROWSER:
            if shopper.looked >= self._scenario.habits.pages:
                self._leave(shopper, End.LOOKED)
            else:
                self._later(shopper, Step.PAGE, self._think_s(shopper))
        elif self._has_room:
            self._later(shopper, Step.STATUS, 0.0 if shopper.waits else self._think_s(shopper))
        else:
            opens_s = self.began_s + self._scenario.sale.opens_after_s
            self._later(shopper, shopper.buys, max(opens_s - now_s, 0.0) + self._think_s(shopper))

    def _after_sign_in(self, shopper: Shopper, answer: Answer, now_s: float) -> None:
        if answer.status >= 400:
            self._refused(shopper, answer)
            return
        shopper.token = msgspec.json.decode(answer.body(), type=Session).token.encode()
        self._tally.funnel[SIGNED_IN] += 1
        self._ask(shopper, Step.PAGE, now_s)

    def _after_status(self, shopper: Shopper, answer: Answer, now_s: float) -> None:
        """Everybody computes their own number from the status, as the waiting page does: no crowd asks for numbers."""
        if answer.status != 200:
            self._refused(shopper, answer)
            return
        status = self._read_status(answer)
        if shopper.place and shopper.line is None and self._draw is not None:
            late = shopper.index >= self._draw.size
            shopper.line = shopper.index + 1 if late else self._draw.number(shopper.index)
        if status.phase in (Phase.SOLD_OUT, Phase.CLOSED):
            self._leave(shopper, End.SOLD_OUT)
        elif now_s - shopper.came_s > self._scenario.habits.patience_s:
            self._leave(shopper, End.IMPATIENT)
        elif not shopper.place:
            if status.phase is Phase.SCHEDULED:
                self._later(shopper, Step.STATUS, self._poll_s(shopper, status))
            else:
                self._ask(shopper, Step.JOIN, now_s)
        elif shopper.kind in (Kind.QUITTER, Kind.RETURNER) and self._chance(shopper) < QUIT_SHARE:
            self._ask(shopper, Step.LEAVE, now_s)
        elif (shopper.line is None and status.drawn) or (shopper.line is not None and shopper.line < status.serving):
            self._ask(shopper, Step.PLACE, now_s)
        elif shopper.kind is Kind.PANICKER:
            self._later(shopper, Step.PAGE, PANIC_S)
        else:
            self._later(shopper, Step.STATUS, BOT_S if shopper.kind is Kind.BOT else self._poll_s(shopper, status))

    def _after_join(self, shopper: Shopper, answer: Answer) -> None:
        if answer.status not in (200, 201):
            self._refused(shopper, answer)
            return
        joined = msgspec.json.decode(answer.body(), type=JoinedPlace)
        shopper.place, shopper.ticket, shopper.line = joined.id.encode(), joined.ticket.encode(), joined.number
        shopper.index = joined.index
        if not shopper.tab:
            self._waiting += 1
            self._tally.funnel["joined"] += 1
        if shopper.kind is Kind.TWO_TABS and not shopper.tab:
            twin = Shopper(shopper.number, shopper.kind, shopper.came_s, token=shopper.token, tab=True)
            twin.looked = 1
            self._later(twin, Step.STATUS, self._think_s(shopper))
        tries = shopper.kind is Kind.BOT and self._status is not None and self._status.phase is Phase.OPEN
        self._later(shopper, Step.PURCHASE if tries else Step.STATUS, 0.0)

    def _after_place(self, shopper: Shopper, answer: Answer) -> None:
        if answer.status != 200:
            self._refused(shopper, answer)
            return
        place = msgspec.json.decode(answer.body(), type=Place)
        shopper.line = place.number
        if place.state is PlaceState.ADMITTED and place.admission:
            if shopper.tab:  # the other one buys
                self._later(shopper, Step.STATUS, PANIC_S)
                return
            self._tally.let_in(first=not shopper.admitted)
            self._waiting -= shopper.waits
            shopper.admitted, shopper.admission = True, place.admission.encode()
            self._later(shopper, shopper.buys, self._think_s(shopper))
        elif place.state is PlaceState.WAITING:
            self._later(shopper, Step.STATUS, PANIC_S)
        else:  # spent in another tab, or their turn is over
            self._leave(shopper, End.IMPATIENT)

    def _after_purchase(self, shopper: Shopper, answer: Answer) -> None:
        if answer.status not in (201, 202):
            if shopper.kind is Kind.BOT and not shopper.admission and answer.problem() == "pass-required":
                self._later(shopper, Step.STATUS, BOT_S)
                return
            self._refused(shopper, answer)
            return
        self._after_order(shopper, answer)

    def _after_hold(self, shopper: Shopper, answer: Answer) -> None:
        """What they want is theirs for some minutes; they fill in the form."""
        if answer.status != 201:
            self._refused(shopper, answer)
            return
        shopper.order = answer.identity()
        self._later(shopper, Step.PAY, self._think_s(shopper))

    def _after_leave(self, shopper: Shopper, answer: Answer) -> None:
        """They are gone; who thinks better of it comes back to the end of the line."""
        if answer.status != 204:
            self._refused(shopper, answer)
            return
        if shopper.kind is not Kind.RETURNER:
            self._leave(shopper, End.QUIT)
            return
        self._waiting -= shopper.waits
        self._tally.funnel["joined"] -= 1
        shopper.kind, shopper.place, shopper.ticket, shopper.line = Kind.BUYER, b"", b"", None
        self._later(shopper, Step.STATUS, self._think_s(shopper))

    def _after_order(self, shopper: Shopper, answer: Answer) -> None:
        """Their order is paid, or the gateway has not said so yet: they look again, as the order's page does."""
        if answer.status not in (200, 201, 202):
            self._refused(shopper, answer)
        elif answer.is_paid():
            self._tally.bought(answer.identity().decode())
            self._leave(shopper, End.BOUGHT)
        elif answer.is_unsettled():
            shopper.order = answer.identity()
            self._tally.problem("payment not settled at once")
            self._later(shopper, Step.ORDER, OPENING_S * (1 + self._chance(shopper)))
        else:
            self._tally.problem("not paid")
            self._leave(shopper, End.FAILED)

    def _refused(self, shopper: Shopper, answer: Answer) -> None:
        """A 4xx: some only say that it is too early or too late, the others should not have been."""
        problem = answer.problem()
        if problem in SOLD_OUT:
            self._leave(shopper, End.SOLD_OUT)
        elif problem == "hold-expired" and shopper.step is Step.PAY:
            self._leave(shopper, End.IMPATIENT)
        elif problem == "not-open":
            self._later(shopper, shopper.step, OPENING_S * (1 + self._chance(shopper)))
        elif problem == "key-in-flight":  # what was asked before the connection ended is still at work
            self._tally.problem(problem)
            self._again(shopper, advice_s=PANIC_S)
        elif problem in LATER:
            if shopper.admission:
                self._waiting += 1
                shopper.admission = b""
            self._later(shopper, Step.STATUS if self._has_room else shopper.step, PANIC_S)
        else:
            self._tally.problem(problem)
            self._leave(shopper, End.FAILED)

    def _read_status(self, answer: Answer) -> Status:
        """The room's status; everybody gets the same bytes, so they are read once."""
        body = answer.body()
        if self._status is None or body != self._status_body:
            self._status, self._status_body = msgspec.json.decode(body, type=Status), body
            self._draw = None if self._status.draw is None else order_of(self._status.draw)
        return self._status

    def _poll_s(self, shopper: Shopper, status: Status) -> float:
        until = status.lobby_opens_at if not shopper.place else status.opens_at
        opens_in_s = (until - status.at).total_seconds()
        return next_poll_s(
            status.poll, number=shopper.line, serving=status.serving, opens_in_s=opens_in_s, draw=self._chance(shopper)
        )

    def _think_s(self, shopper: Shopper) -> float:
        least, most = self._scenario.habits.think_s
        return least + (most - least) * self._chance(shopper)

    def _chance(self, shopper: Shopper) -> float:
        shopper.turn += 1
        return chance(self._seed, shopper.number, shopper.turn)

    async def _sample(self) -> None:
        """Take stock at every whole second; to look at the processes takes up to another one."""
        at_s = 0
        while True:
            at_s = max(at_s, int(time.perf_counter() - self.began_s)) + 1
            await asyncio.sleep(self.began_s + at_s - time.perf_counter())
            self._idle.end_old()
            self._tally.second(
                at=round(time.perf_counter() - self.began_s, 1),
                inside=self._inside,
                waiting=self._waiting,
                sockets=len(self._open),
                in_flight=len(self._pending),
                left=None if self._status is None else self._status.left,
            )
            (cpu, memory), slow_us = await asyncio.to_thread(lambda: (self._usage(), work_us()))
            self._on_second(self._tally.used(cpu, memory, slow_us))

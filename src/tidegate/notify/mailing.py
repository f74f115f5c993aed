"""Handing messages of a channel to its far side, mails to the mail server: a few connections, each of which takes the
next one when it is done with one.

Mails are claimed a few at a time, no more than can be sent soon, and a claim says under which ids they are handed over.
So whoever takes over from a worker that died knows which mails may have gone out already: no more than `mail.window`.
Those are sent again under the same Message-ID and counted as doubtful; SMTP allows no better. When time runs out
nothing more is claimed, and what is claimed is sent: nothing has to be given back. When PostgreSQL goes away nothing
more is claimed either, and what came of mails is kept and noted when it is back: who lives knows to whom it has sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Protocol

from jinja2 import TemplateError

from tidegate.notify.adapters import MAIL
from tidegate.notify.channels import Adapter, FarSideAway, Line, Refusal, Writer
from tidegate.notify.contracts import MessageUnfit
from tidegate.notify.message_texts import current_texts
from tidegate.notify.outcomes import Delivery, Draw, Failure, mark_sent, note_failed
from tidegate.notify.pacing import Breather
from tidegate.notify.providers import provider_of
from tidegate.notify.rules import BadAddress
from tidegate.platform.database import OUTAGE, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings

NO_TIME: Final = Failure("no time left", counts=False, pause_s=0)

IN_TIME: Final = 0.9
"""Part of a task's time after which nothing is claimed that could not be sent any more."""

AHEAD_S: Final = 1.0
"""How long the mails of a claim may take, at the pace so far: a pause of their send is felt within it."""

NOTED_WITHIN_S: Final = 0.1
"""How long an outcome waits for others to be noted together with it."""

NOTED_AGAIN_S: Final = 0.2
"""Pause before outcomes that could not be noted are noted again."""

LONGEST_WAIT_S: Final = 2.0
"""Longest that a task waits for a quota; it is handed out again rather than keep its worker."""


class Source(Protocol):
    """Where the mails of a task come from."""

    done: bool
    """Nothing more is due."""

    async def take(self, most: int) -> Sequence[Delivery]:
        """Claim up to so many mails."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of handing a message over: its id at the provider, or what went wrong and what that says of the server.

    `busy`: it wants less, or later. `silent`: it is not at our service. `answered`: it is, whatever it said.
    """

    delivery: Delivery
    provider_id: str = ""
    failure: Failure | None = None
    busy: bool = False
    silent: bool = False
    answered: bool = True


async def deliver_mails(
    database: Database,
    settings: Settings,
    draw: Draw,
    source: Source,
    *,
    within_s: float,
    urgent: bool,
    breather: Breather | None = None,
    adapter: Adapter = MAIL,
) -> float:
    """Send the messages of a source, until there are none or for up to `within_s` seconds.

    Returns after how many seconds to go on, where the server or a quota wants us to wait for long; short waits are the
    next task's, so that a quota is used up. A server that cannot be reached ends it, and costs no message an attempt.
    """
    sending = Sending(
        database, settings, draw, source, within_s=within_s, urgent=urgent, breather=breather, adapter=adapter
    )
    await sending.run()
    return sending.wait_s if sending.wait_s > LONGEST_WAIT_S else 0.0


class Sending:
    """The mails of one task: some are claimed, some are being handed over, of some the outcome is not noted yet.

    Together they are no more than `mail.window`.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        draw: Draw,
        source: Source,
        *,
        within_s: float,
        urgent: bool,
        breather: Breather | None,
        adapter: Adapter,
    ) -> None:
        self.wait_s = 0.0
        self._database = database
        self._settings = settings
        self._draw = draw
        self._source = source
        self._adapter = adapter
        self._limits = adapter.limits(settings)
        self._provider = provider_of(database, settings, adapter)
        self._within_s = within_s
        self._urgent = urgent
        self._begun_s = time.monotonic()
        self._breather = breather
        self._writer: Writer | None = None
        self._going = asyncio.Event()
        self._going.set()
        self._claimed: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._outcomes: list[Outcome] = []
        self._look = asyncio.Event()
        self._noted = asyncio.Event()
        self._handed_over = 0
        self._answered = 0
        self._in_hand = 0
        self._away = ""
        self._unrecorded = False

    async def run(self) -> None:
        """Send until nothing is left, or no time. Claiming, sending and noting go on beside each other."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            noting = group.create_task(self._note_on())
            senders = 0
            while await self._claim() or self._in_hand:
                for _ in range(senders, min(self._limits.connections, self._in_hand)):
                    server = await stack.enter_async_context(self._provider.servers.lend())
                    group.create_task(self._send_on(server))
                    senders += 1
                await _wait(self._noted, NOTED_WITHIN_S if self._in_hand else self.wait_s)
            for _ in range(senders):
                self._claimed.put_nowait(None)
            noting.cancel()
        if self._answered >= self._limits.window:
            self._provider.pace = self._pace()

    async def _claim(self) -> bool:
        """Claim as many as can be sent soon and before the end; whether there may be more to claim."""
        self.wait_s = 0.0
        room = self._room()
        if self._source.done or self._away or self._unrecorded or room is None:
            return False
        if room < min(self._limits.window // 4, self._in_hand):
            return True
        grant = await self._provider.ask(room, urgent=self._urgent)
        if not grant.mails:
            self.wait_s = grant.wait_s
            return grant.wait_s <= min(LONGEST_WAIT_S, self._within_s - self._elapsed_s())
        claimed = await self._take(grant.mails)
        self._provider.give_back(grant.mails - len(claimed))
        if claimed and self._writer is None:
            self._writer = self._adapter.writer(self._settings, await current_texts(self._database, self._settings))
        self._in_hand += len(claimed)
        for delivery in claimed:
            self._claimed.put_nowait(delivery)
        return not self._source.done

    async def _take(self, most: int) -> Sequence[Delivery]:
        """Claim some; none, and no more by this task, once PostgreSQL is away and there are outcomes to be kept."""
        try:
            return await self._source.take(most)
        except (*OUTAGE, Overloaded):
            if not self._in_hand:
                raise
            self._unrecorded = True
            return ()

    def _room(self) -> int | None:
        """How many more may be claimed; None when there is no time for another. A few before the pace is known."""
        limits = self._limits
        pace = self._pace() if self._answered else self._provider.pace
        if not pace:
            return min(limits.window, limits.connections) - self._in_hand
        before_end = pace * (self._within_s * IN_TIME - self._elapsed_s())
        if before_end < 1:
            return None
        soon = max(pace * AHEAD_S, limits.connections)
        return int(min(limits.window, soon, before_end)) - self._in_hand

    async def _send_on(self, server: Line) -> None:
        """Hand one mail over after the other."""
        while (delivery := await self._claimed.get()) is not None:
            if self._away:
                outcome = Outcome(delivery, failure=_left_alone(self._away), answered=False)
            elif self._elapsed_s() > self._within_s and self._handed_over >= self._limits.connections:
                outcome = Outcome(delivery, failure=NO_TIME, answered=False)
            else:
                await self._going.wait()
                self._handed_over += 1
                outcome = await self._send(server, delivery)
            self._outcomes.append(outcome)
            if len(self._outcomes) >= min(self._limits.window // 4, self._in_hand / 2):
                self._look.set()

    async def _send(self, server: Line, delivery: Delivery) -> Outcome:
        """One broken message must not hold up the others."""
        assert self._writer is not None, "there is one as soon as a mail is claimed"
        try:
            return Outcome(delivery, await server.send(self._writer.write(delivery)))
        except FarSideAway as error:
            self._away = self._away or str(error)
            return Outcome(delivery, failure=_left_alone(str(error)), silent=True, answered=False)
        except (BadAddress, MessageUnfit) as error:
            return Outcome(delivery, failure=Failure(str(error), final=True), answered=False)
        except TemplateError as error:  # it is as broken the next time; staff may replay it when it is mended
            return Outcome(delivery, failure=Failure(describe_error(error), final=True), answered=False)
        except Refusal as error:
            failure = Failure(error.reason, final=error.final, doubtful=error.doubtful, counts=not error.closing)
            away = error.silent or error.closing
            return Outcome(delivery, failure=failure, busy=error.busy, silent=away, answered=not away)
        except Exception as error:
            return Outcome(delivery, failure=Failure(describe_error(error)), answered=False)

    async def _note_on(self) -> None:
        """Note outcomes, some together; those that came meanwhile are noted next."""
        while True:
            await _wait(self._look, NOTED_WITHIN_S)
            if self._outcomes:
                await self._note()
                await self._rest()
                self._noted.set()

    async def _note(self) -> None:
        """Write down what came of mails, and what it says of the server."""
        outcomes, self._outcomes = self._outcomes, []
        sent = [each for each in outcomes if each.failure is None]
        failed = [(each.delivery, each.failure) for each in outcomes if each.failure is not None]
        while not await self._recorded(sent, failed):
            await asyncio.sleep(NOTED_AGAIN_S)
        self._in_hand -= len(outcomes)
        busy = sum(each.busy for each in outcomes)
        answered = sum(each.answered for each in outcomes)
        self._answered += len(outcomes)
        self._provider.answered(answered, busy=busy, pace=self._pace())
        for _ in range(sum(each.silent for each in outcomes)):
            self._provider.silent()
        if self._provider.left_alone:
            self._away = self._away or "it does not answer"

    async def _recorded(self, sent: Sequence[Outcome], failed: Sequence[tuple[Delivery, Failure]]) -> bool:
        """Whether outcomes could be written down; doing it again changes nothing.

        Raises: what says that PostgreSQL is away, when others may have claimed the mails by now.
        """
        try:
            async with self._database.connection() as conn:
                await mark_sent(
                    conn, [each.delivery for each in sent], provider_ids=[each.provider_id for each in sent]
                )
                await note_failed(conn, self._settings, self._draw, failed)
        except (*OUTAGE, Overloaded):
            if self._elapsed_s() > self._settings.mail.lease_s:
                raise
            self._unrecorded = True
            return False
        return True

    async def _rest(self) -> None:
        """Give the shop the time that it needs: meanwhile no mail is begun."""
        if self._breather is not None:
            self._going.clear()
            await self._breather.nap()
            self._going.set()

    def _pace(self) -> float:
        """Mails a second so far."""
        return self._answered / max(self._elapsed_s(), 0.001)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._begun_s


async def _wait(event: asyncio.Event, most_s: float) -> None:
    """Until something has happened, or for `most_s` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await event.wait()
    event.clear()


def _left_alone(why: str) -> Failure:
    return Failure(f"mail server away: {why}", counts=False)

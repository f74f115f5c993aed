"""Whether a process still says anything: a frozen one accepts connections and never answers.

How long a request waits tells nothing, since a purchase may wait long for a payment provider. So the process itself is
asked, when requests wait and nothing at all came from it for a while. The question is nobody's request: whoever is
frozen for long costs no visitor another wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

PATIENCE_S = 2.0
"""How long a process may leave a question unanswered before it is taken for silent.

Half of that is how long it may say nothing to those who wait before it is asked, and how often that is looked at: all
together, silence is noticed within twice the patience.
"""

LONGEST_QUESTION_S = 32.0
"""Longest that one question waits for its answer; it begins with the patience and doubles while nothing comes."""


class Watch:
    """Over one process. Belongs to one event loop."""

    def __init__(
        self, question: Callable[[], Awaitable[None]], *, patience_s: float, on_turn: Callable[[bool], None]
    ) -> None:
        """`question` returns once the process said something, or is known to be gone, which is no silence.

        `on_turn` is told whenever the process falls silent (True), and when that is over (False).
        """
        self.silent = False
        self.waiting = 0
        """Requests on their way."""
        self._question = question
        self._patience_s = patience_s
        self._on_turn = on_turn
        self._heard = 0
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def begin(self) -> None:
        """A request is sent."""
        self.waiting += 1
        if not self._stopped and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._listen(), context=Context())

    def end(self) -> None:
        """A request is over."""
        self.waiting -= 1

    def hear(self) -> None:
        """Something came from the process, to whomever."""
        self._heard += 1

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def _listen(self) -> None:
        while self.waiting:
            before = self._heard
            await asyncio.sleep(self._patience_s / 2)
            if self.waiting and self._heard == before:
                await self._ask()

    async def _ask(self) -> None:
        within_s = self._patience_s
        while not await self._answers(within_s):
            self._turn(silent=True)
            within_s = min(2 * within_s, LONGEST_QUESTION_S)
        self._turn(silent=False)

    async def _answers(self, within_s: float) -> bool:
        before = self._heard
        try:
            async with asyncio.timeout(within_s):
                await self._question()
        except TimeoutError:
            return self._heard != before
        return True

    def _turn(self, *, silent: bool) -> None:
        if self.silent is not silent:
            self.silent = silent
            self._on_turn(silent)

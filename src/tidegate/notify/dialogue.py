"""The dialogue with a mail server about one mail after another, in as few round trips as it allows.

aiosmtplib connects, greets, changes to TLS and logs in; it knows one command and one answer at a time. Behind that this
protocol takes the connection over: where the server offers PIPELINING (RFC 2920), sender, recipient and DATA leave
together, so that a mail costs two round trips instead of four. Where it does not, each waits for its answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

LONGEST_ANSWER: Final = 32_768
"""Most bytes of answers that are not read yet."""

MOVED_ON: Final = 300
GO_ON: Final = 354
FAILING: Final = 400
CLOSING: Final = 421
CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


class Lost(Exception):
    """The connection ended, or what came was no answer."""


class Refused(Exception):
    """The server's answer to one step: `MAIL`, `RCPT`, `DATA` or `mail`. Its text is not kept: it may name people."""

    def __init__(self, step: str, code: int) -> None:
        super().__init__(step, code)
        self.step = step
        self.code = code


class Dialogue(asyncio.Protocol):
    """One mail at a time. `handed_over` says whether the server may have all of the last one."""

    def __init__(self, transport: asyncio.WriteTransport, *, pipelining: bool) -> None:
        self.handed_over = False
        self._transport = transport
        self._pipelining = pipelining
        self._received = b""
        self._codes: list[int] = []
        self._wanted = 0
        self._answered: asyncio.Future[list[int]] | None = None
        self._lost = False
        self._unfinished = False
        transport.set_protocol(self)

    @property
    def open(self) -> bool:
        """Whether there is somebody to talk to."""
        return not self._lost and not self._transport.is_closing()

    async def send(self, *, sender: str, recipient: str, message: bytes, options: Sequence[str] = ()) -> None:
        """Hand one mail over. Raises: Refused, Lost."""
        self.handed_over = False
        reset = ["RSET"] if self._unfinished else []
        steps = [*reset, " ".join((f"MAIL FROM:<{sender}>", *options)), f"RCPT TO:<{recipient}>", "DATA"]
        if any(map(CONTROLS.search, steps)):
            raise ValueError("a command must not have control characters")
        self._unfinished = True
        codes = await self._together(steps) if self._pipelining else await self._one_by_one(steps)
        for step, code in zip(steps, codes, strict=False):
            if code >= FAILING:
                if codes[-1] == GO_ON:
                    await self._call_off(step)
                raise Refused(step[:4], code)
        if codes[-1] != GO_ON:
            raise Lost
        self.handed_over = True
        (code,) = await self._exchange(stuffed(message), 1)
        self.handed_over = self._unfinished = False
        if code >= MOVED_ON:
            raise Refused("mail", code)

    async def _call_off(self, step: str) -> None:
        """DATA may be taken although nobody is to get it; then a dot ends a message of nothing (RFC 2920)."""
        if step.startswith("RCPT"):
            await self._exchange(b".\r\n", 1)
        else:
            self.close()

    async def leave(self) -> None:
        """Say goodbye. Raises: Lost."""
        await self._exchange(b"QUIT\r\n", 1)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    async def _together(self, steps: list[str]) -> list[int]:
        return await self._exchange("".join(f"{step}\r\n" for step in steps).encode(), len(steps))

    async def _one_by_one(self, steps: list[str]) -> list[int]:
        codes: list[int] = []
        for step in steps:
            codes += await self._exchange(f"{step}\r\n".encode(), 1)
            if codes[-1] >= FAILING:
                break
        return codes

    async def _exchange(self, data: bytes, answers: int) -> list[int]:
        if not self.open:
            raise Lost
        self._wanted, self._codes = answers, []
        answered: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._answered = answered
        self._transport.write(data)
        return await answered

    def data_received(self, data: bytes) -> None:
        """Read answers; the last line of each has no hyphen behind its code. 421 ends it, wherever it comes."""
        *lines, self._received = (self._received + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            if not line[:3].isdigit() or self._answered is None:
                self.close()  # no answer, or one that nobody asked for
                return
            code = int(line[:3])
            self._codes.append(code)
            if code == CLOSING:
                self.close()
            if code == CLOSING or len(self._codes) == self._wanted:
                answered, self._answered = self._answered, None
                if not answered.done():
                    answered.set_result(self._codes)
        if len(self._received) > LONGEST_ANSWER:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._lost = True
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(Lost())


def stuffed(message: bytes) -> bytes:
    """A message as DATA takes it (RFC 5321, 4.5.2): lines that begin with a dot get another one."""
    lines = message.replace(b"\r\n.", b"\r\n..")
    start = b"." if lines.startswith(b".") else b""
    end = b".\r\n" if lines.endswith(b"\r\n") else b"\r\n.\r\n"
    return b"".join((start, lines, end))

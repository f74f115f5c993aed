"""A mail server for tests that speaks SMTP with PIPELINING and has moods: it drops, hangs, or wants less."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import cast


class Mood(Enum):
    """How mails are answered."""

    WELL = "well"
    DROPS_AFTER_DATA = "drops after it has the mail"
    DROPS_BEFORE_DATA = "drops when it hears the recipient"
    DROPS_ONCE = "drops when it hears the next recipient, and is well from then on"
    HANGS = "takes the mail and never answers"
    CLOSING = "says 421 to each recipient"
    BUSY = "says 451 to each recipient"
    REFUSES = "says 550 to each recipient, and takes DATA all the same"
    PUTS_OFF_MAIL = "says 451 once it has the mail"
    REFUSES_MAIL = "says 554 once it has the mail"
    UNWELCOMING = "says 554 instead of a greeting"


@dataclass(slots=True)
class MoodyServer:
    """What it has taken and heard; `seen` are recipients of whole mails, however it answered."""

    port: int = 0
    mood: Mood = Mood.WELL
    pipelining: bool = True
    taken: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    connections: int = 0
    goodbyes: int = 0
    most_mails: int = 1_000_000
    """So many over one connection; then it says 421."""

    nobodies: set[str] = field(default_factory=set)
    """Recipients that it says 550 to in any mood."""

    messages: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """For `settings.mail.smtp_url`."""
        return f"smtp://127.0.0.1:{self.port}"


class _Dialogue(asyncio.Protocol):
    def __init__(self, server: MoodyServer) -> None:
        self._server = server
        self._received = b""
        self._in_mail = False
        self._recipient = ""
        self._mails = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections += 1
        unwelcoming = self._server.mood is Mood.UNWELCOMING
        self._transport.write(b"554 no service\r\n" if unwelcoming else b"220 moody\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        while not self._transport.is_closing():
            line, end, rest = self._received.partition(b"\r\n.\r\n" if self._in_mail else b"\r\n")
            if self._in_mail and not self._recipient and self._received.startswith(b".\r\n"):
                line, end, rest = b"", b".\r\n", self._received[3:]
            if not end:
                return
            self._received = rest
            answer = self._whole_mail(line) if self._in_mail else self._command(line)
            if answer:
                self._transport.write(answer + b"\r\n")
            if answer[:3] in (b"221", b"421"):
                self._transport.close()

    def _whole_mail(self, message: bytes) -> bytes:
        self._in_mail = False
        if not self._recipient:
            return b"554 nobody to send it to"
        self._server.seen[self._recipient] += 1
        self._server.messages.append(message)
        match self._server.mood:
            case Mood.DROPS_AFTER_DATA:
                self._transport.abort()
                return b""
            case Mood.HANGS:
                return b""
            case Mood.PUTS_OFF_MAIL:
                return b"451 scan it another time"
            case Mood.REFUSES_MAIL:
                return b"554 looks like spam"
            case _:
                self._mails += 1
                self._server.taken[self._recipient] += 1
                return b"250 taken"

    def _command(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return b"250-moody\r\n250 PIPELINING" if self._server.pipelining else b"250 moody"
            case b"MAIL" if self._mails >= self._server.most_mails:
                return b"421 enough for one connection"
            case b"MAIL" | b"RSET":
                self._recipient = ""
                return b"250-well\r\n250 go on"
            case b"RCPT":
                return self._heard(line[line.find(b"<") + 1 : line.find(b">")].decode())
            case b"DATA" if self._recipient or self._server.mood is Mood.REFUSES:
                self._in_mail = True
                return b"354 go on"
            case b"DATA":
                return b"503 whom to?"
            case b"QUIT":
                self._server.goodbyes += 1
                return b"221 bye"
            case _:
                return b"500 what?"

    def _heard(self, recipient: str) -> bytes:
        self._server.asked += 1
        if recipient in self._server.nobodies:
            return b"550 no such mailbox"
        match self._server.mood:
            case Mood.DROPS_BEFORE_DATA:
                self._transport.abort()
                return b""
            case Mood.DROPS_ONCE:
                self._server.mood = Mood.WELL
                self._transport.abort()
                return b""
            case Mood.CLOSING:
                return b"421 not now"
            case Mood.BUSY:
                return b"451 later"
            case Mood.REFUSES:
                return b"550 no such mailbox"
            case _:
                self._recipient = recipient
                return b"250 yes"


@asynccontextmanager
async def open_moody_server() -> AsyncIterator[MoodyServer]:
    """One on a free port for the length of a block."""
    moody = MoodyServer()
    server = await asyncio.get_running_loop().create_server(lambda: _Dialogue(moody), "127.0.0.1", 0)
    moody.port = server.sockets[0].getsockname()[1]
    try:
        yield moody
    finally:
        server.close()

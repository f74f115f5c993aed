"""A mail server that takes every mail, keeps only who got it how often and when, and answers what it knows.

    python -m benchmarks.smtp_sink PORT

Besides SMTP it knows `XCOUNT` (mails taken, addresses) and `XSEEN ADDRESS` (mails, monotonic second of the first).
"""

from __future__ import annotations

import asyncio
import signal
import smtplib
import socket
import sys
import time
from typing import cast

import uvloop

END_OF_MAIL = b"\r\n.\r\n"
LIMIT_BLOCK = 100
LIMIT_S = 1.0


class Sink:
    """What all connections have taken."""

    def __init__(self) -> None:
        self.total = 0
        self.times: dict[bytes, int] = {}
        self.first_s: dict[bytes, float] = {}

    def take(self, recipient: bytes) -> None:
        """Note a mail."""
        self.total += 1
        self.times[recipient] = self.times.get(recipient, 0) + 1
        self.first_s.setdefault(recipient, time.monotonic())


class Dialogue(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._received = b""
        self._in_mail = False
        self._recipient = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ready\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every whole line, or the end of a mail."""
        self._received += data
        answers = []
        while True:
            end = END_OF_MAIL if self._in_mail else b"\r\n"
            found = self._received.find(end)
            if found < 0:
                break
            line, self._received = self._received[:found], self._received[found + len(end) :]
            answers.append(self._take_mail() if self._in_mail else self._answer(line))
        assert self._transport is not None
        if answers:
            self._transport.write(b"".join(answers))
        if answers and answers[-1].startswith(b"221"):
            self._transport.close()

    def _take_mail(self) -> bytes:
        self._in_mail = False
        self._sink.take(self._recipient)
        return b"250 taken\r\n"

    def _answer(self, line: bytes) -> bytes:
        word = line[:4].upper()
        if word == b"RCPT":
            self._recipient = line[line.find(b"<") + 1 : line.find(b">")]
        elif word == b"DATA":
            self._in_mail = True
            return b"354 go on\r\n"
        elif word == b"EHLO":
            return b"250-sink\r\n250 PIPELINING\r\n"
        elif word == b"QUIT":
            return b"221 bye\r\n"
        elif word == b"XCOU":
            return b"250 %d %d\r\n" % (self._sink.total, len(self._sink.times))
        elif word == b"XSEE":
            address = line.split(b" ", 1)[1]
            known = self._sink.times.get(address, 0), self._sink.first_s.get(address, 0.0)
            return b"250 %d %.6f\r\n" % known
        return b"250 sink\r\n"


def ask(port: int, commands: list[str]) -> list[tuple[float, float]]:
    """What a sink answers to its own commands: two numbers each."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        answers = [client.docmd(command)[1].decode().split() for command in commands]
    return [(float(first), float(second)) for first, second in answers]


def limit_per_hour(port: int) -> int:
    """Mails an hour that a sink takes from one connection which has them ready and waits for no answer in between."""
    mail = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<limit@sink.example>\r\nDATA\r\n" + b"A line of a mail.\r\n" * 100
    block = (mail + b".\r\n") * LIMIT_BLOCK
    mails = 0
    with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rb") as answers:
        answers.readline()
        begun_s = time.monotonic()
        while (took_s := time.monotonic() - begun_s) < LIMIT_S:
            line.sendall(block)
            for _ in range(4 * LIMIT_BLOCK):
                answers.readline()
            mails += LIMIT_BLOCK
    return round(mails / took_s * 3_600)


async def serve(port: int) -> None:
    """Take mails until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    sink = Sink()
    server = await loop.create_server(lambda: Dialogue(sink), "127.0.0.1", port)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

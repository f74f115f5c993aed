"""A receiver that takes every webhook, keeps only which id came how often, and answers what it knows.

    python -m benchmarks.http_sink PORT

`GET` is answered with JSON: calls taken, and different ids among them.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from typing import cast

import uvloop

END_OF_HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ID = re.compile(rb"\r\nwebhook-id: *([^\r]+)", re.IGNORECASE)
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class Dialogue(asyncio.Protocol):
    """One connection."""

    def __init__(self, taken: Counter[bytes]) -> None:
        self._taken = taken
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for calls."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._received += data
        assert self._transport is not None
        while (end := self._received.find(END_OF_HEAD)) >= 0:
            head = self._received[:end]
            length = LENGTH.search(head)
            whole = end + len(END_OF_HEAD) + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"GET"):
            known = {
                "calls": self._taken.total(),
                "ids": len(self._taken),
                "most": max(self._taken.values(), default=0),
            }
            body = json.dumps(known).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
                len(body),
                body,
            )
        found = ID.search(head)
        self._taken[found[1] if found else b""] += 1
        return TAKEN


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    stop, taken = asyncio.Event(), Counter[bytes]()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.get_running_loop().create_server(lambda: Dialogue(taken), "127.0.0.1", port)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

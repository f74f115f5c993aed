"""HTTP/1.1 over plain asyncio streams: many buyers in one process, and connections that are dropped on purpose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOST = (OSError, asyncio.IncompleteReadError, TimeoutError)
"""What a request ends with that got no answer: nobody knows what became of it."""

ANSWER_S = 30.0
"""Longest wait for an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `body` to the letter."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The slug of a problem, "" for anything else."""
        if self.status < 400:
            return ""
        kind: str = self.json().get("type", "").rsplit("/", 1)[-1]
        return kind


class Line:
    """One keep-alive connection, made anew after it was lost. One request at a time; a `with` block closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to one request. Raises: LOST when there was none."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader = await self._send(method, path, body, headers or {})
                return await self._read(reader)
        except BaseException:
            self.hang_up()
            raise

    async def ask_and_leave(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> None:
        """Send a request and close the connection without waiting for the answer. Raises: LOST."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._send(method, path, body, headers)
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> asyncio.StreamReader:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        fields = {"host": f"127.0.0.1:{self._port}", "content-length": str(len(content)), **headers}
        if body is not None:
            fields["content-type"] = "application/json"
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + content)
        await writer.drain()
        return reader

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            self.hang_up()
        return Answer(status, body)

"""How a command beside a running `tidegate up` has something done by it: one line of JSON there, some lines back.

The supervisor listens on a port of this machine; the endpoints file, which is its owner's alone, has port and key.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

MOST_BYTES = 65_536
"""Of a line."""

CONNECT_S = 5.0
ANSWER_S = 600.0
"""Longest silence of a supervisor that is asked: it tells of every process that it replaced."""

HELLO_S = 5.0
"""How long somebody who connected may take to say what they want."""

Say = Callable[[str], Awaitable[None]]
Handle = Callable[[Mapping[str, Any], Say], Awaitable[None]]
"""Does what is asked and says how it goes. Raises: StartupError with what to tell."""


class Control:
    """The supervisor's end. One command at a time."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._key = secrets.token_urlsafe(32)
        self._busy = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._asking: set[asyncio.Task[Any]] = set()

    async def start(self) -> dict[str, Any]:
        """Listen; what the endpoints file says of it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MOST_BYTES)
        return {"port": self._server.sockets[0].getsockname()[1], "key": self._key}

    async def close(self) -> None:
        """Listen no more; what is being done is given up."""
        if self._server is not None:
            self._server.close()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)

        async def say(line: str, **more: object) -> None:
            with suppress(OSError):  # whoever asked may have left; what they asked for is done all the same
                writer.write(json.dumps({"say": line, **more}).encode() + b"\n")
                await writer.drain()

        try:
            async with asyncio.timeout(HELLO_S):
                asked = json.loads(await reader.readline())
            if not hmac.compare_digest(str(asked.get("key", "")).encode(), self._key.encode()):
                return
            if self._busy.locked():
                await say("another command is still being carried out: try again when it is done", end=2)
                return
            async with self._busy:
                try:
                    await self._handle(asked, say)
                except StartupError as error:
                    await say(str(error), end=2)
                else:
                    await say("", end=0)
        except (OSError, ValueError, AttributeError):
            pass  # whoever asked went away, or was no command of ours
        finally:
            self._asking.discard(task)
            writer.close()


def ask_supervisor(settings: Settings, asked: Mapping[str, Any], *, on_line: Callable[[str], None]) -> None:
    """Have the running shop of these settings do something, and hand on what it says.

    Raises: StartupError when no shop runs, or with what it says against it.
    """
    try:
        control = json.loads(settings.endpoints_file.read_bytes())["control"]
        connection = socket.create_connection(("127.0.0.1", int(control["port"])), timeout=CONNECT_S)
    except (OSError, ValueError, KeyError, TypeError):
        raise StartupError(
            f"no shop runs on TIDEGATE_HOME {settings.home.absolute()}: start it with `tidegate up`"
        ) from None
    with connection, connection.makefile("rwb") as stream:
        try:
            connection.settimeout(ANSWER_S)
            stream.write(json.dumps({**asked, "key": control["key"]}).encode() + b"\n")
            stream.flush()
            for line in stream:
                told = json.loads(line)
                if told.get("end"):
                    raise StartupError(told["say"])
                if told.get("end") == 0:
                    return
                on_line(told["say"])
        except (OSError, ValueError):
            pass
    raise StartupError("the shop stopped before it was done")

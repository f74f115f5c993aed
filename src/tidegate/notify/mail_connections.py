"""Connections to the mail server that a process keeps for a while: greeting, TLS and login cost more than a mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tidegate.notify.mail import MailServer
from tidegate.platform.settings_notify import MailSettings

KEPT_S: Final = 10.0
"""How long a connection is kept that nobody uses: less than servers wait for the next command (RFC 5321, 4.5.3.2.7)."""


class MailConnections:
    """Lends connections, the one last used first. It belongs to one event loop."""

    def __init__(self, settings: MailSettings, *, kept_s: float = KEPT_S) -> None:
        self._settings = settings
        self._kept_s = kept_s
        self._idle: dict[MailServer, asyncio.TimerHandle] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[MailServer]:
        """A connection for the length of a block, made when its first mail is sent unless one was kept."""
        server = self._take()
        try:
            yield server
        except BaseException:
            server.hang_up()  # perhaps in the middle of a dialogue
            raise
        if server.is_reusable and len(self._idle) < self._settings.connections:
            timer = asyncio.get_running_loop().call_later(self._kept_s, self._give_up, server)
            self._idle[server] = timer
        else:
            await server.leave()

    async def close(self) -> None:
        """Say goodbye on all that are kept."""
        for server, timer in self._idle.items():
            timer.cancel()
            self._say_goodbye(server)
        self._idle.clear()
        await asyncio.gather(*self._leaving)

    def _take(self) -> MailServer:
        while self._idle:
            server, timer = self._idle.popitem()
            timer.cancel()
            if server.is_reusable:
                return server
            server.hang_up()
        return MailServer(self._settings)

    def _give_up(self, server: MailServer) -> None:
        del self._idle[server]
        self._say_goodbye(server)

    def _say_goodbye(self, server: MailServer) -> None:
        task = asyncio.create_task(server.leave(), name="mail-goodbye")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

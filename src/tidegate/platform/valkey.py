"""Scripts on a connection of their own: what hot paths ask Valkey, a batch at a time.

The client's pool, retries and timers cost 105 us a call on the machine where a whole purchase may cost 600 us; one
connection that only one batch uses at a time costs half of that.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError

log = structlog.get_logger("tidegate.valkey")

OUTAGE = (RedisError, OSError, TimeoutError)
"""What is raised while Valkey is away, slow or out of memory."""

PAUSE_S = 1.0
"""After a failure Valkey is left alone for so long; callers do without it at once."""


@contextmanager
def closed_is_lost() -> Iterator[None]:
    """Around what is sent: uvloop calls a connection that was reset meanwhile a closed handler, which no client knows.

    Raises: redis.exceptions.ConnectionError for it, as for every connection that is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error):
            raise
        raise ConnectionLost("Valkey's connection was reset") from error


class Script:
    """A Lua script that Valkey knows by its digest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()


def packed(parts: Sequence[bytes]) -> bytes:
    """A command as Valkey's protocol has it (RESP): the client's own packing looks at each part's type and size."""
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)])


class ScriptLine:
    """One connection that runs `scripts`; one call at a time. It connects by itself, and again after a failure."""

    def __init__(self, url: str, *, scripts: Sequence[Script], timeout_s: float, name: str) -> None:
        pool = ConnectionPool.from_url(url, protocol=2, socket_timeout=None, socket_connect_timeout=timeout_s)
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._scripts = tuple(scripts)
        self._timeout_s = timeout_s
        self._name = name
        self._unread = 0
        self._away_until = 0.0
        self._failing = False

    async def ask(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Any:
        """What the script answers. Raises: one of OUTAGE, within the timeout, and at once during a pause."""
        if self._away_until > asyncio.get_running_loop().time():
            raise ConnectionLost("Valkey is left alone for a moment")
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(script, keys, arguments)
        except OUTAGE as error:
            await self._fail(error)
            raise
        except BaseException:
            await self._hang_up()  # what was asked for may still arrive, and must not answer somebody else
            raise
        if self._failing:
            self._failing = False
            log.info("valkey_is_back", use=self._name)
        return answer

    async def tell(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> None:
        """Run the script without waiting for its answer, which the next `ask` reads over. Fails silently."""
        if not self._connection.is_connected:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(script, keys, arguments)
            self._unread += 1
        except OUTAGE as error:
            await self._fail(error)

    async def close(self) -> None:
        """Close the connection, after what was told has been done."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._read_over()
        except OUTAGE:
            pass
        finally:
            await self._hang_up()

    async def _ask(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Any:
        if self._connection.is_connected:
            try:
                return await self._exchange(script, keys, arguments)
            except ConnectionLost:  # Valkey was started anew, or has closed an idle connection
                await self._hang_up()
        await self._connect()
        return await self._exchange(script, keys, arguments)

    async def _exchange(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Any:
        await self._send(script, keys, arguments)
        await self._read_over()
        return await self._connection.read_response()

    async def _read_over(self) -> None:
        while self._unread:
            self._unread -= 1
            try:
                await self._connection.read_response()
            except ResponseError as error:
                log.warning("valkey_refused", use=self._name, error=str(error)[:100])

    async def _send(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> None:
        command = packed((b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *arguments))
        with closed_is_lost():
            await self._connection.send_packed_command([command], check_health=False)

    async def _connect(self) -> None:
        await self._connection.connect()
        for script in self._scripts:
            await self._connection.send_command("SCRIPT", "LOAD", script.text)
            await self._connection.read_response()

    async def _fail(self, error: Exception) -> None:
        await self._hang_up()
        self._away_until = asyncio.get_running_loop().time() + PAUSE_S
        if not self._failing:
            self._failing = True
            log.warning("valkey_is_away", use=self._name, error=type(error).__name__)

    async def _hang_up(self) -> None:
        self._unread = 0
        await self._connection.disconnect(nowait=True)

"""The line that is written about every request, past the processors that all other log lines go through.

Those cost 27 us a line, half of what a hot request may cost at the edge. Nothing in this line can need redaction: a
route's template, a method out of a fixed list, numbers, and a request id of ours or of a trusted proxy's fixed form.
Lines are written together, at most FLUSH_S late; a process that is killed loses those of that moment.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import TextIO

import msgspec
import structlog
from structlog.typing import EventDict

FLUSH_S = 0.05
FLUSH_LINES = 256
"""So many lines are written at once, without waiting."""

REQUEST_ID: ContextVar[str] = ContextVar("tidegate_request_id", default="")
"""The id of the request that is being served; stands in every log line that is written meanwhile."""

log = structlog.get_logger("tidegate.access")


class AccessLog:
    """Access lines as JSON on `out`, for a process whose logs are JSON."""

    def __init__(self, out: TextIO, *, process_name: str, level: int) -> None:
        self._out = out
        self._level = level
        self._end = f'Z","process":{msgspec.json.encode(process_name).decode()}}}\n'
        self._lines: list[str] = []
        self._second = -1
        self._date = ""

    def write(self, *, method: str, route: str, status: int, ms: float, request_id: str, level: int) -> None:
        """Note one answered request; `ms` since its first byte."""
        if level < self._level:
            return
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._lines.append(
            f'{_start(method, route, status, level)}{ms},"request_id":"{request_id}",'
            f'"timestamp":"{self._date}.{int((now - second) * 1_000_000):06}{self._end}'
        )
        if len(self._lines) == 1:
            self._flush_soon()
        elif len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what was noted."""
        if self._lines:
            text, self._lines = "".join(self._lines), []
            self._out.write(text)
            self._out.flush()

    def _flush_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        except RuntimeError:
            self.flush()


class _Process:
    """What this process uses."""

    access_log: AccessLog | None = None


def use_access_log(access_log: AccessLog | None) -> None:
    """Let this process write its access lines there; None: through the common processors."""
    flush_access_log()
    _Process.access_log = access_log


def flush_access_log() -> None:
    """Write the lines that were noted so far."""
    if _Process.access_log is not None:
        _Process.access_log.flush()


def note_request(*, method: str, route: str, status: int, ms: float, request_id: str, level: int) -> None:
    """Log one answered request. `method` and `route` are of a fixed set, `request_id` needs no escaping in JSON."""
    access_log = _Process.access_log
    if access_log is not None:
        access_log.write(method=method, route=route, status=status, ms=ms, request_id=request_id, level=level)
    else:
        log.log(level, "request", method=method, route=route, status=status, ms=ms)


def add_request_id(logger: object, method: str, event: EventDict) -> EventDict:
    """The processor that tells in other lines which request they belong to."""
    request_id = REQUEST_ID.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


@lru_cache(maxsize=4_096)
def _start(method: str, route: str, status: int, level: int) -> str:
    """The part of a line that all requests of a kind share, up to the number of milliseconds."""
    fields = {
        "event": "request",
        "level": logging.getLevelName(level).lower(),
        "method": method,
        "route": route,
        "status": status,
    }
    return msgspec.json.encode(fields).decode()[:-1] + ',"ms":'


atexit.register(flush_access_log)

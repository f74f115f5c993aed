"""Bounds on what one request may cost: the size of its head and body, the time it takes, how many run at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from prometheus_client import Gauge
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.problems import BodyTooLarge, HeadersTooLarge, InvalidRequest, MalformedBody, Overloaded
from tidegate.platform.settings import HttpSettings
from tidegate.platform.texts import text as _

IN_FLIGHT = Gauge("tidegate_http_in_flight", "Requests being worked on.")

SWEEPS = 50
"""How often within the longest time that a request may take late ones are looked for."""


class HeadLimit:
    """Bounds the request line and the headers, and refuses NUL characters, which PostgreSQL cannot store."""

    def __init__(self, limits: HttpSettings) -> None:
        self._max_bytes = limits.max_header_bytes

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raises: HeadersTooLarge, InvalidRequest."""
        query: bytes = scope["query_string"]
        every = scope["headers"]
        size = len(scope.get("raw_path") or b"") + len(query) + 4 * len(every)
        if size + sum(map(len, chain.from_iterable(every))) > self._max_bytes:
            raise HeadersTooLarge()
        if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
            raise InvalidRequest(_("The address contains a character that cannot be used."))


class _Served:
    """One request being worked on: its task, until when it may run (the loop's clock), and whether that is over."""

    __slots__ = ("cancelling", "deadline", "expired", "task")

    def __init__(self, task: asyncio.Task[object], deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.cancelling = task.cancelling()
        self.expired = False

    def take_back(self) -> bool:
        """Undo the cancellation that its lateness brought; whether that was the only one."""
        if not self.expired:
            return False
        self.expired = False
        return self.task.uncancel() <= self.cancelling


@dataclass(frozen=True, slots=True)
class Upload:
    """Addresses that take a file: `path` matches them whole, `max_bytes` bounds their bodies."""

    path: re.Pattern[str]
    max_bytes: int


class Bounds:
    """Refuses bodies that are too large, answers 503 when too much runs at once or one request takes too long.

    One timer looks after all requests: a timer for each would cost more than all other bounds together. A request may
    run longer than the setting by up to a SWEEPS-th part. Belongs to one event loop.
    """

    def __init__(self, app: ASGIApp, *, limits: HttpSettings, uploads: Sequence[Upload] = ()) -> None:
        self._app = app
        self._limits = limits
        self._uploads = tuple(uploads)
        self._served: dict[_Served, None] = {}
        self._sweep: asyncio.TimerHandle | None = None
        IN_FLIGHT.set_function(lambda: len(self._served))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        receive = self._bounded_body(scope, receive)
        if len(self._served) >= self._limits.max_connections:
            raise Overloaded()
        served = self._begin()
        exchange_of(scope).release = partial(self._served.pop, served, None)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not served.take_back():
                raise  # somebody else gave the request up
            if exchange_of(scope).complete:
                raise TimeoutError from None
            raise Overloaded(
                _("This took too long and was stopped. Look whether it took effect before you try again.")
            ) from None
        finally:
            self._served.pop(served, None)
            served.take_back()  # where the app caught the cancellation and went on

    def _begin(self) -> _Served:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        served = _Served(task, loop.time() + self._limits.request_timeout_s)
        self._served[served] = None
        if self._sweep is None:
            self._sweep = loop.call_later(self._limits.request_timeout_s / SWEEPS, self._stop_late_ones, loop)
        return served

    def _stop_late_ones(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is past its deadline; look again while anything runs."""
        self._sweep = None
        now = loop.time()
        for served in self._served:  # in order of arrival, so of deadlines
            if served.deadline > now:
                break
            if not served.expired:
                served.expired = True
                served.task.cancel()
        if self._served:
            self._sweep = loop.call_later(self._limits.request_timeout_s / SWEEPS, self._stop_late_ones, loop)

    def _bounded_body(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, counting. Raises: BodyTooLarge at once when the length is announced."""
        most = self._limits.max_body_bytes
        if scope["method"] == "POST" and self._uploads:
            path: str = scope["path"]
            most = next((each.max_bytes for each in self._uploads if each.path.fullmatch(path)), most)
        announced = exchange_of(scope).headers.get(b"content-length")
        if announced is not None:
            if not announced.isdigit():
                raise MalformedBody()
            if len(announced) > 18 or int(announced) > most:
                raise BodyTooLarge()
            return receive  # the server never hands on more than was announced
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > most:
                # This kind passes through the frameworks' readers of bodies, which turn others into a plain 400.
                raise HTTPException(413)
            return message

        return counted

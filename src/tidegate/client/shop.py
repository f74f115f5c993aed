"""One shop as a program speaks to it: a connection pool, a session's token, and problems as exceptions."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from tidegate import __version__
from tidegate.client.budget import RetryBudget
from tidegate.client.errors import ShopBusy, ShopProblem, ShopUnreachable, TooManyRequests, UnexpectedAnswer
from tidegate.client.rules import advice_s, retry_s

T = TypeVar("T")

TIMEOUT_S = 20.0
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Where time and chance come from, so that a test can have its own."""

    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random


class _Session(msgspec.Struct, frozen=True):
    token: str


class Shop:
    """A shop's API at `address` (`https://shop.example`), in a session if a `token` is given or made.

    Use it as an async context manager, in one event loop. `patience_s`: how long what may be repeated is tried again
    while the shop is away, busy or asks for a pause. `http` is a client of yours to use instead of one of its own (for
    proxies, certificates); it is not closed.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        patience_s: float = PATIENCE_S,
        http: httpx.AsyncClient | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.pace = pace or Pace()
        self.token = token
        self._address = address.rstrip("/")
        self._patience_s = patience_s
        self._budget = RetryBudget()
        self._owns_http = http is None
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    async def sign_in(self, email: str, password: str) -> None:
        """Begin the session of an account, in place of the one so far; what a guest has becomes the account's.

        Raises: WrongCredentials, TooManyRequests, ShopBusy, ShopUnreachable.
        """
        answer = await self.ask("POST", "/api/v1/sessions", json={"email": email, "password": password})
        self.token = read(answer, _Session).token

    async def become_guest(self) -> None:
        """Begin the session of a guest. Raises: ShopUnreachable, ShopBusy."""
        self.token = read(await self.ask("POST", "/api/v1/guests"), _Session).token

    async def sign_out(self) -> None:
        """End the session. Raises: NotSignedIn, ShopUnreachable, ShopBusy."""
        await self.ask("DELETE", "/api/v1/sessions")
        self.token = None

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, json: object = None
    ) -> httpx.Response:
        """One request and its answer, which is a success or 304. Raises: ShopProblem by its kind; ShopUnreachable."""
        sent = {"accept": "application/json", "user-agent": f"tidegate-client/{__version__}", **(headers or {})}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        body = None if json is None else msgspec.json.encode(json)
        if body is not None:
            sent["content-type"] = "application/json"
        try:
            answer = await self._http.request(method, self._address + path, headers=sent, content=body)
        except httpx.TransportError as error:
            raise ShopUnreachable(f"no answer from {self._address}: {type(error).__name__}") from error
        if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
            return answer
        raise _problem(answer)

    async def insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives, tried again while the shop is away, busy or wants a pause; only for what may be repeated.

        All that is tried again over this `Shop` shares one budget: a tenth of what is asked, and one a second.
        Raises: the last of these failures once `patience_s` would be over; any other at once.
        """
        until = self.pace.now_s() + self._patience_s
        failures = 0
        self._budget.asked()
        while True:
            try:
                return await ask()
            except (ShopUnreachable, TooManyRequests, ShopBusy) as error:
                failures += 1
                advised = error.retry_after_s if isinstance(error, ShopProblem) else None
                wait_s = retry_s(advised, failures=failures, draw=self.pace.draw())
                wait_s = max(wait_s, self._budget.wait_s(self.pace.now_s()))
                if self.pace.now_s() + wait_s > until:
                    raise
            await self.pace.sleep(wait_s)


def read(answer: httpx.Response, kind: type[T]) -> T:
    """An answer's document. Raises: UnexpectedAnswer."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise UnexpectedAnswer(f"{answer.request.method} {answer.request.url.path}: {error}") from None


def _problem(answer: httpx.Response) -> ShopProblem:
    document: Any = None
    if answer.headers.get("content-type", "").startswith(("application/problem+json", "application/json")):
        try:
            document = msgspec.json.decode(answer.content)
        except msgspec.MsgspecError:
            document = None
    if not isinstance(document, dict):
        document = {"detail": f"the shop, or something before it, answered {answer.status_code}"}
    advised = advice_s(answer.headers, now=datetime.now(UTC))
    return ShopProblem.of(document, status=answer.status_code, retry_after_s=advised)

"""Shoppers who try one thing each while something is broken, as people do: again and again, until it works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tidegate import accounts
from tidegate.catalog import Room
from tidegate.ops import start_drop
from tidegate.platform.database import Database
from tidegate.platform.no_answer import NO_HTTP_ANSWER
from tidegate.platform.problems import StartupError
from tidegate.rehearse.faults import Can, Tried
from tidegate.rehearse.wording import TICKET, purchase_body

SKU, LOBBY_SKU, LOBBY, TITLE = "22423", "22960", "rehearsal-lobby", "Rehearsal lobby"
"""What the probes buy outside of the drop, and a room of their own that does not open while they are there."""

PEOPLE = 2_000
UNITS = 100_000
PASSWORD = "rehearsal-of-a-login"  # noqa: S105 - of an account in a shop that is thrown away

TRY_S = 2.0
"""Longest that a probe waits for one answer."""

PAUSE_S = 0.25
JOINED_S = 15.0
"""Longest until the shop's processes know the probes' lobby."""


class Broken(Exception):
    """It did not work; the text says what came instead."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What the probes need: people with sessions, who take turns, and an account."""

    tokens: Sequence[str]
    email: str


async def stage_probes(database: Database, *, opens_at: Any) -> Ready:
    """Make people, an account and a lobby for the probes; the lobby's room opens long after they have gone."""
    async with database.transaction() as conn:
        (email,) = await accounts.make_members(conn, count=1, password=PASSWORD)
        tokens = await accounts.make_crowd(conn, count=PEOPLE)
        await start_drop(
            conn,
            slug=LOBBY,
            title=TITLE,
            sku=LOBBY_SKU,
            quantity=UNITS,
            opens_at=opens_at,
            per_buyer=1,
            room=Room.DRAW,
        )
    return Ready(tokens, email)


@dataclass(slots=True)
class Place:
    """A place that must be kept through everything."""

    id: str
    ticket: str
    token: str


@dataclass(slots=True)
class Attempt:
    """One shopper's wish to do one thing: the same person and key at each try. `done_s` is how long it took."""

    can: Can
    run: Callable[[], Awaitable[None]]
    began_s: float = field(default_factory=time.monotonic)
    done_s: float | None = None
    found: str = "not tried"

    async def go_on(self, *, until_s: float) -> bool:
        """Try until it works or it is `until_s` (monotonic clock); whether it worked."""
        while self.done_s is None:
            try:
                await self.run()
            except Broken as error:
                self.found = str(error)
            except httpx.TimeoutException:
                self.found = f"no answer within {TRY_S:g} s"
            except NO_HTTP_ANSWER as error:
                self.found = type(error).__name__
            else:
                self.done_s = time.monotonic() - self.began_s
                self.found = f"after {self.done_s:.1f} s"
                return True
            if time.monotonic() + PAUSE_S >= until_s:
                return False
            await asyncio.sleep(PAUSE_S)
        return True


class Prober:
    """Makes the attempts. Every request has a connection of its own, as that of a browser that comes back has."""

    def __init__(self, client: httpx.AsyncClient, *, slug: str, has_room: bool, ready: Ready) -> None:
        """`slug` is the drop of the sale; where that has no room, the status asked for is the lobby's."""
        self._client = client
        self._slug = slug
        self._room = slug if has_room else LOBBY
        self._email = ready.email
        self._people: Iterator[str] = iter(ready.tokens)
        self._keys = count(1)
        self._place: Place | None = None
        self._orders: list[str] = []

    @property
    def orders(self) -> tuple[str, ...]:
        """Orders that probes were told are paid."""
        return tuple(self._orders)

    async def take_place(self) -> None:
        """Join the lobby: from now on that place must be kept. Raises: StartupError when it cannot be joined."""
        token = next(self._people)

        async def run() -> None:
            told = await self._ask("POST", f"/api/v1/drops/{LOBBY}/places", token=token, wanted=(200, 201))
            self._place = Place(told["id"], told["ticket"], token)

        attempt = Attempt(Can.JOIN, run)
        if not await attempt.go_on(until_s=time.monotonic() + JOINED_S):
            raise StartupError(f"nobody can join the rehearsal's lobby: {attempt.found}")

    def attempts(self) -> list[Attempt]:
        """A new shopper for each thing that they may want to do."""
        return [
            Attempt(Can.BROWSE, self._browse),
            Attempt(Can.JOIN, self._join(next(self._people))),
            Attempt(Can.KEEP_PLACE, self._keep_place),
            Attempt(Can.STATUS, self._status),
            Attempt(Can.HOLD, self._hold(next(self._people), self._key())),
            *self._buying(next(self._people), self._key()),
            Attempt(Can.LOG_IN, self._log_in),
            Attempt(Can.INBOX, self._inbox(next(self._people))),
        ]

    def _key(self) -> str:
        return f"rehearsal-probe-{next(self._keys)}"

    async def _browse(self) -> None:
        for path in ("/", f"/drops/{self._slug}"):
            await self._ask("GET", path, wanted=(200,), page=True)

    async def _status(self) -> None:
        await self._ask("GET", f"/api/v1/drops/{self._room}/status", wanted=(200,))

    def _join(self, token: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            await self._ask("POST", f"/api/v1/drops/{LOBBY}/places", token=token, wanted=(200, 201))

        return run

    async def _keep_place(self) -> None:
        place = self._place
        assert place is not None
        path = f"/api/v1/drops/{LOBBY}/places/{place.id}"
        told = await self._ask("GET", path, token=place.token, wanted=(200,), headers={TICKET: place.ticket})
        if told["state"] != "waiting":
            raise Broken(f"the place is {told['state']}")

    def _hold(self, token: str, key: str) -> Callable[[], Awaitable[None]]:
        body = {"lines": [{"sku": SKU, "quantity": 1}]}

        async def run() -> None:
            await self._ask("POST", "/api/v1/holds", token=token, wanted=(201,), key=key, body=body)

        return run

    def _buying(self, token: str, key: str) -> tuple[Attempt, Attempt]:
        """To order, and to see that order paid: one person, two things that may take their time."""
        known: dict[str, str] = {}

        async def order() -> None:
            body = purchase_body(SKU)
            told = await self._ask("POST", "/api/v1/purchases", token=token, wanted=(201, 202), key=key, body=body)
            known.update(id=told["id"], state=told["state"])
            if told["state"] not in ("paid", "awaiting_payment"):
                raise Broken(f"the order is {told['state'].replace('_', ' ')}")

        async def pay() -> None:
            if not known:
                raise Broken("there is no order yet")
            if known["state"] != "paid":
                told = await self._ask("GET", f"/api/v1/orders/{known['id']}", token=token, wanted=(200,))
                known["state"] = told["state"]
            if known["state"] != "paid":
                raise Broken(f"the order is {known['state'].replace('_', ' ')}")
            self._orders.append(known["id"])

        return Attempt(Can.ORDER, order), Attempt(Can.PAY, pay)

    async def _log_in(self) -> None:
        body = {"email": self._email, "password": PASSWORD}
        await self._ask("POST", "/api/v1/sessions", wanted=(201,), body=body)

    def _inbox(self, token: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            await self._ask("GET", "/inbox", token=token, wanted=(200,), page=True)

        return run

    async def _ask(
        self,
        verb: str,
        path: str,
        *,
        wanted: Sequence[int],
        token: str = "",
        key: str = "",
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        page: bool = False,
    ) -> Any:
        """One request. Raises: Broken for another answer than one of `wanted`, httpx.HTTPError for none."""
        told = {**(headers or {}), "accept": "text/html" if page else "application/json"}
        if token:
            told["authorization"] = f"Bearer {token}"
        if key:
            told["idempotency-key"] = key
        answer = await self._client.request(verb, path, headers=told, json=body)
        if answer.status_code not in wanted:
            kind = answer.headers.get("content-type", "")
            slug = answer.json()["type"].rsplit("/", 1)[-1] if "problem+json" in kind else ""
            raise Broken(f"{answer.status_code} {slug}".strip())
        return None if page else answer.json()


def tried(attempts: Sequence[Attempt], must: Sequence[Can]) -> tuple[Tried, ...]:
    """What became of attempts until now."""
    return tuple(
        Tried(
            can=each.can,
            must=each.can in must,
            took_s=None if each.done_s is None else round(each.done_s, 2),
            found=each.found,
        )
        for each in attempts
    )

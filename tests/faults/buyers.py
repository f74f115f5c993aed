"""Buyers over HTTP who insist: what got no answer is sent again under the same key, until there is one."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.faults.wire import LOST, Answer, Line

PURCHASES, HOLDS, ORDERS = "/api/v1/purchases", "/api/v1/holds", "/api/v1/orders"
ADDRESS = {"name": "Ada", "line1": "1 Quay", "city": "Hull", "postal_code": "HU1 1AA", "country": "GB"}

PATIENCE_S = 60.0
"""How long a buyer repeats one request before the shop counts as gone."""
PAUSE_S = 0.03
"""Pause before a repeat."""
DEALS_PER_GUEST = 3
OF_DROP, WITH_CODE = 0.3, 0.3
"""Parts of the deals that are about a drop's goods, and that use a code, where there are such."""

REFUSALS = frozenset({"sold-out", "limit-reached", "holds-open", "hold-expired", "already-ordered", "code-used-up"})
"""Decisions that a shop may take in a busy sale."""
OPEN_ENDED = ("tok_error_after_charge", "tok_webhook_twice", "tok_webhook_late", "tok_webhook_never")
"""Cards that are charged though the first answer does not say so."""

Basket = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request and whose it is; repeats of it are the same in every letter."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass(slots=True)
class Receipts:
    """What a crowd was told: every keyed request that got a final answer, and whatever should not have happened."""

    answered: list[tuple[Request, Answer]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    repeats: int = 0

    def orders(self) -> dict[str, str]:
        """Acknowledged orders and the last state that their buyers were told."""
        told = [answer.json() for request, answer in self.answered if request.path != HOLDS and answer.status == 201]
        return {order["id"]: order["state"] for order in told}

    def refusals(self) -> dict[str, int]:
        """How many requests were refused, by kind."""
        kinds = [answer.kind for _, answer in self.answered if answer.kind]
        return {kind: kinds.count(kind) for kind in set(kinds)}


def new_key(dice: random.Random) -> str:
    """An idempotency key that the seed decides."""
    return str(UUID(int=dice.getrandbits(128), version=4))


def differ(answers: Sequence[Answer]) -> bool:
    """Whether copies of one request were answered differently; that another hold is open is no answer."""
    made = [answer.json() for answer in answers if answer.status == 201]
    own = {document.get("hold_id", document["id"]) for document in made}
    return len({answer for answer in answers if answer.kind != "holds-open" or answer.json().get("hold_id") in own}) > 1


class Buyer:
    """One guest after another, on one connection."""

    def __init__(self, port: int, dice: random.Random, receipts: Receipts) -> None:
        self.port = port
        self.dice = dice
        self.receipts = receipts
        self.line = Line(port)
        self.who: dict[str, str] = {}
        self.code = ""

    async def become_guest(self) -> None:
        """Get a session of somebody new."""
        answer = await self.insist(lambda: self.line.ask("POST", "/api/v1/guests"), what="/api/v1/guests")
        if answer is not None:
            self.who = {"authorization": f"Bearer {answer.json()['token']}"}

    def purchase(self, basket: Basket, token: str = "tok_ok") -> Request:
        """An express purchase under a new key."""
        return self._keyed(PURCHASES, {**self._wish(basket), **_payment(token)})

    def hold(self, basket: Basket) -> Request:
        """A hold under a new key."""
        return self._keyed(HOLDS, self._wish(basket))

    def order(self, hold_id: str, token: str = "tok_ok") -> Request:
        """An order for a hold under a new key."""
        return self._keyed(ORDERS, {"hold_id": hold_id, **_payment(token)})

    async def get(self, request: Request, *, line: Line | None = None) -> Answer | None:
        """The final answer to a request, kept as a receipt; None (and noted as strange) when there is none in time."""
        line = line or self.line
        answer = await self.insist(
            lambda: line.ask("POST", request.path, request.body, request.headers), what=request.path
        )
        if answer is not None:
            self.receipts.answered.append((request, answer))
        return answer

    async def leave_and_come_back(self, request: Request) -> Answer | None:
        """Hang up in the middle of a request, then ask for its answer."""
        with contextlib.suppress(*LOST):
            await self.line.ask_and_leave("POST", request.path, request.body, request.headers)
        return await self.get(request)

    async def get_copies(self, request: Request, copies: int) -> None:
        """Send the same request on several connections at once: all get one answer.

        "You have a hold open" is none: it asks for another try, which may find that the hold has ended. But nobody is
        told so of the hold that the request itself made.
        """
        lines = [Line(self.port) for _ in range(copies)]
        try:
            answers = await asyncio.gather(*(self.get(request, line=line) for line in lines))
        finally:
            for line in lines:
                line.hang_up()
        given = [answer for answer in answers if answer is not None]
        if differ(given):
            told = [f"{answer.status} {answer.body.decode()[:160]}" for answer in given]
            self.receipts.strange.append(f"copies of {request.path} got different answers: {told}")

    async def release(self, hold_id: str) -> None:
        """Give a hold back; it may have ended meanwhile."""
        path = f"{HOLDS}/{hold_id}"
        answer = await self.insist(lambda: self.line.ask("DELETE", path, headers=self.who), what=f"DELETE {HOLDS}")
        if answer is not None and answer.status == 204:
            self.receipts.released.append(hold_id)

    async def insist(self, ask: Callable[[], Awaitable[Answer]], *, what: str) -> Answer | None:
        """Ask until there is an answer that is not "later"."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        said = "nothing"
        while loop.time() < deadline:
            try:
                answer = await ask()
            except LOST as error:
                said = repr(error)
            else:
                if answer.status not in (202, 503) and answer.kind != "key-in-flight":
                    return self._accept(answer, what)
                said = f"{answer.status} {answer.kind}"
            self.receipts.repeats += 1
            await asyncio.sleep(PAUSE_S * (0.5 + self.dice.random()))
        self.receipts.strange.append(f"{what}: no answer within {PATIENCE_S:g} s, last: {said}")
        return None

    def _accept(self, answer: Answer, what: str) -> Answer | None:
        if answer.status < 400 or answer.kind in REFUSALS:
            return answer
        self.receipts.strange.append(f"{what}: {answer.status} {answer.body.decode(errors='replace')}")
        return None

    def _wish(self, basket: Basket) -> dict[str, Any]:
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in basket]
        return {"lines": lines, "code": self.code} if self.code else {"lines": lines}

    def _keyed(self, path: str, body: dict[str, Any]) -> Request:
        return Request(path, body, {**self.who, "idempotency-key": new_key(self.dice)})


async def guests(port: int, count: int, dice: random.Random, receipts: Receipts) -> Sequence[Buyer]:
    """So many buyers, each with a session of their own."""
    buyers = [Buyer(port, dice, receipts) for _ in range(count)]
    room = asyncio.Semaphore(32)

    async def sign_in(buyer: Buyer) -> None:
        async with room:
            await buyer.become_guest()
            buyer.line.hang_up()

    await asyncio.gather(*(sign_in(buyer) for buyer in buyers))
    assert not receipts.strange
    return buyers


@dataclass(slots=True)
class Crowd:
    """Buyers who do everything that buyers do, at random by `seed`, until told to stop.

    Some of their baskets are of `drop_sku`, which a drop sells so many of to each, and some use `code`, a voucher's.
    """

    port: int
    skus: Sequence[str]
    seed: int
    size: int
    drop_sku: str = ""
    code: str = ""
    receipts: Receipts = field(default_factory=Receipts)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Crowd:
        self._tasks = [asyncio.create_task(self._live(self.seed * 10_000 + n)) for n in range(self.size)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let everybody end the deal they are in."""
        self._over.set()
        await asyncio.gather(*self._tasks)

    @property
    def bought(self) -> int:
        """How many keyed requests were answered so far."""
        return len(self.receipts.answered)

    async def _live(self, seed: int) -> None:
        buyer = Buyer(self.port, random.Random(seed), self.receipts)
        deals: dict[Callable[[Buyer, Basket], Awaitable[None]], int] = {
            _express: 40,
            _two_steps: 20,
            _change_of_mind: 8,
            _second_card: 10,
            _impatient: 10,
            _copies: 6,
            _two_windows: 6,
        }
        try:
            while not self._over.is_set():
                await buyer.become_guest()
                for _ in range(DEALS_PER_GUEST):
                    if self._over.is_set() or not buyer.who:
                        break
                    (deal,) = buyer.dice.choices(list(deals), list(deals.values()))
                    buyer.code = self.code if buyer.dice.random() < WITH_CODE else ""
                    await deal(buyer, self._basket(buyer.dice))
        finally:
            buyer.line.hang_up()

    def _basket(self, dice: random.Random) -> Basket:
        """What somebody wants: goods of the drop are bought by themselves."""
        skus = dice.sample(self.skus, k=dice.randint(1, min(3, len(self.skus))))
        if self.drop_sku and dice.random() < OF_DROP:
            skus = [self.drop_sku]
        return [(sku, dice.randint(1, 2)) for sku in skus]


def _any_card(dice: random.Random) -> str:
    return dice.choice(("tok_ok", "tok_ok", "tok_ok", "tok_declined", *OPEN_ENDED))


async def _express(buyer: Buyer, basket: Basket) -> None:
    await buyer.get(buyer.purchase(basket, _any_card(buyer.dice)))


async def _two_steps(buyer: Buyer, basket: Basket) -> None:
    if (hold_id := await _held(buyer, basket)) is not None:
        await buyer.get(buyer.order(hold_id, _any_card(buyer.dice)))


async def _change_of_mind(buyer: Buyer, basket: Basket) -> None:
    if (hold_id := await _held(buyer, basket)) is not None:
        await buyer.release(hold_id)


async def _second_card(buyer: Buyer, basket: Basket) -> None:
    """Declined, then another card for the same order."""
    if (hold_id := await _held(buyer, basket)) is not None:
        await buyer.get(buyer.order(hold_id, "tok_declined"))
        await buyer.get(buyer.order(hold_id, "tok_ok"))


async def _impatient(buyer: Buyer, basket: Basket) -> None:
    await buyer.leave_and_come_back(buyer.purchase(basket, _any_card(buyer.dice)))


async def _copies(buyer: Buyer, basket: Basket) -> None:
    await buyer.get_copies(buyer.purchase(basket, _any_card(buyer.dice)), 4)


async def _two_windows(buyer: Buyer, basket: Basket) -> None:
    """The same hold ordered in two windows, each with a key of its own: one order."""
    if (hold_id := await _held(buyer, basket)) is None:
        return
    with Line(buyer.port) as other:
        await asyncio.gather(
            buyer.get(buyer.order(hold_id, "tok_declined")),
            buyer.get(buyer.order(hold_id, _any_card(buyer.dice)), line=other),
        )


async def _held(buyer: Buyer, basket: Basket) -> str | None:
    answer = await buyer.get(buyer.hold(basket))
    if answer is None or answer.status != 201:
        return None
    hold_id: str = answer.json()["id"]
    return hold_id


def _payment(token: str) -> dict[str, Any]:
    return {
        "email": "ada@example.com",
        "shipping_address": ADDRESS,
        "payment": {"provider": "sandbox", "token": token},
    }

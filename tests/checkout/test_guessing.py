"""Guessing discount codes has an end: per session and per network, over the API and in the cart; buying goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.catalog.makers import a_voucher
from tests.checkout.buying import guest, post, problem, purchase_body
from tests.checkout.conftest import Stock
from tests.statements import statements
from tidegate.checkout.guessing import Codes, Guess, guess_of
from tidegate.entrypoints.site import create_app
from tidegate.platform.database import Database
from tidegate.platform.problems import TooManyRequests
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

GUESSES, PER_NETWORK = 3, 8


def running(settings: Settings, *, address: str = "192.0.2.1", **carts: Any) -> tuple[Any, httpx.AsyncClient]:
    """A site with small limits, and a client at an address."""
    limits = {"code_guesses": GUESSES, "code_guesses_per_network": PER_NETWORK} | carts
    small = settings.model_copy(update={"demo": True, "carts": settings.carts.model_copy(update=limits)})
    app: Any = create_app(small)
    return app.app.router.lifespan_context(app.app), client_at(app, address)


def client_at(app: Any, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


async def buys(client: httpx.AsyncClient, who: dict[str, str], code: str | None) -> httpx.Response:
    body = purchase_body() if code is None else purchase_body(code=code)
    return await post(client, "/api/v1/purchases", body, who)


async def test_after_some_wrong_codes_no_code_is_taken_and_buying_goes_on(
    settings: Settings, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    lifespan, client = running(settings)
    async with lifespan, client:
        who = await guest(client)
        for n in range(5):
            assert (await buys(client, who, "SPRING")).status_code == 201, f"right codes are not counted, {n}"
        for n in range(GUESSES):
            assert problem(await buys(client, who, f"GUESS{n}")) == (422, "code-unknown")
        refused = await buys(client, who, "GUESS9")
        assert problem(refused) == (429, "too-many-requests")
        assert 0 < int(refused.headers["retry-after"]) <= settings.carts.code_window_s
        assert problem(await buys(client, who, "SPRING")) == (429, "too-many-requests"), "nor does it tell a right one"
        hold = await post(client, "/api/v1/holds", {"lines": [{"sku": "LAMP", "quantity": 1}], "code": "X"}, who)
        assert problem(hold) == (429, "too-many-requests")
        assert (await buys(client, who, None)).status_code == 201
        assert (await buys(client, await guest(client), "SPRING")).status_code == 201, "others are not concerned"


async def test_changing_the_buyer_does_not_help_within_one_network(
    settings: Settings, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    lifespan, client = running(settings, address="2001:db8::1")
    async with lifespan, client:
        app = client._transport.app  # type: ignore[attr-defined]
        for n in range(PER_NETWORK):
            assert problem(await buys(client, await guest(client), f"GUESS{n}")) == (422, "code-unknown")
        async with client_at(app, "2001:db8::77") as neighbour, client_at(app, "2001:db8:0:1::1") as elsewhere:
            assert problem(await buys(neighbour, await guest(neighbour), "SPRING")) == (429, "too-many-requests")
            assert (await buys(elsewhere, await guest(elsewhere), "SPRING")).status_code == 201


async def test_guesses_sent_at_once_do_not_slip_past_together(settings: Settings, sell: Stock) -> None:
    await sell("LAMP", stock=50)
    lifespan, client = running(settings)
    async with lifespan, client:
        who = await guest(client)
        answers = await asyncio.gather(*(buys(client, who, f"GUESS{n}") for n in range(12)))
        assert sorted(each.status_code for each in answers) == [422] * GUESSES + [429] * 9


async def test_a_right_code_that_many_of_a_network_send_at_once_counts_for_nothing(
    settings: Settings, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    lifespan, client = running(settings, code_guesses=1, code_guesses_per_network=1)
    async with lifespan, client:
        people = [await guest(client) for _ in range(6)]
        answers = await asyncio.gather(*(buys(client, who, " spring ") for who in people))
        assert [each.status_code for each in answers] == [201] * 6
        for n in range(3):
            assert (await buys(client, people[0], f"GUESS{n}")).status_code == (429 if n else 422)
        assert problem(await buys(client, people[1], "SPRING")) == (429, "too-many-requests")


@pytest.mark.parametrize("known", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("guests", [1, 20])
async def test_a_right_code_among_many_wrong_ones_at_once_is_refused_like_these(
    settings: Settings, sell: Stock, database: Database, *, known: bool, guests: int
) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    lifespan, client = running(settings)
    async with lifespan, client:
        if known:
            assert (await buys(client, await guest(client), "SPRING")).status_code == 201
        people = [await guest(client) for _ in range(guests)]
        codes = [f"GUESS{n}" for n in range(5 * PER_NETWORK)] + ["SPRING"]
        answers = await asyncio.gather(*(buys(client, people[n % guests], code) for n, code in enumerate(codes)))
        judged = [each.status_code for each in answers if each.status_code != 429]
        assert judged == [422] * (GUESSES if guests == 1 else PER_NETWORK)
        assert answers[-1].status_code == 429


async def test_the_cart_tells_no_right_code_among_many_wrong_ones(
    settings: Settings, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    lifespan, client = running(settings)
    async with lifespan, client:
        who = await guest(client)
        codes = [f"GUESS{n}" for n in range(40)] + ["SPRING"]
        answers = await asyncio.gather(
            *(client.put("/api/v1/cart/code", json={"code": code}, headers=who) for code in codes)
        )
        assert [each.status_code for each in answers if each.status_code != 429] == [422] * GUESSES
        assert answers[-1].status_code == 429


async def test_a_database_that_is_away_fails_only_codes_that_are_not_known(
    settings: Settings, sell: Stock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    lifespan, client = running(settings)
    async with lifespan, client:
        assert (await buys(client, await guest(client), "SPRING")).status_code == 201
        shop = client._transport.app.app.state.shop  # type: ignore[attr-defined]

        async def away(*_args: object, **_options: object) -> None:
            raise OSError("away")

        guesses = [guess_of(shop, code, session="x" * 20, address="192.0.2.1") for code in ("WRONG", "SPRING", "OTHER")]
        with monkeypatch.context() as patch:
            patch.setattr("tidegate.catalog.voucher_terms", away)
            answers = await asyncio.gather(*(shop.codes.admit(each) for each in guesses), return_exceptions=True)
        assert [type(each) for each in answers] == [OSError, type(None), OSError]
        for _ in range(GUESSES):
            await shop.codes.admit(guesses[0])
        with pytest.raises(TooManyRequests):
            await shop.codes.admit(guesses[1])
        assert not shop.codes._unjudged


async def test_thousands_at_once_are_all_counted(settings: Settings, sell: Stock) -> None:
    await sell("LAMP", stock=50)
    lifespan, client = running(settings)
    async with lifespan, client:
        people = [await guest(client) for _ in range(60)]
        answers = await asyncio.gather(*(buys(client, people[n % 60], f"GUESS{n}") for n in range(3_000)))
        assert Counter(each.status_code for each in answers) == {422: PER_NETWORK, 429: 3_000 - PER_NETWORK}


async def test_a_right_code_costs_no_question_of_its_own(
    settings: Settings, sell: Stock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    lifespan, client = running(settings)
    judged: list[str] = []
    judge = Codes._judge

    async def noted(self: Codes, guesses: Sequence[Guess]) -> list[int | Exception]:
        judged.extend(guess.code for guess in guesses)
        return await judge(self, guesses)

    monkeypatch.setattr(Codes, "_judge", noted)
    async with lifespan, client:
        who = await guest(client)
        assert (await buys(client, who, "SPRING")).status_code == 201
        assert judged == ["SPRING"], "from now on the process knows it"
        answers = await asyncio.gather(*(buys(client, who, "SPRING") for _ in range(5)))
        assert [each.status_code for each in answers] == [201] * 5
        hold = {"lines": [{"sku": "LAMP", "quantity": 1}], "code": "SPRING"}
        assert (await post(client, "/api/v1/holds", hold, who)).status_code == 201
    assert judged == ["SPRING"]


async def test_codes_that_come_together_are_looked_for_together(settings: Settings, sell: Stock) -> None:
    await sell("LAMP", stock=50)
    lifespan, client = running(settings, code_guesses=100, code_guesses_per_network=100)
    async with lifespan, client:
        people = [await guest(client) for _ in range(30)]
        with statements() as sent:
            answers = await asyncio.gather(*(buys(client, who, f"GUESS{n}") for n, who in enumerate(people)))
        assert [problem(each) for each in answers] == [(422, "code-unknown")] * 30
        looked = [each for each in sent if "FROM catalog.vouchers" in each]
    assert 1 <= len(looked) <= 10, "one a batch, here and in the transactions of buying"


async def test_the_cart_says_it_in_plain_words(settings: Settings, sell: Stock) -> None:
    await sell("LAMP", stock=50)
    lifespan, client = running(settings)
    async with lifespan, client:
        who = await guest(client)
        for n in range(GUESSES):
            answer = await client.put("/api/v1/cart/code", json={"code": f"GUESS{n}"}, headers=who)
            assert problem(answer) == (422, "code-unknown")
        answer = await client.put("/api/v1/cart/code", json={"code": "GUESS9"}, headers=who)
        assert problem(answer) == (429, "too-many-requests")
        assert "retry-after" in answer.headers
        assert (await client.put("/api/v1/cart/code", json={"code": None}, headers=who)).status_code == 200
        assert "order without a code" in answer.json()["detail"]


async def test_without_valkey_codes_still_work(settings: Settings, sell: Stock, database: Database) -> None:
    await sell("LAMP", stock=50)
    await a_voucher(database, "SPRING", total=50, per_buyer=20)
    away = settings.model_copy(update={"valkey_url": SecretStr("redis://127.0.0.1:1/0")})
    lifespan, client = running(away)
    async with lifespan, client:
        who = await guest(client)
        for n in range(GUESSES + 2):
            assert problem(await buys(client, who, f"GUESS{n}")) == (422, "code-unknown")
        assert (await buys(client, who, "SPRING")).status_code == 201

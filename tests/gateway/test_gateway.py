"""The simulator itself: what it promises to tests and benchmarks, over HTTP and as a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.server import Gateway, open_gateway

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
VISA = {"amount": "1299", "currency": "gbp", "payment_method": "pm_card_visa", "confirm": "true",
        "return_url": "http://shop.test/", "metadata[tidegate_ref]": "order.1"}  # fmt: skip
PAGE = {"mode": "payment", "success_url": "http://shop.test/", "line_items[0][quantity]": "2",
        "line_items[0][price_data][currency]": "gbp", "line_items[0][price_data][unit_amount]": "500"}  # fmt: skip


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with open_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {gateway.api.api_key}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, trust_env=False) as client:
        yield client


async def pay(client: httpx.AsyncClient, key: str, **changed: str) -> httpx.Response:
    return await client.post("/v1/payment_intents", data=VISA | changed, headers={"idempotency-key": key})


async def test_a_key_is_answered_once_and_repeated(gateway: Gateway, client: httpx.AsyncClient) -> None:
    first, again = [await pay(client, "k") for _ in range(2)]
    assert (first.status_code, first.json()) == (200, again.json())
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = await pay(client, "k", amount="1300")
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    declined = [await pay(client, "d", payment_method="pm_card_chargeDeclined") for _ in range(2)]
    assert [each.status_code for each in declined] == [402, 402]
    assert declined[0].json() == declined[1].json()
    invalid = await pay(client, "v", amount="no")
    assert invalid.status_code == 400
    assert (await pay(client, "v")).status_code == 200, "what failed validation is not kept"
    gateway.ledger.ahead_s = 86_401
    assert (await pay(client, "k")).json()["id"] != first.json()["id"], "keys are forgotten after a day"


async def test_a_twin_in_flight_is_a_conflict(client: httpx.AsyncClient) -> None:
    await client.post("/control/faults", json={"faults": [{"kind": "latency", "delay_s": 0.2}]})
    twins = await asyncio.gather(pay(client, "k"), pay(client, "k"))
    assert sorted(each.status_code for each in twins) == [200, 409]


async def test_strangers_and_unknown_words_are_refused(gateway: Gateway, client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/refunds", headers={"authorization": "Bearer sk_test_wrong"})).status_code == 401
    assert (await pay(client, "k", colour="red")).json()["error"]["code"] == "parameter_unknown"
    assert (await client.get("/v1/payment_intents/pi_none")).status_code == 404
    assert (await client.get("/v1/customers")).status_code == 404
    assert not gateway.ledger.payments


@pytest.mark.parametrize(
    ("kind", "status", "captures"),
    [("rate_limit", 429, 0), ("error", 500, 0), ("error_after", 500, 1), ("reset", None, 0), ("lost", None, 1)],
)
async def test_faults_strike_before_or_after_the_effect(
    client: httpx.AsyncClient, kind: str, status: int | None, captures: int
) -> None:
    await client.post("/control/faults", json={"faults": [{"kind": kind, "path": "/v1/payment_intents"}]})
    if status is None:
        with pytest.raises(httpx.TransportError):
            await pay(client, "k")
    else:
        assert (await pay(client, "k")).status_code == status
    assert sum((await client.get("/control/books")).json()["captures"].values()) == captures
    assert (await pay(client, "k")).status_code == 200
    books = (await client.get("/control/books")).json()
    assert (books["captures"], books["taken"]) == ({"order.1": 1}, {"gbp": 1299})


async def test_a_share_of_requests_fails_the_same_way_each_time(client: httpx.AsyncClient) -> None:
    runs = []
    for run in range(2):
        fault = {"kind": "rate_limit", "share": 0.3, "times": 1_000}
        await client.post("/control/faults", json={"faults": [fault], "seed": 7})
        runs.append([(await pay(client, f"{run}-{number}")).status_code for number in range(40)])
    assert runs[0] == runs[1]
    assert 0 < runs[0].count(429) < 40


async def test_pages_are_paid_by_shoppers_or_expire(client: httpx.AsyncClient) -> None:
    first, second = [(await client.post("/v1/checkout/sessions", data=PAGE)).json() for _ in range(2)]
    assert first["amount_total"] == 1_000
    assert "open" in (await client.get(first["url"])).text
    paid = await client.post(first["url"])
    assert (paid.status_code, paid.headers["location"]) == (303, "http://shop.test/")
    assert (await client.post(f"/control/{first['id']}/pay")).status_code == 400
    await client.post("/control/clock", json={"advance_s": 86_400})
    late = (await client.get(f"/v1/checkout/sessions/{second['id']}")).json()
    assert (late["status"], late["url"]) == ("expired", None)
    assert (await client.post(f"/control/{second['id']}/pay")).status_code == 400


async def test_it_runs_as_a_process_of_its_own() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = (await asyncio.to_thread(process.stdout.readline)).strip()
        headers = {"authorization": "Bearer sk_test_gateway"}
        async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False) as client:
            assert (await pay(client, "k")).json()["status"] == "succeeded"
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        assert process.stdout is not None
        process.stdout.close()

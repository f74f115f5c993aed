"""kill -9 of every process in turn while buyers are in checkout: nothing is lost, doubled or stuck, nobody helps."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import psycopg

from tests.servers import Shop, wait_until

STOCK = 500
BUYERS = 4
SETTLE_S = 60
PROCESSES = ("site-1", "worker", "scheduler", "mail-catcher", "valkey", "site-2", "postgres")
TOKENS = ("tok_ok", "tok_ok", "tok_declined", "tok_error_after_charge", "tok_webhook_twice")
ADDRESS = {"name": "Ada", "line1": "1 Quay", "city": "Hull", "postal_code": "HU1 1AA", "country": "GB"}


@dataclass(slots=True)
class Buyer:
    """Buys again and again until told to stop; repeats what got no answer, under the same key."""

    base_url: str
    sku: str
    seed: int
    stop: threading.Event
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Thread's body."""
        dice = random.Random(self.seed)
        with httpx.Client(base_url=self.base_url, timeout=10) as client:
            while not self.stop.is_set():
                self._buy(client, dice.choice(TOKENS))

    def _buy(self, client: httpx.Client, token: str) -> None:
        guest = self._insist(client, "/api/v1/guests", None, {})
        if guest is None:
            return
        who = {"authorization": f"Bearer {guest['token']}"}
        hold = self._insist(client, "/api/v1/holds", {"lines": [{"sku": self.sku, "quantity": 1}]}, who)
        if hold is None:
            return
        body = {
            "hold_id": hold["id"],
            "email": "ada@example.com",
            "shipping_address": ADDRESS,
            "payment": {"provider": "sandbox", "token": token},
        }
        order = self._insist(client, "/api/v1/orders", body, who)
        if order is not None:
            self.acknowledged[order["id"]] = order | {"who": who}

    def _insist(self, client: httpx.Client, path: str, body: Any, who: dict[str, str]) -> dict[str, Any] | None:
        key = {"idempotency-key": str(uuid4())}
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                answer = client.post(path, json=body, headers=who | key)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 201:
                created: dict[str, Any] = answer.json()
                return created
            kind = answer.json().get("type", "").rsplit("/", 1)[-1]
            if answer.status_code != 503 and kind != "key-in-flight":
                self.strange.append(f"{path}: {answer.status_code} {answer.text}")
                return None
            time.sleep(0.05)
        self.strange.append(f"{path}: no answer within 60 s")
        return None


def count(shop: Shop, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Rows of a query on the shop's database."""
    with psycopg.connect(shop.endpoints()["database_url"], autocommit=True) as conn:
        return conn.execute(statement, arguments).fetchall()


def unsettled(shop: Shop) -> list[tuple[Any, ...]]:
    """What is still open: charges unsettled, events unhandled, messages unsent."""
    return count(
        shop,
        "SELECT 'charge', order_id::text, method, state, asked, next_ask_at::text, now()::text FROM payments.charges"
        " WHERE state IN ('intent', 'requires_action')"
        " UNION ALL SELECT 'event', id::text, topic, state, attempts, next_attempt_at::text, last_error"
        " FROM platform.outbox WHERE state <> 'done'"
        " UNION ALL SELECT 'message', event_id::text, channel, state, attempts, next_attempt_at::text, last_error"
        " FROM notify.deliveries WHERE state <> 'sent'",
    )


def wait_until_settled(shop: Shop) -> None:
    """Wait until nothing is open any more; says what is, if that takes too long."""
    deadline = time.monotonic() + SETTLE_S
    while left := unsettled(shop):
        assert time.monotonic() < deadline, f"not settled within {SETTLE_S} s: {left[:10]}"
        time.sleep(0.1)


def test_every_process_killed_in_turn(new_shop: Callable[..., Shop]) -> None:
    seed = int(os.environ.get("TIDEGATE_TEST_SEED", "20260601"))
    sys.stdout.write(f"seed {seed}: TIDEGATE_TEST_SEED={seed} repeats it\n")
    quick = {  # what a killed worker had in hand is handed out again after its lease
        "TIDEGATE_JOBS__EVENT_LEASE_S": "5",
        "TIDEGATE_MAIL__TIMEOUT_S": "4",
        "TIDEGATE_MAIL__LEASE_S": "10",
        "TIDEGATE_PAYMENTS__RECONCILE_AFTER_S": "2",
    }
    shop = new_shop(environment=quick).start().wait_ready()
    made = shop.run("stock", "set", "22423", str(STOCK), "--json")
    assert made.returncode == 0, made.stderr
    stop = threading.Event()
    buyers = [Buyer(shop.base_url, "22423", seed + n, stop) for n in range(BUYERS)]
    threads = [threading.Thread(target=buyer.run, daemon=True) for buyer in buyers]
    for thread in threads:
        thread.start()
    try:
        for name in PROCESSES:
            kill_and_wait(shop, name, buyers)
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    assert not [line for buyer in buyers for line in buyer.strange]
    wait_until_settled(shop)
    check_books(shop, {order["id"]: order for buyer in buyers for order in buyer.acknowledged.values()})


def kill_and_wait(shop: Shop, name: str, buyers: list[Buyer]) -> None:
    """kill -9 one process, wait for its replacement and for buyers who got through since."""
    before = shop.pids()[name]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: shop.pids().get(name, before) != before, timeout_s=30, what=f"a new {name}")
    sold = sum(len(buyer.acknowledged) for buyer in buyers)
    wait_until(
        lambda: sum(len(buyer.acknowledged) for buyer in buyers) >= sold + 2 * BUYERS,
        timeout_s=60,
        what=f"purchases after {name} was killed; {shop.said()[-2000:]}",
    )


def check_books(shop: Shop, acknowledged: dict[str, dict[str, Any]]) -> None:
    """What was acknowledged is there once, and every unit is accounted for."""
    orders = dict(count(shop, "SELECT id::text, state FROM checkout.orders"))
    assert set(acknowledged) <= set(orders), "an acknowledged order is missing"
    for order_id, order in acknowledged.items():
        if order["state"] == "paid":
            assert orders[order_id] == "paid"
    assert set(orders.values()) <= {"paid", "payment_failed"}
    paid = sum(state == "paid" for state in orders.values())
    failed = len(orders) - paid
    assert paid > 0
    (stock,) = count(
        shop,
        "SELECT s.on_hand - s.held - s.sold, s.held, s.sold FROM inventory.stock AS s"
        " JOIN catalog.variants AS v ON v.id = s.variant_id WHERE v.sku = '22423'",
    )
    (holds,) = count(shop, "SELECT count(*) FILTER (WHERE state = 'held') FROM inventory.holds")
    assert stock == (STOCK - paid - failed - holds[0], failed + holds[0], paid)
    captured = count(shop, "SELECT order_id::text FROM payments.charges WHERE state = 'captured'")
    assert sorted(row[0] for row in captured) == sorted(o for o, state in orders.items() if state == "paid")
    assert count(shop, "SELECT 1 FROM payments.refunds") == []
    told = dict(count(shop, "SELECT channel, count(*) FROM notify.deliveries WHERE state = 'sent' GROUP BY 1"))
    assert told == {"email": paid, "inbox": paid}
    assert mails(shop) >= min(paid, 100)
    books = shop.run("books")
    assert books.returncode == 0, books.stdout + books.stderr


def mails(shop: Shop) -> int:
    """Mails that the catcher has; one whose worker died after sending may be there twice."""
    status, body = shop.get("/dev/mail.json")
    assert status == 200
    return len(json.loads(body)["items"])

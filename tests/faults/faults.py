"""What can go wrong around a shop, made to happen on purpose."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from standardwebhooks import Webhook

from tests.faults.buyers import Crowd
from tests.faults.recount import rows
from tests.faults.wire import LOST, Line
from tests.servers import Shop
from tests.waiting import eventually

QUICK = {
    "TIDEGATE_JOBS__WORKER_PROCESSES": "2",
    "TIDEGATE_ACCOUNTS__PURCHASE_REQUESTS_PER_MINUTE": "0",  # the crowd repeats itself more than anybody may
    "TIDEGATE_HOLDS__TTL_S": "3",
    "TIDEGATE_HOLDS__PAYMENT_WINDOW_S": "6",
    "TIDEGATE_PAYMENTS__RECONCILE_AFTER_S": "1",
    "TIDEGATE_PAYMENTS__RECONCILE_INTERVAL_MS": "300",
    "TIDEGATE_PAYMENTS__SANDBOX_SLOW_S": "1",
    "TIDEGATE_PAYMENTS__SANDBOX_LATE_S": "3",
    "TIDEGATE_JOBS__EVENT_LEASE_S": "5",
    "TIDEGATE_MAIL__TIMEOUT_S": "4",
    "TIDEGATE_MAIL__LEASE_S": "10",
}
"""Settings of a shop in which nothing takes long: what a dead process had in hand is handed out again in seconds."""

REPLACED_S = 60.0
"""Longest time until a killed process has a successor, and until buyers get through again."""


DROP, DROP_SKU, PER_BUYER = "a-few-each", "22966", 2
"""A drop with a limit per buyer, which guests buy in, and what it sells."""


def limit(shop: Shop, *, code: str, redemptions: int) -> None:
    """Sell something by a drop, from now on, and make a voucher that may be used so often, once by each buyer."""
    if not rows(shop, "SELECT 1 FROM catalog.drops WHERE slug = %s", DROP):
        terms = ("--stock", "5000", "--opens-at", "now", "--per-buyer", str(PER_BUYER), "--guests")
        run(shop, "drop", "create", DROP, "--sku", DROP_SKU, *terms)
    run(shop, "voucher", "create", code, "--total", str(redemptions), "--percent", "10")


def run(shop: Shop, *command: str) -> None:
    """A command of the merchant's."""
    done = shop.run(*command, "--json")
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode} {done.stdout}{done.stderr}"


async def kill(shop: Shop, name: str, crowd: Crowd, dice: random.Random, *, with_signal: int = signal.SIGKILL) -> None:
    """End a process at some moment of a busy sale; wait for its successor, and for buyers who got through since."""
    moment = crowd.bought + dice.randint(1, 40)
    await eventually(lambda: crowd.bought >= moment, timeout_s=REPLACED_S)
    before = shop.pids()[name]
    os.kill(before, with_signal)
    await eventually(lambda: shop.pids().get(name, before) != before, timeout_s=REPLACED_S)
    bought = crowd.bought
    await eventually(lambda: crowd.bought >= bought + 2 * crowd.size, timeout_s=REPLACED_S)


@asynccontextmanager
async def paused(shop: Shop, name: str) -> AsyncIterator[None]:
    """A process that hangs: it neither works nor ends."""
    pid = shop.pids()[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def gateway_down(shop: Shop) -> AsyncIterator[None]:
    """Nobody gets an answer from the sandbox: its ledger is locked away."""
    async with await psycopg.AsyncConnection.connect(shop.endpoints()["database_url"]) as conn:
        await conn.execute("LOCK TABLE payments.sandbox_payments IN ACCESS EXCLUSIVE MODE")
        yield
        await conn.rollback()


def ledger(shop: Shop, orders: Sequence[str], *, token: str = "") -> list[dict[str, Any]]:
    """The sandbox's payments for orders, as webhooks name them; with a `token` those alone that were made with it."""
    found = rows(
        shop,
        "SELECT id, reference, amount, currency FROM payments.sandbox_payments"
        " WHERE split_part(reference, '.', 1) = ANY(%s) AND (%s = '' OR token = %s)",
        list(orders),
        token,
        token,
    )
    return [dict(zip(("id", "reference", "amount", "currency"), row, strict=True)) for row in found]


async def tell(shop: Shop, payment: dict[str, Any], outcome: str, *, event: str) -> None:
    """A webhook that the sandbox did not send, about a payment of its ledger; repeated until it is taken."""
    body = {"type": f"payment.{outcome}", "payment": payment}
    now = datetime.now(UTC)
    secret = json.loads((shop.home / "secrets.json").read_text())["sandbox_webhook_secret"]
    headers = {
        "webhook-id": event,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(msg_id=event, timestamp=now, data=json.dumps(body)),
    }

    async def is_taken() -> bool:
        try:
            answer = await line.ask("POST", "/api/v1/payments/webhooks/sandbox", body, headers)
        except LOST:
            return False
        assert answer.status in (200, 503), answer
        return answer.status == 200

    with Line(shop.port) as line:
        await eventually(is_taken, timeout_s=REPLACED_S)


async def lie(shop: Shop, payments: Sequence[dict[str, Any]], dice: random.Random) -> None:
    """Tell of payments that succeeded what gateways tell in bad hours: too early, twice, and in the wrong order."""
    stories = []
    for payment in payments:
        story = [("failed", "a"), ("cancelled", "b"), ("succeeded", "c"), ("succeeded", "c"), ("succeeded", "d")]
        dice.shuffle(story)
        stories += [(payment, outcome, f"evt_{payment['id']}_{name}") for outcome, name in story]
    dice.shuffle(stories)
    room = asyncio.Semaphore(16)

    async def one(payment: dict[str, Any], outcome: str, event: str) -> None:
        async with room:
            await tell(shop, payment, outcome, event=event)

    await asyncio.gather(*(one(*story) for story in stories))

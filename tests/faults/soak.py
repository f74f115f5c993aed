"""All faults at random over a shop under load, for as long as you like: `make soak`.

    python -m tests.faults.soak --minutes 10 --seed 7 --buyers 200

Rounds follow one another: some hundred buyers, some faults, then the recount that the fault tests make. Ends with exit
code 1 at the first round whose books do not close, and leaves the shop's folder behind. The seed decides who buys what
and which faults come; the moments at which processes run are the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tests.faults.buyers import Crowd
from tests.faults.faults import DROP_SKU, QUICK, gateway_down, kill, ledger, lie, limit, paused, run
from tests.faults.recount import UNTOLD, Opening, check_messages, recount, rows, wait_until_settled
from tests.servers import Shop
from tests.waiting import eventually

SKUS = ("22423", "23166", "22960", "22720", "22666", "22699")
LEVELS = (200, 20_000, 20_000, 20_000)
"""Items of a variant at a round's begin, one of these: some are sold out in it, most are not."""
FAULTS_PER_ROUND = (2, 5)
ANSWERS = 10
"""How many answers a round has at least for each buyer."""
PAUSE_S = (0.5, 4.0)
LIES = 40
CODE, REDEMPTIONS = "SOAK", 2_000
TOLD_S = 900.0
"""Longest time for the messages that are left at the end."""

NEVER_TOLD = """
SELECT split_part(reference, '.', 1) FROM payments.sandbox_payments
WHERE token = 'tok_webhook_never' AND state = 'succeeded' ORDER BY created_at DESC LIMIT %s
"""

Fault = Callable[[Shop, Crowd, random.Random], Awaitable[None]]


async def hang(name: str, shop: Shop, crowd: Crowd, dice: random.Random) -> None:
    """A process stops for some seconds, and goes on as if nothing had been."""
    over = time.monotonic() + dice.uniform(*PAUSE_S)
    async with paused(shop, name):
        await eventually(lambda: time.monotonic() > over)


async def end(name: str, with_signal: signal.Signals, shop: Shop, crowd: Crowd, dice: random.Random) -> None:
    """A process dies."""
    await kill(shop, name, crowd, dice, with_signal=with_signal)


async def lose_gateway(shop: Shop, crowd: Crowd, dice: random.Random) -> None:
    """No answer from the gateway for some seconds."""
    over = time.monotonic() + dice.uniform(*PAUSE_S)
    async with gateway_down(shop):
        await eventually(lambda: time.monotonic() > over)


async def hear_lies(shop: Shop, crowd: Crowd, dice: random.Random) -> None:
    """Webhooks in a wrong order about payments that were never told; not about one of theirs that was declined."""
    orders = [row[0] for row in rows(shop, NEVER_TOLD, LIES)]
    await lie(shop, ledger(shop, orders, token="tok_webhook_never"), dice)


FAULTS: dict[str, Fault] = {
    **{
        f"kill -9 {name}": functools.partial(end, name, signal.SIGKILL)
        for name in ("site-1", "site-2", "worker", "worker-urgent", "scheduler", "valkey", "mail-catcher", "postgres")
    },
    "postgres stops at once": functools.partial(end, "postgres", signal.SIGQUIT),
    **{
        f"{name} hangs": functools.partial(hang, name)
        for name in ("site-1", "scheduler", "worker", "worker-urgent", "valkey")
    },
    "gateway down": lose_gateway,
    "gateway lies": hear_lies,
}


async def run_round(shop: Shop, number: int, *, seed: int, buyers: int) -> str:
    """One round; what it did, in a line. Raises: AssertionError when the books do not close."""
    dice = random.Random(seed * 1_000 + number)
    for sku in SKUS:
        run(shop, "stock", "set", sku, str(dice.choice(LEVELS)))
    opening = Opening.of(shop)
    chosen = dice.choices(list(FAULTS), k=dice.randint(*FAULTS_PER_ROUND))
    say(f"round {number}: {', '.join(chosen)}")
    began = time.monotonic()
    async with Crowd(shop.port, SKUS, seed=seed * 1_000 + number, size=buyers, drop_sku=DROP_SKU, code=CODE) as crowd:
        for name in chosen:
            await FAULTS[name](shop, crowd, dice)
        await eventually(lambda: crowd.bought >= ANSWERS * buyers, timeout_s=300)
    load_s = time.monotonic() - began
    await recount(shop, opening, crowd.receipts, refunded=None)
    refused = ", ".join(f"{count:,} {kind}" for kind, count in sorted(crowd.receipts.refusals().items()))
    return (
        f"round {number}: books close; {len(crowd.receipts.orders()):,} orders in {crowd.bought:,} answers and"
        f" {load_s:.0f} s, {crowd.receipts.repeats:,} repeats; refused: {refused or 'nobody'}"
    )


async def soak(shop: Shop, *, minutes: float, seed: int, buyers: int) -> None:
    """Rounds until the time is over, then a look at the messages."""
    limit(shop, code=CODE, redemptions=REDEMPTIONS)
    over = time.monotonic() + minutes * 60
    number = 0
    while time.monotonic() < over:
        number += 1
        say(await run_round(shop, number, seed=seed, buyers=buyers))
    await asyncio.to_thread(wait_until_settled, shop, UNTOLD, timeout_s=TOLD_S)
    check_messages(shop, told=True)
    say(f"seed {seed}: {number} rounds, books closed after each, every paid order told once by each channel")


def say(line: str) -> None:
    """One line, at once, with the time of day."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def main() -> int:
    """The command. Exit code 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="repeats a run")
    parser.add_argument("--buyers", type=int, default=200, help="how many buy at once (default: 200)")
    options = parser.parse_args()
    say(f"seed {options.seed}: --seed {options.seed} repeats the choices")
    folder = Path(tempfile.mkdtemp(prefix="tidegate-soak-"))
    shop = Shop(folder / "home", environment=QUICK).start()
    try:
        shop.wait_ready()
        uvloop.run(soak(shop, minutes=options.minutes, seed=options.seed, buyers=options.buyers))
    except AssertionError as error:
        say(f"seed {options.seed}: FAILED: {error}\n{traceback.format_exc()}")
        say(f"the shop's folder, with its logs: {folder}")
        return 1
    finally:
        shop.stop()
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

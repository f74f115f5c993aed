"""What clients that ask for the status a hundred times too fast take from those who do not; a part of `gate`.

The others ask at random moments, `CALM_PER_S` of them together. The pollers are `POLLERS` sessions with a connection
each that ask again as soon as they are answered. Rounds with and without pollers take turns, so that what else happens
on the machine meets both; `polling_p99_ratio` is the middle one of the rounds' ratios of the others' p99.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.load import Plan, Report
from benchmarks.probes import run_crowd, say
from benchmarks.visits import token_of

POLLERS = 50
CALM_PER_S = 500.0
CALM_CONNECTIONS = 64
ROUNDS = 3
AHEAD_S = 2.0
"""By so much pollers begin before the others, and end after them: nobody is told to wait in their first second."""

POLLERS_FIRST = 900_000_000
"""Where the numbers of pollers begin: for a file's name only."""


def measure(*, port: int, path: str, folder: Path, seconds: float, rounds: int) -> dict[str, object]:
    """The keys that `gate` tells of it."""
    tokens = folder / "pollers"
    tokens.write_text("\n".join(token_of(number) for number in range(POLLERS)))

    def calm() -> Report:
        return run_crowd(_plan(port, path, seconds=seconds), folder=folder)

    def polling() -> tuple[Report, Report]:
        with ThreadPoolExecutor(1) as pool:
            plan = _plan(port, path, seconds=seconds + 2 * AHEAD_S, tokens=str(tokens))
            pollers = pool.submit(run_crowd, plan, folder=folder)
            time.sleep(AHEAD_S)
            return calm(), pollers.result()

    ratios, refused = _rounds(rounds, calm, polling)
    ratio = round(statistics.median(ratios), 2)
    say(f"pollers: others' p99 x {ratio}, {refused:,.0f} of their requests a second are refused")
    return {"polling_p99_ratio": ratio, "polling_p99_ratios": ratios, "polling_refused_per_s": round(refused, 1)}


def _rounds(
    rounds: int, calm: Callable[[], Report], polling: Callable[[], tuple[Report, Report]]
) -> tuple[list[float], float]:
    ratios, refused = [], 0.0
    for _ in range(rounds):
        alone = calm()
        among, pollers = polling()
        ratios.append(round(among.p99_ms / alone.p99_ms, 2))
        refused = pollers.problems.get("too-many-requests", 0) / max(pollers.seconds, 0.001)
    return ratios, refused


def _plan(port: int, path: str, *, seconds: float, tokens: str = "") -> Plan:
    session = "authorization: Bearer %b\r\n" if tokens else ""
    return Plan(
        port=port,
        kind="ask",
        rate_per_s=0.0 if tokens else CALM_PER_S,
        seconds=seconds,
        first_buyer=POLLERS_FIRST if tokens else 0,
        buyers=int(20_000 * seconds) if tokens else int(CALM_PER_S * seconds * 1.3) + 100,
        connections=POLLERS if tokens else CALM_CONNECTIONS,
        request=f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{session}\r\n",
        fills_file=tokens,
    )

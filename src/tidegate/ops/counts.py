"""How many processes of each kind a shop is to have: `site=1,checkout=2`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

SITE = "site"
GATE = "gate"
CHECKOUT = "checkout"
WORKER = "worker"

LEAST: Mapping[str, int] = {SITE: 1, GATE: 0, CHECKOUT: 0, WORKER: 1}
"""Kinds that can be counted, and the fewest of each: the site serves what no other part does."""

MOST = 64
"""Most processes of one kind."""


def counts_of(settings: Settings) -> dict[str, int]:
    """What the settings say."""
    return {
        SITE: settings.supervisor.site_processes,
        GATE: settings.supervisor.gate_processes,
        CHECKOUT: settings.supervisor.checkout_processes,
        WORKER: settings.jobs.worker_processes,
    }


def parse_counts(texts: Sequence[str]) -> dict[str, int]:
    """Counts as somebody types them: `site=1,checkout=2`, or several such. Raises: StartupError."""
    counts: dict[str, int] = {}
    for one in [piece.strip() for text in texts for piece in text.split(",")]:
        kind, _, number = one.partition("=")
        if kind not in LEAST:
            raise StartupError(f"{one!r} names no kind of process: write {', '.join(LEAST)} like site=1,checkout=2")
        if not (number.isascii() and number.isdigit() and len(number) <= 4):
            raise StartupError(f"{one!r} has no number of processes: write {kind}=2")
        if kind in counts:
            raise StartupError(f"{kind} is named twice")
        if not LEAST[kind] <= int(number) <= MOST:
            raise StartupError(f"{kind}={int(number)} is not possible: {LEAST[kind]} to {MOST} are")
        counts[kind] = int(number)
    return counts

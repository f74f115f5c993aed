"""How much of their time workers may give to bulk sends: a closed loop, as a pure function of what shoppers wait.

The `share` of a worker's time grows while shoppers are served well within an objective and is cut when they are not
(additive increase, multiplicative decrease, as TCP shares a line: Chiu and Jain, 1989). A send begins with a quarter
and takes half a minute to all of the time, slower than it is judged; where there are no shoppers, it has all of it at
once. What was measured covers the last seconds, so after a cut the share is left alone until these are over.

The objective is relative to how long shoppers wait while nothing is sent in bulk, which is learned: then, and while the
share is at its floor, where a send is hardly felt and a crowd that came meanwhile would else be taken for its doing.

A slowest percent of seconds is a noisy thing: on a small machine it doubles and halves by itself. So the median of some
readings is judged, and held against what is seen every few seconds without a send as well: what would be seen anyhow
is no reason to slow down.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

import msgspec

IDLE_TIMES: Final = 1.2
IDLE_PLUS_MS: Final = 5.0
"""Shoppers may wait so much longer than idle, whichever is more: the objective where none is set."""

IDLE_KEPT: Final = 60
IDLE_LEAST: Final = 5
"""So many readings, the last of them, say what idle is; from fewer nothing is concluded."""

REQUESTS_LEAST: Final = 30
"""From fewer requests in the measured seconds nothing is learned about idle."""

SETTLE_S: Final = 4.0
"""After a cut, and after the end of a send, what was measured still tells of the time before for so long."""

START: Final = 0.25
"""The share at which a send begins."""

STEP: Final = 0.01
GROW: Final = 1.02
"""What the share is multiplied by, with `STEP` added, each second."""

CUT_MOST: Final = 0.5
"""A cut is by the square of how far the objective is missed, and at most to so much."""

NEAR: Final = 0.9
"""Above this share of the objective, nothing grows."""

RECENT: Final = 5
"""Of so many readings, the last ones, the median is judged; of fewer after a cut and at a beginning, ..."""

RECENT_LEAST: Final = 3
"""... but not of fewer than these."""

USUAL: Final = 0.8
"""Readings up to this quantile of those without a send are usual."""

FELT: Final = 3
"""Cuts need so many requests to be judged by: one slow request of a quiet shop is no crowd."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Shares of a worker's time. `objective_ms`: 0 for one relative to idle; `guess_ms`: idle, while none is known."""

    objective_ms: float
    guess_ms: float
    floor: float
    unknown: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured of the last seconds. `p99_ms`: what the slowest percent of shoppers waited.

    None: no request came, or, where not `told`, nobody knows.
    """

    now_s: float
    sending: bool
    told: bool
    requests: int = 0
    p99_ms: float | None = None


class Memory(msgspec.Struct, frozen=True):
    """What the loop knows from its earlier rounds. Times are of the same clock as `Facts.now_s` (Unix time)."""

    share: float = START
    idle_ms: tuple[float, ...] = ()
    cut_s: float = 0.0
    recent_ms: tuple[float, ...] = ()
    """What shoppers waited, since the last cut."""
    sent_s: float = 0.0
    """When something was last sent."""
    at_s: float = 0.0


def objective_ms(memory: Memory, limits: Limits) -> float:
    """How long the slowest percent of shoppers may wait."""
    if limits.objective_ms:
        return limits.objective_ms
    idle = idle_ms(memory) or limits.guess_ms
    return max(IDLE_TIMES * idle, idle + IDLE_PLUS_MS)


def idle_ms(memory: Memory) -> float | None:
    """How long they wait while nothing is sent in bulk; None where too little is known."""
    return statistics.median(memory.idle_ms) if len(memory.idle_ms) >= IDLE_LEAST else None


def bar_ms(memory: Memory, limits: Limits) -> float:
    """How long they may wait before a send is slowed down: the objective, or what is usual without a send."""
    objective = objective_ms(memory, limits)
    if limits.objective_ms or len(memory.idle_ms) < IDLE_LEAST:
        return objective
    return max(objective, sorted(memory.idle_ms)[int(len(memory.idle_ms) * USUAL)])


def decide(facts: Facts, memory: Memory, limits: Limits) -> Memory:
    """The share from now on. Call it about once a second."""
    alone = facts.told and not facts.requests
    if not facts.sending:
        over = facts.now_s - memory.sent_s > SETTLE_S
        learned = _learned(facts, memory) if over else memory.idle_ms
        share = 1.0 if alone else START
        return msgspec.structs.replace(memory, share=share, recent_ms=(), idle_ms=learned, at_s=facts.now_s)
    now = msgspec.structs.replace(memory, sent_s=facts.now_s, at_s=facts.now_s)
    if alone or not facts.told:
        return msgspec.structs.replace(now, share=1.0 if alone else limits.unknown)
    if facts.now_s - memory.cut_s <= SETTLE_S:
        return now
    recent = (*memory.recent_ms, facts.p99_ms or 0.0)[-RECENT:]
    now = msgspec.structs.replace(now, recent_ms=recent)
    load = statistics.median(recent) / bar_ms(memory, limits)
    if load > 1.0:
        if memory.share <= limits.floor:
            return msgspec.structs.replace(now, idle_ms=_learned(facts, memory))
        if len(recent) < RECENT_LEAST or facts.requests < FELT:
            return now
        share = max(memory.share * max(CUT_MOST, load**-2), limits.floor)
        return msgspec.structs.replace(now, share=share, recent_ms=(), cut_s=facts.now_s)
    if load > NEAR:
        return now
    grown = memory.share * GROW + STEP
    return msgspec.structs.replace(now, share=min(max(grown, limits.floor), 1.0))


def _learned(facts: Facts, memory: Memory) -> tuple[float, ...]:
    if facts.p99_ms is None or facts.requests < REQUESTS_LEAST:
        return memory.idle_ms
    return (*memory.idle_ms, facts.p99_ms)[-IDLE_KEPT:]

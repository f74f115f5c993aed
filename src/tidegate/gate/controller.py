"""How many people enter next: a closed loop per room, as a pure function of what was measured. No I/O, no clock.

Two bounds, and the smaller one decides.

*Stock.* Those who were admitted and have not taken anything yet may not be more than the stock that is free can serve.
Some of them never come and some take less than they may, so a few more than that may enter: as many as keep the chance
that they need too much below one in a thousand (the normal approximation; airlines set their booking limits in this
way: Rothstein, 1971, "An Airline Overbooking Model"), and never more than `MOST_OVER` times the stock. What is held is
not counted as free: it may come back, but whoever enters now would not find it.

*Pace.* A rate in people a second. It begins low, doubles while the engine answers well within its objective, and after
the first answer that was too slow it falls to less than what the engine got done (an engine that has too much to do
shows what it can), and creeps: up to a little below what the engine got done, a mark that rises slowly, since the
engine may have got faster. What was admitted reaches the engine only when people have chosen,
so after each change of the rate it is not raised for as long as they take.
Where the engine stays calm for long, the mark rises ever faster: what slowed it down is over (as in CUBIC, RFC 9438).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

MOST_OVER = 4.0
"""Most people inside per buyer that the free stock can serve, however many never came so far."""

MARGIN = 3.0
"""Standard deviations between the people who are expected to come and the stock."""

PRIOR = 20.0
"""Weight, in people, of what is assumed before anything was seen: everyone comes and takes as much as allowed."""

CALM = 0.5
"""Below this share of the objective the engine has room for more."""

CUT = 0.5
"""What a rate that was too much is multiplied by at worst."""

DRAIN = 0.7
"""A rate that was too much falls to this share of what the engine got done, so that what has piled up gets done too."""

BELOW_MARK = 0.93
"""Share of the rate that was too much which the rate may reach again."""

CREEP = 0.01
"""How much of itself that mark rises in a step that went well, ..."""

PATIENCE = 6
"""... doubled with every such step in a row after so many, ..."""

CREEP_MOST = 0.25
"""... and at most so much."""

SETTLE_LEAST_S, SETTLE_MOST_S = 5.0, 60.0
"""Bounds of the time that a change of the rate is given to show."""

BURST_S = 2.0
"""Seconds of the rate that may be admitted at once after a pause of the loop."""

CLOCK_STEP_S = 60.0
"""A measurement older than the last one by less is another scheduler's and tells nothing; by more, a clock was set."""

RATE_LEAST = 1.0
"""The rate never falls below this, in people a second: an engine that is slow for other reasons wedges no line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What does not change while a room is open. Rates are people a second.

    `per_buyer`: items that one buyer may take. `start_per_s`: the rate at the opening. `objective_ms`: the p99 that the
    engine should keep. `speed_limit_per_s`: what staff allow at most; None for no such limit.
    """

    per_buyer: int
    start_per_s: float
    objective_ms: float
    speed_limit_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured just now.

    `free` and `held` are items; `inside` are people who were admitted, whose pass is good, and who hold nothing yet;
    `waiting` are people in line.
    `engine_p99_ms` is the engine's slowest percent as of `measured_s`; None when nobody knows.
    """

    now_s: float
    free: int
    held: int
    inside: int
    waiting: int
    engine_p99_ms: float | None = None
    measured_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the loop knows from its earlier rounds. Times are in seconds of the same clock as `Facts.now_s`.

    `spent` people took `items` items, `absent` ones never came; `sold` and `returned` are items whose holds have ended.
    `finish_s` is how long people take from their admission until they hold something, on average.
    `sampled_spent` is what `spent` was at `sampled_s`, when the engine was last judged.
    `mark_per_s` is the rate that the engine got done when it had too much; None until it had.
    `calm` counts steps in a row that went well.
    """

    rate_per_s: float
    credit: float = 0.0
    at_s: float | None = None
    changed_s: float | None = None
    measured_s: float = 0.0
    sampled_s: float | None = None
    sampled_spent: int = 0
    mark_per_s: float | None = None
    calm: int = 0
    spent: int = 0
    items: int = 0
    absent: int = 0
    sold: int = 0
    returned: int = 0
    finish_s: float = 15.0

    @property
    def show_rate(self) -> float:
        """The share of those admitted who come; with little seen it is near 1."""
        return (PRIOR + self.spent) / (PRIOR + self.spent + self.absent)

    @property
    def no_show_rate(self) -> float:
        """The share of those admitted who never come."""
        return 1.0 - self.show_rate

    @property
    def completion_rate(self) -> float:
        """The share of held items that are sold in the end."""
        return (PRIOR + self.sold) / (PRIOR + self.sold + self.returned)

    def items_each(self, limits: Limits) -> float:
        """Items that one buyer takes; with little seen it is near what one may take."""
        return (PRIOR * limits.per_buyer + self.items) / (PRIOR + self.spent)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: admit the next `admit` people in line. `memory` is for the next round.

    `reach` is how many more people than those inside what is free and held will probably last for: an estimate to show.
    """

    admit: int
    memory: Memory
    reach: int


def begin(limits: Limits) -> Memory:
    """What the loop knows when a room opens."""
    return Memory(rate_per_s=limits.start_per_s)


def decide(facts: Facts, memory: Memory, limits: Limits) -> Step:
    """How many people enter now. Whoever calls it admits exactly so many of the next in line."""
    paced = _pace(facts, memory, limits)
    rate = paced.rate_per_s
    if limits.speed_limit_per_s is not None:
        rate = min(rate, limits.speed_limit_per_s)
    elapsed_s = 0.0 if memory.at_s is None else max(facts.now_s - memory.at_s, 0.0)
    grown = rate if memory.at_s is None else memory.credit + rate * elapsed_s
    credit = min(grown, max(rate * BURST_S, 1.0))
    room = people_that_fit(facts.free, paced, limits) - facts.inside
    admit = max(min(int(credit), room, facts.waiting), 0)
    after = replace(paced, credit=credit - admit, at_s=facts.now_s)
    return Step(admit, after, _reach(facts, paced, limits))


def people_that_fit(free: int, memory: Memory, limits: Limits) -> int:
    """How many people without a hold `free` items can serve, no-shows considered.

    At least as many as it serves when each takes what one may, and one while anything is left; at most `MOST_OVER`
    times as many as it serves when each takes what buyers took so far.
    """
    if free <= 0:
        return 0
    each = memory.items_each(limits)
    fit = _with_chance(free, each, _items_variance(each, limits.per_buyer), memory.show_rate)
    return max(int(min(fit, free / each * MOST_OVER)), int(free / max(each, limits.per_buyer)), 1)


def _items_variance(each: float, most: float) -> float:
    """The largest variance that a number of items from 1 to `most` with this mean can have (Bhatia and Davis, 2000)."""
    return max(most - each, 0.0) * max(each - 1.0, 0.0)


def _with_chance(free: int, each: float, variance: float, show: float) -> float:
    """The largest n whose need of items, expected and `MARGIN` standard deviations more, is at most `free`.

    Each of n people comes with probability `show`, and then takes a number of items of this mean and variance.
    """
    mean = show * each
    spread = MARGIN * math.sqrt(show * variance + show * (1.0 - show) * each * each)
    root = (-spread + math.sqrt(spread * spread + 4.0 * mean * free)) / (2.0 * mean)
    return root * root


def _pace(facts: Facts, memory: Memory, limits: Limits) -> Memory:
    """The rate after what was measured of the engine since the last round; unchanged when nothing new was measured."""
    if facts.engine_p99_ms is None or 0.0 <= memory.measured_s - facts.measured_s < CLOCK_STEP_S:
        return memory
    seen = replace(memory, measured_s=facts.measured_s, sampled_s=facts.now_s, sampled_spent=memory.spent)
    load = facts.engine_p99_ms / limits.objective_ms
    rate, mark = memory.rate_per_s, memory.mark_per_s
    changed = replace(seen, changed_s=facts.now_s)
    if load > 1.0:
        done = _done_per_s(facts, memory) or rate
        slower = min(max(done * DRAIN, rate * CUT, RATE_LEAST), rate)
        known = 0.0 if mark is None or memory.calm else mark  # what it got done at best since it became too much
        return replace(changed, rate_per_s=slower, mark_per_s=max(done, known, RATE_LEAST), calm=0)
    settle_s = min(max(memory.finish_s, SETTLE_LEAST_S), SETTLE_MOST_S)
    if memory.changed_s is not None and 0.0 <= facts.now_s - memory.changed_s < settle_s:
        return seen
    if load > CALM or memory.credit >= rate:
        return seen  # nothing to win, or something else than the pace holds people back, and calm says nothing
    if mark is None:
        return replace(changed, rate_per_s=rate * 2.0)
    mark *= 1.0 + min(CREEP * 2.0 ** max(memory.calm - PATIENCE, 0), CREEP_MOST)
    return replace(changed, rate_per_s=max(rate, mark * BELOW_MARK), mark_per_s=mark, calm=memory.calm + 1)


def _done_per_s(facts: Facts, memory: Memory) -> float | None:
    """The rate of admission that would have given the engine just what it got done since it was last judged."""
    if memory.sampled_s is None or facts.now_s <= memory.sampled_s:
        return None
    return (memory.spent - memory.sampled_spent) / (facts.now_s - memory.sampled_s) / memory.show_rate


def _reach(facts: Facts, memory: Memory, limits: Limits) -> int:
    """People beyond those inside who will probably get something: of what is free, and of what comes back."""
    each, show = memory.items_each(limits), memory.show_rate
    completion = max(memory.completion_rate, 0.05)
    buyers = (facts.free + facts.held * (1.0 - completion)) / (each * completion)
    return max(int(buyers / show) - facts.inside, 0)

"""What a sale will need, from what a rehearsal cost. Pure: extrapolation with its assumptions said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.rehearse.contracts import Report, Step
from tidegate.rehearse.learnt import (
    DATABASE,
    SELLING,
    SERVING,
    WAITING,
    WINDOW_S,
    Costs,
    Span,
    cpu_seconds,
    is_selling,
    slowness,
    spans,
    was_full,
)

PART_OF: Mapping[str, str] = {
    Step.PAGE: "site",
    Step.SIGN_IN: "site",
    Step.STATUS: "gate",
    Step.JOIN: "gate",
    Step.PLACE: "gate",
    Step.LEAVE: "gate",
    Step.PURCHASE: "checkout",
    Step.HOLD: "checkout",
    Step.PAY: "checkout",
    Step.ORDER: "checkout",
}
"""Which kind of process serves a step where each has processes of its own."""

BACKGROUND = "worker"
"""Stands for all that works behind the shop: workers, scheduler, mail catcher, Valkey."""

BUSY = 0.7
"""Share of a core that may be used in the busiest time: beyond it queues grow long."""

SMALL = 50
"""A rehearsal with so many times fewer shoppers than the sale has says little about how often they ask."""

LEAST_ORDER_S = 0.000_1
"""CPU time of PostgreSQL for an order at least: a rehearsal with few of them may tell less, or nothing."""

MOST_TIMES = 1_000.0
HALVINGS = 40
CONNECTIONS_PER_PROCESS = 13
"""Of PostgreSQL, at most: a pool of 8, and one for each kind of batch and for what is listened to."""


@dataclass(frozen=True, slots=True)
class Sale:
    """What is planned: so many people come and so much is sold within a time, in seconds."""

    shoppers: int
    stock: int
    within_s: float
    sold_within_s: float = 0.0
    """Where it is sold in another time than the people come in."""

    @property
    def sold_per_s(self) -> float:
        """Orders a second."""
        return self.stock / (self.sold_within_s or self.within_s)


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine that can be rented."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    cores: Annotated[int, Meta(ge=1, le=4096)]
    per_hour: Annotated[float, Meta(ge=0)]


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Machines and what they cost; `hours` are paid before and after the sale together."""

    currency: Annotated[str, Meta(min_length=1, max_length=10)]
    machine: Annotated[tuple[Machine, ...], Meta(min_length=1, max_length=100)]
    hours: Annotated[float, Meta(gt=0, le=10_000)] = 2.0


@dataclass(frozen=True, slots=True)
class Rented:
    """The cheapest machines of one kind that are enough. `per_1000_orders` is in the prices' currency."""

    name: str
    count: int
    per_1000_orders: float
    currency: str


@dataclass(frozen=True, slots=True)
class Planned:
    """The answer. Cores are those of the busiest time, by part; `total_cores` with room to breathe (`BUSY`).

    `outgrown_at` are shoppers, with stock in proportion. Waits are seconds: of a buyer in the middle, and of the last
    one, when those who go without learn it too.
    """

    sale: Sale
    cores_here: int
    suffices: bool
    cores: Mapping[str, float]
    total_cores: float
    processes: Mapping[str, int]
    database_cores: int
    connections: int
    sockets: int
    outgrown_at: int
    gives_way: str
    orders_per_s: float
    hot_row_per_s: float
    wait_s: float
    longest_wait_s: float
    rented: Rented | None
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the shop and its machine set: idle connections stay `keep_alive_s`, about `polls_per_s` ask for the status
    of a room in its rush.
    """

    cores: int
    keep_alive_s: float
    polls_per_s: float


def plan(costs: Costs, sale: Sale, limits: Limits, *, prices: Prices | None = None) -> Planned:
    """What `sale` needs, and whether a machine of so many cores is enough."""
    cores_here = limits.cores
    cores = busiest_cores(costs, sale, polls_per_s=limits.polls_per_s)
    polls_per_s = max(_rates(costs, span, sale, limits.polls_per_s).get(Step.STATUS, 0.0) for span in costs.spans)
    total = sum(cores.values()) / BUSY
    hot_row = max(1.0 / max(costs.of_order([DATABASE]), LEAST_ORDER_S), costs.sold_per_s)
    rate = min(sale.sold_per_s, hot_row, _rate_here(costs, sale, limits))
    processes = {part: max(ceil(cores[part] / BUSY), 1) for part in (*SERVING, BACKGROUND)}
    return Planned(
        sale=sale,
        cores_here=cores_here,
        suffices=total <= cores_here and hot_row >= sale.sold_per_s,
        cores={part: round(each, 2) for part, each in cores.items()},
        total_cores=round(total, 1),
        processes=processes,
        database_cores=ceil(cores[DATABASE] / BUSY),
        connections=CONNECTIONS_PER_PROCESS * sum(processes.values()),
        sockets=round(min(polls_per_s * limits.keep_alive_s, sale.shoppers)),
        outgrown_at=_outgrown_at(costs, sale, limits, hot_row=hot_row),
        gives_way=_gives_way(cores, total / cores_here, sale.sold_per_s / hot_row),
        orders_per_s=round(rate, 1),
        hot_row_per_s=round(hot_row, 1),
        wait_s=round(sale.stock / max(rate, 1e-9) / 2, 1),
        longest_wait_s=round(sale.stock / max(rate, 1e-9), 1),
        rented=None if prices is None else _rent(prices, total, sale),
        assumptions=_assumptions(costs, sale, limits),
    )


def busiest_cores(costs: Costs, sale: Sale, *, polls_per_s: float) -> dict[str, float]:
    """Cores that each part keeps busy in the busiest time: of all stretches of the rehearsal, each made as large."""
    kinds = list(costs.cpu_s)
    each_s = {step: costs.of(step, kinds) for step in (*costs.per_shopper, *costs.per_sold)}
    idle = sum(costs.idle.values())
    larger = [(span, _rates(costs, span, sale, polls_per_s)) for span in costs.spans]

    def total(of: tuple[Span, Mapping[str, float]]) -> float:
        span, rates = of
        before, after = (sum(per_s * each_s[step] for step, per_s in asked.items()) for asked in (span.rates, rates))
        return _used(sum(span.cores.values()), idle=idle, before=before, after=after)

    return _cores(costs, *max(larger, key=total))


def _cores(costs: Costs, span: Span, rates: Mapping[str, float]) -> dict[str, float]:
    """What is used where the rehearsal was in `span`, when `rates` are asked for."""
    cores = dict.fromkeys((*SERVING, DATABASE, BACKGROUND), 0.0)
    for kind, of_step in costs.cpu_s.items():
        after = {step: of_step.get(step, 0.0) * per_s for step, per_s in rates.items()}
        asked = sum(after.values())
        before = sum(of_step.get(step, 0.0) * per_s for step, per_s in span.rates.items())
        used = _used(span.cores.get(kind, 0.0), idle=costs.idle[kind], before=before, after=asked)
        if kind in SERVING and asked > 0:
            for step, each in after.items():
                cores[PART_OF[step]] += used * each / asked
        else:
            cores[kind if kind in cores else BACKGROUND] += used
    return cores


def _used(measured: float, *, idle: float, before: float, after: float) -> float:
    """Cores that are used when requests cost `after` in place of `before`.

    What these do not explain of what was measured does not grow with them, but shrinks.
    """
    times = min(after / before, 1.0) if before > 0 else 1.0
    return max(idle + after + times * (measured - idle - before), idle)


def _rates(costs: Costs, span: Span, sale: Sale, polls_per_s: float) -> dict[str, float]:
    """Requests a second of `sale` when it is where the rehearsal was in `span`."""
    people = sale.shoppers / costs.shoppers
    found = {}
    for step, per_s in span.rates.items():
        if step in WAITING:
            found[step] = min(per_s * people, max(per_s, polls_per_s))
        elif step in SELLING:
            found[step] = sale.sold_per_s * costs.per_sold[step] if is_selling(span) else per_s * people
        else:
            found[step] = per_s * people * costs.within_s / sale.within_s
    return found


def _rate_here(costs: Costs, sale: Sale, limits: Limits) -> float:
    """Orders a second that this machine has cores for after the rush, at least a hundredth of what is wanted."""
    left = limits.cores - min(
        sum(_cores(costs, span, _waiting(_rates(costs, span, sale, limits.polls_per_s))).values())
        for span in costs.spans
        if is_selling(span)
    )
    return max(left / max(costs.of_order(list(costs.cpu_s)), 1e-9), sale.sold_per_s / 100)


def _waiting(rates: Mapping[str, float]) -> dict[str, float]:
    return {step: per_s if step in WAITING else 0.0 for step, per_s in rates.items()}


def _outgrown_at(costs: Costs, sale: Sale, limits: Limits, *, hot_row: float) -> int:
    def suffices(times: float) -> bool:
        larger = replace(sale, shoppers=round(sale.shoppers * times), stock=round(sale.stock * times))
        used = sum(busiest_cores(costs, larger, polls_per_s=limits.polls_per_s).values())
        return used / BUSY <= limits.cores and larger.sold_per_s <= hot_row

    least, most = 0.0, MOST_TIMES
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        least, most = (middle, most) if suffices(middle) else (least, middle)
    return round(sale.shoppers * least)


def _gives_way(cores: Mapping[str, float], used: float, hot_row: float) -> str:
    if hot_row > used:
        return "the row of the one product: its transactions follow one another, however many cores there are"
    part = max(cores, key=lambda each: cores[each])
    name = {DATABASE: "PostgreSQL", BACKGROUND: "what works behind the shop"}.get(part, part)
    return f"the cores: {name} needs {cores[part] / max(sum(cores.values()), 1e-9):.0%} of them"


def _rent(prices: Prices, total_cores: float, sale: Sale) -> Rented:
    hours = prices.hours + sale.within_s / 3_600

    def cost(machine: Machine) -> float:
        return ceil(total_cores / machine.cores) * machine.per_hour * hours

    best = min(prices.machine, key=cost)
    count = ceil(total_cores / best.cores)
    return Rented(best.name, count, round(cost(best) / max(sale.stock, 1) * 1_000, 4), prices.currency)


def _assumptions(costs: Costs, sale: Sale, limits: Limits) -> tuple[str, ...]:
    few = f"the sale is like one with {costs.shoppers:,} people, which is far from {sale.shoppers:,}"
    full = "all cores were in use in the rehearsal: what it could not do then is not known"
    return (
        *((f"{few}: rehearse with more shoppers",) if sale.shoppers > SMALL * costs.shoppers else ()),
        *((f"{full}; rehearse with fewer shoppers",) if costs.full else ()),
        f"the sale goes like the rehearsal; of its stretches of {WINDOW_S} s, each made larger, the busiest counts",
        f"people come {costs.within_s:,.0f} s in the rehearsal and {sale.within_s:,.0f} s now, and orders come evenly",
        f"all who wait ask about {limits.polls_per_s:,.0f} times a second at most, as their room tells them to",
        "each request costs what it cost in the rehearsal, however many there are",
        f"at most {BUSY:.0%} of the cores are used in the busiest time",
        "one product is sold, and its orders follow one another in PostgreSQL, each for its CPU time there",
        "cores elsewhere are as fast as these, and the crowd's own are not counted",
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of a rehearsal as another foretells it; `error` is a share of what was measured."""

    name: str
    foretold: float
    measured: float

    @property
    def error(self) -> float:
        """By how much it was wrong, with its sign."""
        return (self.foretold - self.measured) / self.measured if self.measured else 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """How well one rehearsal foretells another.

    CPU times are scaled by `slowness`: how many times as long the same work took in the other; None where that is not
    known of both. `full`: all cores were in use there, so that it could not use more.
    """

    figures: tuple[Compared, ...]
    slowness: float | None
    full: bool


def check(costs: Costs, real: Report, *, polls_per_s: float) -> Check:
    """Foretell a rehearsal of the same kind but of another size from the costs of one.

    What was refused for load there is not foretold; its CPU time is in what was measured.
    """
    told, arrivals, units = real.told, real.scenario.arrivals, real.scenario.sale.units
    slower = slowness(costs.timeline, told.timeline)
    times = slower or 1.0
    asked = {step: each * arrivals.shoppers for step, each in costs.per_shopper.items()}
    asked |= {step: each * units for step, each in costs.per_sold.items()}
    refused = sum(second.refused for second in told.timeline)
    found = [Compared("requests", sum(asked.values()), float(told.requests - refused))]
    for name, kinds in (
        ("CPU s of what serves", SERVING),
        ("CPU s of PostgreSQL", (DATABASE,)),
        ("CPU s of all", tuple(costs.cpu_s)),
    ):
        foretold = sum(count * costs.of(step, kinds) for step, count in asked.items())
        foretold += told.timeline[-1].at * sum(costs.idle.get(kind, 0.0) for kind in kinds)
        found.append(Compared(name, times * foretold, cpu_seconds(told.timeline, kinds)))
    selling = [second.at for second in told.timeline if second.bought]
    sold_within_s = selling[-1] - selling[0] + 1.0 if selling else arrivals.within_s
    sale = Sale(arrivals.shoppers, units, arrivals.within_s, sold_within_s)
    cores = sum(busiest_cores(costs, sale, polls_per_s=polls_per_s).values())
    used = max(sum(span.cores.values()) for span in spans(told.timeline))
    found.append(Compared("cores in the busiest time", times * cores, used))
    return Check(tuple(found), slower, was_full(real))

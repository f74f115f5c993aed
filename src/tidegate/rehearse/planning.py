"""What a sale will need, from what a rehearsal cost. Pure: extrapolation with its assumptions said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.rehearse.contracts import Report, Step
from tidegate.rehearse.learnt import DATABASE, SERVING, WINDOW_S, Costs, busiest
from tidegate.rehearse.rules import CROWD, OTHERS

PART_OF: Mapping[str, str] = {
    Step.PAGE: "site",
    Step.SIGN_IN: "site",
    Step.STATUS: "gate",
    Step.JOIN: "gate",
    Step.DRAW: "gate",
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


def plan(costs: Costs, sale: Sale, *, cores_here: int, keep_alive_s: float, prices: Prices | None = None) -> Planned:
    """What `sale` needs, and whether a machine of `cores_here` cores is enough."""
    cores = busiest_cores(costs, sale)
    total = sum(cores.values()) / BUSY
    hot_row = max(1.0 / max(costs.of(Step.PURCHASE, [DATABASE]), 1e-9), costs.sold_per_s)
    wanted_per_s = sale.stock / sale.within_s
    rate = min(wanted_per_s, hot_row, _rate_here(costs, sale, cores_here))
    processes = {part: max(ceil(cores[part] / BUSY), 1) for part in (*SERVING, BACKGROUND)}
    return Planned(
        sale=sale,
        cores_here=cores_here,
        suffices=total <= cores_here and hot_row >= wanted_per_s,
        cores={part: round(each, 2) for part, each in cores.items()},
        total_cores=round(total, 1),
        processes=processes,
        database_cores=ceil(cores[DATABASE] / BUSY),
        connections=CONNECTIONS_PER_PROCESS * sum(processes.values()),
        sockets=round(min(_rates(costs, sale)[Step.STATUS] * keep_alive_s, sale.shoppers)),
        outgrown_at=_outgrown_at(costs, sale, cores_here=cores_here, hot_row=hot_row),
        gives_way=_gives_way(cores, total / cores_here, wanted_per_s / hot_row),
        orders_per_s=round(rate, 1),
        hot_row_per_s=round(hot_row, 1),
        wait_s=round(sale.stock / max(rate, 1e-9) / 2, 1),
        longest_wait_s=round(sale.stock / max(rate, 1e-9), 1),
        rented=None if prices is None else _rent(prices, total, sale),
        assumptions=_assumptions(costs, sale),
    )


def busiest_cores(costs: Costs, sale: Sale) -> dict[str, float]:
    """Cores that each part keeps busy when most is asked for at once."""
    rates = _rates(costs, sale)
    behind = [kind for kind in costs.cpu_s if kind not in (*SERVING, DATABASE)]
    cores = dict.fromkeys((*SERVING, DATABASE, BACKGROUND), 0.0)
    for step, per_s in rates.items():
        cores[PART_OF[step]] += per_s * costs.of(step, SERVING)
        cores[DATABASE] += per_s * costs.of(step, [DATABASE])
        cores[BACKGROUND] += per_s * costs.of(step, behind)
    for kind, idle in costs.idle.items():
        cores[kind if kind in cores else BACKGROUND] += idle
    return cores


def _rates(costs: Costs, sale: Sale) -> dict[str, float]:
    """Requests a second by step in the busiest time: the rush of arrivals, everybody waiting, and the sale going on."""
    arrivals = costs.rush * sale.shoppers / sale.within_s
    rates = {step: each * arrivals for step, each in costs.per_shopper.items() if step != Step.STATUS}
    rates[Step.STATUS] = costs.polls_per_waiting_s * sale.shoppers
    rates[Step.PURCHASE] = costs.tries * sale.stock / sale.within_s
    return rates


def _rate_here(costs: Costs, sale: Sale, cores_here: int) -> float:
    """Orders a second that this machine has cores for after the rush, at least a hundredth of what is wanted."""
    nobody = dict.fromkeys(costs.per_shopper, 0.0)  # the rush is over, everybody waits
    left = cores_here - sum(busiest_cores(replace(costs, per_shopper=nobody, tries=0.0), sale).values())
    per_order = costs.tries * costs.of(Step.PURCHASE, list(costs.cpu_s))
    return max(left / max(per_order, 1e-9), sale.stock / sale.within_s / 100)


def _outgrown_at(costs: Costs, sale: Sale, *, cores_here: int, hot_row: float) -> int:
    def suffices(times: float) -> bool:
        larger = Sale(round(sale.shoppers * times), round(sale.stock * times), sale.within_s)
        enough = sum(busiest_cores(costs, larger).values()) / BUSY <= cores_here
        return enough and larger.stock / larger.within_s <= hot_row

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


def _assumptions(costs: Costs, sale: Sale) -> tuple[str, ...]:
    few = f"each of so many asks as often as the {costs.shoppers:,} of the rehearsal, which is more than a crowd does"
    return (
        *((f"{few}: rehearse with more shoppers",) if sale.shoppers > SMALL * costs.shoppers else ()),
        "each request costs what it cost in the rehearsal, however many there are",
        f"people come as in the rehearsal: its busiest {WINDOW_S} seconds brought {costs.rush:.1f} times the mean",
        f"in that time everybody waits and asks {costs.polls_per_waiting_s:.3f} times a second, and the sale goes on",
        f"at most {BUSY:.0%} of the cores are used then",
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


def compare(costs: Costs, real: Report) -> list[Compared]:
    """How well costs of one rehearsal foretell another of the same kind but of another size."""
    told, arrivals = real.told, real.scenario.arrivals
    asked = {step: each * arrivals.shoppers for step, each in costs.per_shopper.items()}
    asked[Step.PURCHASE] = costs.tries * real.scenario.sale.units
    seconds = len(told.timeline)
    found = [Compared("requests", sum(asked.values()), float(told.requests))]
    for name, kinds in (
        ("CPU s of what serves", SERVING),
        ("CPU s of PostgreSQL", (DATABASE,)),
        ("CPU s of all", tuple(costs.cpu_s)),
    ):
        foretold = sum(count * costs.of(step, kinds) for step, count in asked.items())
        foretold += seconds * sum(costs.idle.get(kind, 0.0) for kind in kinds)
        measured = sum(second.cpu.get(kind, 0.0) for second in told.timeline for kind in kinds)
        found.append(Compared(name, foretold, measured))
    used = [sum(each for kind, each in second.cpu.items() if kind not in (CROWD, OTHERS)) for second in told.timeline]
    sale = Sale(arrivals.shoppers, real.scenario.sale.units, arrivals.within_s)
    found.append(Compared("cores in the busiest time", sum(busiest_cores(costs, sale).values()), busiest(used)))
    return found

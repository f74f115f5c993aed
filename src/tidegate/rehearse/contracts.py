"""What a rehearsal is told and what it found out, as plain data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.rehearse.faults import Fault, Happening, Played
from tidegate.rehearse.measures import Cost, HeldUp, Inside, StepSecond

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1_000_000)]
MOST_S = 7 * 86_400


class Curve(StrEnum):
    """How people come.

    STEP: evenly all the time. RAMP: more and more. SPIKE: half of them at the opening. TRACE: as recorded traffic did,
    stretched to the time and scaled to the number of people.
    """

    STEP = "step"
    RAMP = "ramp"
    SPIKE = "spike"
    TRACE = "trace"


class Kind(StrEnum):
    """How somebody behaves.

    BUYER waits and buys. HOLDER takes the goods first, fills in the form, and pays. BROWSER looks at pages and buys
    nothing. PANICKER reloads the drop's page all the time, and buys. TWO_TABS waits in two tabs and buys once. QUITTER
    gives up while waiting. RETURNER leaves the room and comes back to the end of the line. BOT asks as fast as it is
    answered, tries to buy without a pass and then as everybody does.
    """

    BUYER = "buyer"
    BROWSER = "browser"
    PANICKER = "panicker"
    TWO_TABS = "two_tabs"
    QUITTER = "quitter"
    BOT = "bot"
    HOLDER = "holder"
    RETURNER = "returner"


class Step(StrEnum):
    """What one request is for."""

    PAGE = "page"
    STATUS = "status"
    JOIN = "join"
    PLACE = "place"
    PURCHASE = "purchase"
    HOLD = "hold"
    PAY = "pay"
    ORDER = "order"
    LEAVE = "leave"
    SIGN_IN = "sign_in"


class End(StrEnum):
    """How a shopper's visit ended. FAILED: something answered that should not have been."""

    BOUGHT = "bought"
    SOLD_OUT = "sold out"
    LOOKED = "only looked"
    QUIT = "gave up"
    IMPATIENT = "waited too long"
    FAILED = "failed"
    INSIDE = "still inside"


class SignIn(StrEnum):
    """How somebody signs in who comes without a session: by a one-time link, or with a password."""

    LINK = "link"
    PASSWORD = "password"  # noqa: S105 - a way to sign in, no secret


class Sale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sold. `room`: `draw`, `arrival` or `none`. It opens `opens_after_s` seconds after the first arrival.

    `let_in_per_min`: how many its room lets in a minute at most; without it as many as the shop can take.
    """

    units: Annotated[int, Meta(ge=1, le=1_000_000)]
    opens_after_s: Positive
    room: str = "draw"
    per_buyer: Annotated[int, Meta(ge=1, le=100)] = 1
    let_in_per_min: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class Arrivals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many people come, within how many seconds, along which curve. Only their proportions count in a trace."""

    shoppers: Annotated[int, Meta(ge=1, le=2_000_000)]
    within_s: Positive
    curve: Curve = Curve.STEP
    trace: str = ""
    """A trace that is shipped, or a CSV file beside the scenario: two columns, a moment, and how many came then."""

    counts: tuple[Count, ...] = ()
    """How many came in each of equal pieces of time; read from `trace`."""


class Habits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds: thinking between two steps (least, most), and how long anybody waits for their turn."""

    think_s: tuple[Positive, Positive] = (0.5, 3.0)
    patience_s: Positive = 900.0
    pages: Annotated[int, Meta(ge=1, le=1_000)] = 4
    """Pages that a browser looks at."""

    sign_in_links: Share = 0.0
    """Share of the shoppers who come without a session and sign in by a one-time link."""

    sign_in_passwords: Share = 0.0
    """The same with a password: each costs the shop the hashing of one."""


class Objectives(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold. A missing one is not asked for. Latencies are milliseconds at the 99th percentile."""

    sold_share: Share | None = None
    failed_share: Share | None = None
    impatient_share: Share | None = None
    """Of the shoppers, who waited too long and went."""

    lost_requests: Annotated[int, Meta(ge=0)] | None = None
    """Requests whose connection ended without an answer."""

    page_p99_ms: Positive | None = None
    status_p99_ms: Positive | None = None
    join_p99_ms: Positive | None = None
    place_p99_ms: Positive | None = None
    purchase_p99_ms: Positive | None = None
    hold_p99_ms: Positive | None = None
    pay_p99_ms: Positive | None = None
    sign_in_p99_ms: Positive | None = None
    memory_growth_mb: Positive | None = None
    """How much a kind of process may grow from the second sixth of the time to the last one (medians), in MiB."""

    books: bool = True


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole rehearsal. `lasts_s` is the longest time from the first arrival to the end; `mix` are weights.

    `processes` are of the shop that is started for it: `{site = 1, checkout = 2}`; without them, as many as usual.
    In `says`, `{shoppers}`, `{units}` and `{within_s}` stand for the numbers that are played.
    """

    title: str
    says: str
    lasts_s: Annotated[float, Meta(gt=0, le=MOST_S)]
    sale: Sale
    arrivals: Arrivals
    mix: dict[Kind, Weight]
    habits: Habits = msgspec.field(default_factory=Habits)
    objectives: Objectives = msgspec.field(default_factory=Objectives)
    faults: tuple[Happening, ...] = ()
    """What is broken on purpose, and when."""

    processes: dict[str, Annotated[int, Meta(ge=0, le=64)]] = msgspec.field(default_factory=dict)


class Second(msgspec.Struct, frozen=True):
    """One second of a rehearsal, `at` seconds after its begin. Counts are of this second, the others as it ended.

    `inside` are shoppers in the shop, `sockets` open connections, `in_flight` requests without an answer yet.
    """

    at: float
    arrived: int
    answered: int
    bought: int
    failed: int
    inside: int
    waiting: int
    sockets: int
    in_flight: int
    p50_ms: float | None
    p99_ms: float | None
    purchase_p99_ms: float | None
    left: int | None
    cpu: dict[str, float] = msgspec.field(default_factory=dict)
    """Cores that each kind of process used."""

    memory_mb: dict[str, float] = msgspec.field(default_factory=dict)
    steps: dict[str, StepSecond] = msgspec.field(default_factory=dict)
    let_in: int = 0
    """Shoppers whose turn it was."""

    problems: dict[str, int] = msgspec.field(default_factory=dict)
    """Refusals and failures by their kind."""

    refused: int = 0
    """Requests that were refused for load; `answered` counts them too, `steps` and latencies do not."""

    late_ms: float = 0.0
    """How late the crowd itself was on average."""

    work_us: float = 0.0
    """CPU time of always the same little piece of work: how slow the machine was. 0 where it was not measured."""


class Latency(msgspec.Struct, frozen=True):
    """How long one kind of request took that was served, in milliseconds, from the moment it was due."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    most_ms: float


class Verdict(msgspec.Struct, frozen=True):
    """An objective: what it asks, what was found, and whether that is enough."""

    asks: str
    found: str
    holds: bool


class Told(msgspec.Struct, frozen=True):
    """What the crowd itself can tell of its visit."""

    began_at: float
    seconds: float
    shoppers: int
    requests: int
    ends: dict[str, int]
    funnel: dict[str, int]
    latencies: dict[str, Latency]
    problems: dict[str, int]
    timeline: tuple[Second, ...]
    orders: tuple[str, ...]
    most_inside: int
    most_sockets: int
    most_in_flight: int
    late_p99_ms: float
    """How late the crowd itself was with what was due: more than some milliseconds, and it is too slow."""

    cpu_us_per_request: float
    bytes_per_shopper: int
    """Memory that the crowd's process grew by, sessions included, for each of the most who were inside at once."""

    late_most_ms: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """A rehearsal from its scenario to its verdicts."""

    name: str
    scenario: Scenario
    seed: int
    target: str
    told: Told
    sold: int | None
    books: tuple[str, ...] | None
    """Rules of the books that are broken; None where they could not be checked."""

    lost: int | None
    """Orders that buyers were told of and that are not in the database."""

    verdicts: tuple[Verdict, ...]
    advice: tuple[str, ...]
    version: str
    processes: dict[str, int] = msgspec.field(default_factory=dict)
    """How many of each kind of process the shop had."""

    cores: int = 0
    """Of the machine; 0 where the shop is not on it."""

    inside: tuple[Inside, ...] = ()
    costs: tuple[Cost, ...] = ()
    held_up: tuple[HeldUp, ...] = ()
    faults: tuple[Played, ...] = ()
    """What was broken on purpose, in its order."""

    @property
    def passed(self) -> bool:
        """Whether every objective holds."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def was_broken(self) -> bool:
        """Whether something was broken on purpose: what was used meanwhile is no usual cost."""
        return any(each.fault is not Fault.SEND for each in self.faults)

"""What others may know of stock and holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import force_setattr

from tidegate.platform.ids import (
    ANYONE,
    NO_DROP,
    NO_VOUCHER,
    DropId,
    HoldId,
    OrderId,
    PersonId,
    PlaceId,
    VariantId,
    VoucherId,
)
from tidegate.platform.money import Money
from tidegate.platform.problems import Problem


class HoldState(StrEnum):
    """Where a hold stands; `rules.TRANSITIONS` says where it may go."""

    HELD = "held"
    ORDERED = "ordered"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    EXPIRED = "expired"


class HoldLine(Struct, frozen=True):
    """`quantity` items of one variant at `unit` each."""

    variant_id: VariantId
    quantity: int
    unit: Money


@dataclass(frozen=True, slots=True)
class DropRule:
    """What a drop demands of a hold: not before `opens_at`, at most `per_buyer` items a buyer."""

    drop_id: DropId
    opens_at: datetime
    per_buyer: int


@dataclass(frozen=True, slots=True)
class VoucherRule:
    """What a voucher demands: at most `total` redemptions by everyone together, at most `per_buyer` by one buyer.

    Not before `starts_at`, and before `ends_at`; None for no such bound.
    """

    voucher_id: VoucherId
    total: int
    per_buyer: int
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class PassRule(Struct, frozen=True):
    """What a room's pass demands: before `ends_at`, and once for its place."""

    place_id: PlaceId
    ends_at: datetime


LimitKey = tuple[UUID, PersonId]
"""Whose use of which rule is counted: (a drop's or voucher's id, a buyer or ANYONE)."""


class Take(Struct, frozen=True):
    """`quantity` of `quota` that a hold takes under a limit. `live`: the limit also allows one live hold at a time."""

    key: LimitKey
    quantity: int
    quota: int
    live: bool


class HoldRequest(Struct, frozen=True):
    """A wish to hold all of `lines` or none. Lines of one variant are already summed.

    With an `order_id` the hold is an order's from its first moment. `discount` is what its voucher takes off the lines,
    in minor units of their currency. `admission` is the pass that it spends. `takes` is what it takes of limits, as
    `takes_of` says.
    """

    id: HoldId
    buyer_id: PersonId
    lines: tuple[HoldLine, ...]
    drop: DropRule | None = None
    voucher: VoucherRule | None = None
    order_id: OrderId | None = None
    discount: int = 0
    admission: PassRule | None = None
    takes: tuple[Take, ...] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "takes", takes_of(self))

    @property
    def quantity(self) -> int:
        """Items in all lines."""
        return sum([line.quantity for line in self.lines])


def takes_of(request: HoldRequest) -> tuple[Take, ...]:
    """What a request takes of limits: of its drop's first, then of its voucher's."""
    takes: tuple[Take, ...] = ()
    if request.drop is not None:
        takes = (Take((request.drop.drop_id, request.buyer_id), request.quantity, request.drop.per_buyer, True),)
    if request.voucher is not None:
        rule = request.voucher
        takes += (
            Take((rule.voucher_id, ANYONE), 1, rule.total, False),
            Take((rule.voucher_id, request.buyer_id), 1, rule.per_buyer, False),
        )
    return takes


class Granted(Struct, frozen=True):
    """The stock is taken, from `at` until `expires_at`."""

    hold_id: HoldId
    expires_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class SoldOut:
    """There are fewer than wanted of this variant; `left` says how many."""

    hold_id: HoldId
    variant_id: VariantId
    left: int


@dataclass(frozen=True, slots=True)
class NotYetOpen:
    """The drop opens at `opens_at`; the database's clock says that this is still ahead."""

    hold_id: HoldId
    opens_at: datetime


@dataclass(frozen=True, slots=True)
class PassOver:
    """The pass ended at `ended_at`; the database's clock says so."""

    hold_id: HoldId
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class PassUsed:
    """Another hold has spent this pass."""

    hold_id: HoldId


@dataclass(frozen=True, slots=True)
class OverLimit:
    """The buyer would have more than `quota` under the drop's rule; `used` are taken already.

    `live_hold_id` is set when the buyer has a live hold in this drop.
    """

    hold_id: HoldId
    quota: int
    used: int
    live_hold_id: HoldId | None


@dataclass(frozen=True, slots=True)
class VoucherSpent:
    """The voucher has no redemption left: for this buyer if `own`, else for anybody."""

    hold_id: HoldId
    own: bool


@dataclass(frozen=True, slots=True)
class VoucherNotNow:
    """The voucher cannot be used yet (`starts_at`) or any more (`ended_at`); the database's clock says so."""

    hold_id: HoldId
    starts_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TooManyHolds:
    """The buyer has `limit` live holds outside drops already."""

    hold_id: HoldId
    limit: int


Decision = (
    Granted | SoldOut | NotYetOpen | PassOver | PassUsed | OverLimit | VoucherSpent | VoucherNotNow | TooManyHolds
)


class Hold(Struct, frozen=True):
    """A hold as it stands. `drop_id` and `voucher_id` are all zeros for none; times are the database's.

    `discount` is what its voucher takes off the lines, in minor units of their currency.
    """

    id: HoldId
    buyer_id: PersonId
    drop_id: DropId
    state: HoldState
    order_id: OrderId | None
    expires_at: datetime
    seconds_left: int
    lines: tuple[HoldLine, ...]
    voucher_id: VoucherId = NO_VOUCHER
    discount: int = 0

    @property
    def quantity(self) -> int:
        """Items in all lines."""
        return sum(line.quantity for line in self.lines)

    @property
    def taken(self) -> tuple[tuple[LimitKey, int, bool], ...]:
        """What it has taken of limits: key, quantity, and whether it is the buyer's live hold there."""
        taken: tuple[tuple[LimitKey, int, bool], ...] = ()
        if self.drop_id != NO_DROP:
            taken = (((self.drop_id, self.buyer_id), self.quantity, True),)
        if self.voucher_id != NO_VOUCHER:
            taken += (((self.voucher_id, ANYONE), 1, False), ((self.voucher_id, self.buyer_id), 1, False))
        return taken

    @property
    def live(self) -> bool:
        """Whether the hold still keeps stock from others."""
        return self.state in (HoldState.HELD, HoldState.ORDERED)


@dataclass(frozen=True, slots=True)
class StockLevel:
    """Items of one variant."""

    variant_id: VariantId
    on_hand: int
    held: int
    sold: int

    @property
    def available(self) -> int:
        """What may still be held."""
        return self.on_hand - self.held - self.sold


class MoveCause(StrEnum):
    """What changed how many items there are."""

    CORRECTION = "correction"
    """Staff counted, or got or lost some."""
    IMPORT = "import"
    DROP = "drop"
    """A drop was made, changed or opened again with its quantity."""
    COMMAND = "command"
    """`tidegate stock set`."""
    SET = "set"


@dataclass(frozen=True, slots=True)
class MoveReason:
    """Why stock was changed: `note` is what staff wrote, or the drop's address; `by` is None for a program."""

    cause: MoveCause = MoveCause.SET
    note: str = ""
    by: PersonId | None = None


@dataclass(frozen=True, slots=True)
class StockMovement:
    """One change of how many items of a variant there are. `id` grows with time."""

    id: int
    variant_id: VariantId
    moved_at: datetime
    cause: MoveCause
    person_id: PersonId | None
    note: str
    on_hand_before: int
    on_hand_after: int

    @property
    def change(self) -> int:
        """Items more, or fewer (negative)."""
        return self.on_hand_after - self.on_hand_before


class StockTaken(Problem):
    """There cannot be fewer items than are held and sold."""

    slug = "stock-taken"
    status = 409


class StockChanged(Problem):
    """Somebody else changed this stock in the meantime: nothing was saved. Look at it again, then repeat yours."""

    slug = "stock-changed"
    status = 409


class BuyerUse(Struct, frozen=True):
    """What a buyer has used of a rule's quota, and their live hold under it."""

    used: int
    live_hold_id: HoldId | None


def summed(lines: Sequence[HoldLine]) -> tuple[HoldLine, ...]:
    """One line a variant: quantities of the same variant added up, in order of first appearance."""
    by_variant: dict[VariantId, HoldLine] = {}
    for line in lines:
        known = by_variant.get(line.variant_id)
        quantity = line.quantity + (known.quantity if known else 0)
        by_variant[line.variant_id] = HoldLine(line.variant_id, quantity, line.unit)
    return tuple(by_variant.values())

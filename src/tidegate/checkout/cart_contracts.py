"""What others may know of carts: their lines as they stand, and why one refuses something."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from tidegate.platform.ids import VariantId
from tidegate.platform.money import Money
from tidegate.platform.problems import Problem


class KeptLine(Struct, frozen=True):
    """A line of a cart as it is stored; `seen` is the price that was shown when it was last changed."""

    variant_id: VariantId
    quantity: int
    seen: Money


class CartLineState(StrEnum):
    """Whether a line of a cart can be ordered, and if not, why."""

    READY = "ready"
    SHORT = "short"
    SOLD_OUT = "sold_out"
    IN_DROP = "in_drop"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class CartLine:
    """A line of a cart at today's price. `before` is the price that was shown before, where it has changed.

    `left`: items that are free now; nothing keeps them until the checkout holds them.
    """

    variant_id: VariantId
    sku: str
    title: str
    product_slug: str
    quantity: int
    unit: Money
    before: Money | None
    left: int
    state: CartLineState

    @property
    def total(self) -> Money:
        """Price of the line."""
        return self.unit * self.quantity


@dataclass(frozen=True, slots=True)
class CartView:
    """A cart as it stands. `goods` are all lines that are still sold, `discount` is what `code` takes off them now.

    `code_problem` says why a code that is kept takes nothing off, in a problem's words.
    """

    lines: tuple[CartLine, ...]
    goods: Money
    code: str
    discount: Money
    code_problem: str

    @property
    def items(self) -> int:
        """How many items are in it."""
        return sum(line.quantity for line in self.lines)

    @property
    def total(self) -> Money:
        """What it costs, before shipping and taxes."""
        return Money(self.goods.amount - self.discount.amount, self.goods.currency)

    @property
    def ready(self) -> bool:
        """Whether a checkout of it would be granted now."""
        return bool(self.lines) and all(line.state is CartLineState.READY for line in self.lines)


class CartProblem(Problem):
    """A cart does not take this; it is as it was."""

    slug = "cart-refuses"
    status = 422


class CartEmpty(Problem):
    """There is nothing in this cart to order."""

    slug = "cart-empty"
    status = 409


class CartShort(Problem):
    """Some of this cart cannot be had as it stands; nothing was held and the cart was kept."""

    slug = "cart-short"
    status = 409

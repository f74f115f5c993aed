"""What others may know of buying: orders as they stand, and why a wish was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from msgspec import Struct

from tidegate.payments.contracts import RecordedRefund
from tidegate.platform.ids import HoldId, OrderId, PersonId
from tidegate.platform.money import Money, total
from tidegate.platform.problems import InvalidRequest, Problem


class OrderState(StrEnum):
    """Where an order stands; `rules.TRANSITIONS` says where it may go."""

    AWAITING_PAYMENT = "awaiting_payment"
    PAYMENT_FAILED = "payment_failed"
    PAID = "paid"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class Line(Struct, frozen=True):
    """A wish for `quantity` items of a SKU."""

    sku: str
    quantity: int


class Address(Struct, frozen=True):
    """Where to send it, or a bill. `country` is ISO 3166-1 alpha-2; `region` is a state or province, `phone` a number.

    The last two may be empty.
    """

    name: str
    line1: str
    city: str
    postal_code: str
    country: str
    region: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True)
class OrderForm:
    """What a buyer fills in. `method` is "hosted" or a token of the provider."""

    hold_id: HoldId
    email: str
    address: Address
    provider: str
    method: str
    shipping_method: str | None = None
    """Code of a way to send it; None: the cheapest that fits."""
    billing: Address | None = None
    """Whom the bill is for; None: as `address`."""


class BoughtLine(Struct, frozen=True):
    """A line as it was when it was held."""

    sku: str
    title: str
    quantity: int
    unit: Money
    product_slug: str = ""
    tax_class: str = "standard"

    @property
    def total(self) -> Money:
        """Price of the line."""
        return self.unit * self.quantity


class OfferedMethod(Struct, frozen=True):
    """A way to send goods to where they go, and what it costs."""

    code: str
    name: str
    amount: Money


class ShippingChosen(Struct, frozen=True):
    """How an order is sent, as it was when it was ordered."""

    code: str
    name: str
    amount: Money


class TaxLine(Struct, frozen=True):
    """A tax of an order: `rate_bp` (basis points) of `base`, goods and delivery together; sums in minor units."""

    name: str
    rate_bp: int
    base: int
    amount: int

    @property
    def percent(self) -> str:
        """The rate as people write it, such as 5.5."""
        return f"{self.rate_bp / 100:g}"

    def money(self, currency: str) -> Money:
        """The tax as a sum."""
        return Money(self.amount, currency)


class Charges(Struct, frozen=True):
    """What comes to an order's goods. `tax_included`: the taxes are within the prices, and add nothing."""

    shipping: ShippingChosen | None
    taxes: tuple[TaxLine, ...]
    tax_included: bool

    @property
    def shipping_amount(self) -> int:
        """Minor units."""
        return self.shipping.amount.amount if self.shipping else 0

    @property
    def tax_amount(self) -> int:
        """All taxes together, in minor units, also those within the prices."""
        return sum(each.amount for each in self.taxes)

    @property
    def added(self) -> int:
        """What is to be paid more than the goods, in minor units."""
        return self.shipping_amount + (0 if self.tax_included else self.tax_amount)


NO_CHARGES = Charges(None, (), True)
"""Nothing comes to the goods."""


class HoldView(Struct, frozen=True):
    """A buyer's hold. `seconds_left` by the database's clock; 0 once it has ended.

    `total` is what is to be paid: the lines' prices less `discount`.
    """

    id: HoldId
    buyer_id: PersonId
    state: str
    expires_at: datetime
    seconds_left: int
    total: Money
    discount: Money
    lines: tuple[BoughtLine, ...]
    drop: str | None
    order_id: OrderId | None

    @property
    def goods(self) -> Money:
        """What its lines cost, before anything is taken off."""
        return total((line.total for line in self.lines), self.total.currency)


@dataclass(frozen=True, slots=True)
class NextAction:
    """What the buyer must do: `kind` is "redirect" to `url`."""

    kind: str
    url: str


class OrderView(Struct, frozen=True, dict=True):
    """An order as its buyer sees it. `failure` says why the last payment did not go through.

    `total` is what is to be paid: the lines' prices less `discount`, and what `charges` add. Not `recorded`: what the
    provider said of its payment could not be written down in time, and the answer of the request's key is to come.
    """

    id: OrderId
    number: str
    buyer_id: PersonId
    hold_id: HoldId
    state: OrderState
    total: Money
    discount: Money
    next_action: NextAction | None
    lines: tuple[BoughtLine, ...]
    email: str
    address: Address
    failure: str | None
    processing: bool
    pay_until: datetime
    seconds_left: int
    created_at: datetime
    charges: Charges = NO_CHARGES
    billing: Address | None = None
    recorded: bool = True

    @property
    def goods(self) -> Money:
        """What its lines cost, before anything is taken off or comes to it."""
        return total((line.total for line in self.lines), self.total.currency)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a hold would cost when it went to a country: the ways to send it, and what comes to the goods.

    `by_place`: the sum depends on the country. `reachable`: the shop sends there.
    """

    methods: tuple[OfferedMethod, ...]
    charges: Charges
    total: Money
    by_place: bool
    reachable: bool


@dataclass(frozen=True, slots=True)
class OrderSummary:
    """A row of the staff's list; no personal data."""

    id: OrderId
    number: str
    state: OrderState
    total: Money
    items: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something to an order. `role` is "buyer", "staff", "admin" or "shop" (by itself, without an id)."""

    id: PersonId | None
    role: str


@dataclass(frozen=True, slots=True)
class LinePart:
    """Some items of an order's line; lines count from 1."""

    line_no: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Shipment:
    """A parcel. `undone_at`: it was marked as sent by mistake."""

    id: UUID
    carrier: str
    tracking_number: str
    tracking_url: str
    sent_at: datetime
    undone_at: datetime | None
    parts: tuple[LinePart, ...]


@dataclass(frozen=True, slots=True)
class Happened:
    """A line of an order's history; `detail` holds no personal data."""

    what: str
    actor_id: UUID | None
    actor_role: str
    detail: Mapping[str, Any]
    at: datetime

    @property
    def money(self) -> Money | None:
        """The sum that it was about."""
        return Money(self.detail["amount"], self.detail["currency"]) if "amount" in self.detail else None


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What became of an order after it was placed. `rest` is what may still be given back, `parts_left` to be sent."""

    paid_at: datetime | None
    cancelled_at: datetime | None
    shipments: tuple[Shipment, ...]
    refunds: tuple[RecordedRefund, ...]
    history: tuple[Happened, ...]
    rest: Money
    parts_left: tuple[LinePart, ...]
    refunded_parts: tuple[LinePart, ...]

    @property
    def sent_any(self) -> bool:
        """Whether a parcel is on its way."""
        return any(each.undone_at is None for each in self.shipments)


class AddressBookFull(Problem):
    """This address book is full: remove an address first."""

    slug = "address-book-full"
    status = 409


class NotCancellable(Problem):
    """This order cannot be cancelled any more."""

    slug = "not-cancellable"
    status = 409


class NotRefundable(Problem):
    """No more than what was paid and not given back yet can be given back."""

    slug = "not-refundable"
    status = 409


class NotSendable(Problem):
    """This cannot be marked as sent."""

    slug = "not-sendable"
    status = 409


class SoldOut(Problem):
    """It is gone: there are not enough left."""

    slug = "sold-out"
    status = 409


class DropNeedsAccount(Problem):
    """This drop sells so many to each person, so it is for people with an account: sign in, then buy."""

    slug = "drop-needs-account"
    status = 403


class NotOpen(Problem):
    """This drop is not open yet."""

    slug = "not-open"
    status = 409


class LimitReached(Problem):
    """You have as many as one person may have."""

    slug = "limit-reached"
    status = 409


class HoldsOpen(LimitReached):
    """You have holds open already: order them or give them up first."""

    slug = "holds-open"


class CodeUnknown(Problem):
    """This shop has no such code."""

    slug = "code-unknown"
    status = 422


class CodeNotValid(Problem):
    """This code cannot be used now, or not for these goods."""

    slug = "code-not-valid"
    status = 409


class CodeUsedUp(Problem):
    """This code has been used as often as it may be."""

    slug = "code-used-up"
    status = 409


class NotShippedThere(Problem):
    """This shop does not send to that country."""

    slug = "not-shipped-there"
    status = 422


class ShippingUnknown(Problem):
    """There is no such way to send this there."""

    slug = "shipping-unknown"
    status = 422


class UnknownSku(Problem):
    """The shop does not sell this."""

    slug = "unknown-sku"
    status = 422


class NoLines(InvalidRequest):
    """The list of lines is empty."""

    slug = "no-lines"


class TooManyLines(InvalidRequest):
    """There are more lines than this shop takes at once."""

    slug = "too-many-lines"


class QuantityNotWhole(InvalidRequest):
    """A quantity is not a whole number."""

    slug = "quantity-not-whole"


class QuantityOutOfRange(InvalidRequest):
    """A quantity is less than 1, or more than this shop takes in one line."""

    slug = "quantity-out-of-range"


class MixedDrops(InvalidRequest):
    """These lines belong to different sales."""

    slug = "mixed-drops"


class NotInDrop(InvalidRequest):
    """The drop that was named does not sell these lines."""

    slug = "not-in-drop"


class CurrencyMismatch(InvalidRequest):
    """This shop sells in another currency than the request names."""

    slug = "currency-mismatch"


class HoldExpired(Problem):
    """The time of this hold is over and the items went back; nothing was charged."""

    slug = "hold-expired"
    status = 410


class AlreadyOrdered(Problem):
    """What this hold keeps has been ordered already."""

    slug = "already-ordered"
    status = 409


class NotPayable(Problem):
    """This order cannot be paid any more; nothing was charged."""

    slug = "not-payable"
    status = 409

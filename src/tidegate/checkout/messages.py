"""Requests of the buying routes, as msgspec decodes them: types are strict, unknown fields are ignored."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from tidegate.checkout.contracts import (
    Address,
    Line,
    NoLines,
    OrderForm,
    OrderState,
    QuantityNotWhole,
    QuantityOutOfRange,
    TooManyLines,
)
from tidegate.checkout.purchasing import PurchaseWish
from tidegate.platform.idempotency import RequestKey
from tidegate.platform.ids import HoldId, PersonId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound

Text = Annotated[str, msgspec.Meta(max_length=200)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Method = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Email = Annotated[str, msgspec.Meta(max_length=254, extra_json_schema={"format": "email"})]
Country = Annotated[str, msgspec.Meta(max_length=200, extra_json_schema={"pattern": "^[A-Z]{2}$"})]
Phone = Annotated[str, msgspec.Meta(max_length=40)]
Id = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Currency = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^[A-Z]{3}$"})]
State = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [state.value for state in OrderState]})]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Named = (
    Annotated[str, msgspec.Meta(max_length=200, extra_json_schema={"pattern": "^[A-Z]{3}$"})] | msgspec.UnsetType | None
)
"""A currency that a request may name, so that a buyer who reckons in another one is not charged in the shop's."""

OF_ANOTHER_TYPE = re.compile(r"Expected `\w+`, got ")
IN_LINES = re.compile(r"lines\[\d*\]\.quantity")


def kind_of(field: str, words: str) -> type[InvalidRequest]:
    """What kind of problem it is that a field of these bodies is wrong."""
    if IN_LINES.fullmatch(field) and not words.endswith("missing."):
        return QuantityNotWhole if OF_ANOTHER_TYPE.match(words) else QuantityOutOfRange
    if field == "lines" and "length" in words:
        return NoLines if ">=" in words else TooManyLines
    return InvalidRequest


class LineBody(msgspec.Struct, frozen=True):
    """One line of a hold."""

    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    quantity: Quantity


class HoldBody(msgspec.Struct, frozen=True):
    """What to hold. `drop` names the drop that sells it, `code` a voucher, in any case.

    `currency` must be the shop's.
    """

    lines: Annotated[list[LineBody], msgspec.Meta(min_length=1, max_length=1000)]
    drop: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    code: Code | None = None
    currency: Named = msgspec.UNSET

    def wishes(self) -> tuple[Line, ...]:
        """The lines as the use case takes them."""
        return tuple(Line(line.sku, line.quantity) for line in self.lines)


class AddressBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where to send it; `country` is ISO 3166-1 alpha-2.

    `region` is the state or province, which addresses in some countries must have; `phone` is a number to call.
    """

    name: Text
    line1: Text
    city: Text
    postal_code: Text
    country: Country
    region: Text = ""
    phone: Phone = ""

    def address(self) -> Address:
        """The address as use cases take it."""
        return Address(self.name, self.line1, self.city, self.postal_code, self.country, self.region, self.phone)


def _billing(body: AddressBody | msgspec.UnsetType | None) -> Address | None:
    return body.address() if isinstance(body, AddressBody) else None


class PaymentBody(msgspec.Struct, frozen=True):
    """How to pay: a provider, and a token of it or `hosted` for its own page."""

    provider: Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "hosted"  # noqa: S105 - a way to pay, no secret


class OrderBody(msgspec.Struct, frozen=True):
    """An order for what a hold keeps. `shipping_method`: a code of the shop's; without, the cheapest that fits.

    `billing_address`: whom the bill is for; without, as the delivery. `currency` must be the shop's.
    """

    hold_id: Annotated[str, msgspec.Meta(max_length=64, extra_json_schema={"format": "uuid"})]
    email: Email
    shipping_address: AddressBody
    payment: PaymentBody
    shipping_method: Method | None = None
    billing_address: AddressBody | msgspec.UnsetType | None = msgspec.UNSET
    currency: Named = msgspec.UNSET

    def form(self) -> OrderForm:
        """The form as the use case takes it. Raises: NotFound for a hold that cannot exist."""
        hold_id = parse_id(self.hold_id)
        if hold_id is None:
            raise NotFound("there is no such hold")
        return OrderForm(
            hold_id=HoldId(hold_id),
            email=self.email,
            address=self.shipping_address.address(),
            billing=_billing(self.billing_address),
            provider=self.payment.provider,
            method=self.payment.token,
            shipping_method=self.shipping_method,
        )


class PurchaseBody(msgspec.Struct, frozen=True):
    """Hold, order and payment in one. `drop` names the drop that sells it, `code` a voucher, in any case.

    `shipping_method`: a code of the shop's; without, the cheapest that fits. `billing_address`: whom the bill is for;
    without, as the delivery. `currency` must be the shop's.
    """

    lines: Annotated[list[LineBody], msgspec.Meta(min_length=1, max_length=1000)]
    email: Email
    shipping_address: AddressBody
    payment: PaymentBody
    drop: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    code: Code | None = None
    shipping_method: Method | None = None
    billing_address: AddressBody | msgspec.UnsetType | None = msgspec.UNSET
    currency: Named = msgspec.UNSET

    def wish(self, *, buyer_id: PersonId, admission: str | None, key: RequestKey, guest: bool) -> PurchaseWish:
        """The wish as the use case takes it."""
        return PurchaseWish(
            buyer_id=buyer_id,
            lines=tuple(Line(line.sku, line.quantity) for line in self.lines),
            email=self.email,
            address=self.shipping_address.address(),
            billing=_billing(self.billing_address),
            provider=self.payment.provider,
            method=self.payment.token,
            drop=self.drop,
            admission=admission,
            key=key,
            code=self.code,
            shipping_method=self.shipping_method,
            guest=guest,
        )


class MoneyAnswer(msgspec.Struct, frozen=True):
    """`amount` in minor units of `currency`."""

    amount: int
    currency: Currency


class LineAnswer(msgspec.Struct, frozen=True):
    """A line with the price that counts."""

    sku: str
    title: str
    quantity: int
    unit_price: MoneyAnswer


class HoldAnswer(msgspec.Struct, frozen=True):
    """A hold; `total` is what is to be paid: the lines' prices less `discount` (null: none)."""

    id: Id
    expires_at: Moment
    total: MoneyAnswer
    discount: MoneyAnswer | None
    lines: list[LineAnswer]


class ShippingAnswer(msgspec.Struct, frozen=True):
    """How it is sent, as it was when it was ordered."""

    method: str
    name: str
    amount: MoneyAnswer


class TaxLineAnswer(msgspec.Struct, frozen=True):
    """A tax: `rate_bp` (basis points, 1900 is 19 %) of `base`, goods and delivery together."""

    name: str
    rate_bp: int
    base: MoneyAnswer
    amount: MoneyAnswer


class TaxAnswer(msgspec.Struct, frozen=True):
    """Taxes. `included`: they are within the prices and add nothing to the total."""

    included: bool
    amount: MoneyAnswer
    lines: list[TaxLineAnswer]


class ActionAnswer(msgspec.Struct, frozen=True):
    """What the buyer must do next: `redirect` to `url`."""

    type: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["redirect"]})]
    url: Annotated[str, msgspec.Meta(extra_json_schema={"format": "uri"})]


class OrderAnswer(msgspec.Struct, frozen=True):
    """An order. `failure` is the provider's code for the last payment; `hold_id` is what to order again after it.

    `total` is what is to be paid: the lines' prices less `discount` (null: none), with `shipping` (null: the shop has
    no ways to send) and with `tax` where that is not included.
    """

    id: Id
    number: str
    hold_id: Id
    state: State
    total: MoneyAnswer
    discount: MoneyAnswer | None
    shipping: ShippingAnswer | None
    tax: TaxAnswer | None
    next_action: ActionAnswer | None
    failure: str | None
    pay_until: Moment
    lines: list[LineAnswer]

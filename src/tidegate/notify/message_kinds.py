"""Every message that is sent, what its texts may use, and examples of it.

A message's variables must fit its context: what is missing or of another type is told by name before anything is sent.
Contexts come in two: what the inbox shows, and the mail's, which adds what only a mail may say.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec

from tidegate.notify.contracts import MessageUnfit
from tidegate.platform.money import Money
from tidegate.platform.texts import Text
from tidegate.platform.texts import text as _

MANY: Final = msgspec.Meta(max_length=500)
"""Longest list: texts may go through two of them, one inside the other."""


@dataclass(frozen=True, slots=True)
class About:
    """What a variable is, for whoever writes texts."""

    words: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Money; texts show it by `money(...)`."""

    amount: Annotated[int, About(_("in the currency's smallest unit"))]
    currency: Annotated[str, About(_("the currency's code"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What was ordered of one item."""

    quantity: Annotated[int, About(_("how many"))]
    title: Annotated[str, About(_("the product's name"))]
    sku: Annotated[str, About(_("the item's number"))]
    amount: Annotated[int, About(_("its price, in the currency of `total`"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingCost:
    """How it is sent."""

    name: Annotated[str, About(_("the way of sending"))]
    amount: Annotated[Amount, About(_("what that costs"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLine:
    """One rate of tax."""

    name: Annotated[str, About(_("the tax's name"))]
    rate_bp: Annotated[int, About(_("hundredths of a percent"))]
    amount: Annotated[Amount, About(_("how much"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """The taxes of an order."""

    included: Annotated[bool, About(_("whether the prices hold it already"))]
    lines: Annotated[list[TaxLine], MANY, About(_("one for each rate"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A postal address."""

    name: Annotated[str, About(_("whose it is"))]
    line1: Annotated[str, About(_("street and number"))]
    postal_code: Annotated[str, About(_("the postal code"))]
    city: Annotated[str, About(_("the town"))]
    country: Annotated[str, About(_("the country's code; `country(...)` names it"))]
    region: Annotated[str | None, About(_("the region, if there is one"))] = None
    phone: Annotated[str | None, About(_("the phone number, if there is one"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNote:
    """What each message about an order may say in the inbox."""

    number: Annotated[str, About(_("the order's number"))]
    total: Annotated[Amount, About(_("what it costs in all"))]
    lines: Annotated[list[Line], MANY, About(_("what was ordered"))]
    order_url: Annotated[str, About(_("the order's page"))]
    discount: Annotated[Amount | None, About(_("what a code takes off, if there is one"))] = None
    shipping: Annotated[ShippingCost | None, About(_("how it is sent, if the shop has ways to send"))] = None
    tax: Annotated[Tax | None, About(_("the taxes, if there are any"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMail(OrderNote):
    """The same by mail."""

    name: Annotated[str, About(_("whom the mail is to; may be empty"))] = ""
    address: Annotated[Place | None, About(_("where it is sent"))] = None
    billing: Annotated[Place | None, About(_("whom the bill is for, if that is another address"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNote(OrderNote):
    """A part of the money goes back."""

    refund: Annotated[Amount, About(_("what goes back"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundMail(OrderMail):
    """The same by mail."""

    refund: Annotated[Amount, About(_("what goes back"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundedNote(OrderNote):
    """All the money goes back."""

    refund: Annotated[Amount | None, About(_("what goes back, if the shop gave it"))] = None
    cause: Annotated[str | None, About(_("`given-back` where the shop gave it; else the payment came too late"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundedMail(OrderMail):
    """The same by mail."""

    refund: Annotated[Amount | None, About(_("what goes back, if the shop gave it"))] = None
    cause: Annotated[str | None, About(_("`given-back` where the shop gave it; else the payment came too late"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """A parcel."""

    carrier: Annotated[str, About(_("who brings it"))]
    tracking_number: Annotated[str | None, About(_("the parcel's number, if there is one"))] = None
    tracking_url: Annotated[str | None, About(_("where the parcel can be followed, if anywhere"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentNote(OrderNote):
    """A parcel is on its way."""

    shipment: Annotated[Shipment, About(_("the parcel"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMail(OrderMail):
    """The same by mail."""

    shipment: Annotated[Shipment, About(_("the parcel"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowNote:
    """Something that followers are told. It names nobody: all of them share its words."""

    title: Annotated[str, About(_("what it is about"))]
    url: Annotated[str, About(_("its page"))]
    topic_title: Annotated[str, About(_("what they follow"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowMail(FollowNote):
    """The same by mail."""

    unsubscribe_url: Annotated[str, About(_("ends these messages; each recipient's own"))]
    preferences_url: Annotated[str | None, About(_("where each recipient chooses what they are told"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostNote(FollowNote):
    """What staff wrote to followers."""

    body: Annotated[str, About(_("what was written; `body | lines` are its lines"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMail(FollowMail):
    """The same by mail."""

    body: Annotated[str, About(_("what was written; `body | lines` are its lines"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointNote:
    """A webhook endpoint was disabled; whoever made it is told."""

    title: Annotated[str, About(_("the endpoint's address"))]
    url: Annotated[str, About(_("its page"))]
    why: Annotated[str | None, About(_("`gone` where it answered that it wants no more; else it failed for days"))] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointMail(EndpointNote):
    """The same by mail."""

    name: Annotated[str, About(_("whom the mail is to; may be empty"))] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNote:
    """Words of an application, to those who wait for them or to a topic's followers."""

    title: Annotated[str, About(_("what it is about"))]
    body: Annotated[str, About(_("what was written; `body | lines` are its lines"))]
    url: Annotated[str | None, About(_("where it leads, if anywhere"))] = None
    topic_title: Annotated[str | None, About(_("what they follow, if it is to followers"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMail(OwnNote):
    """The same by mail."""

    unsubscribe_url: Annotated[str | None, About(_("ends these messages, if it is to followers"))] = None
    preferences_url: Annotated[str | None, About(_("where each recipient chooses what they are told"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMail:
    """A link to somebody's account. It is a secret between us and the address."""

    link: Annotated[str, About(_("the link, which works once"))]
    minutes: Annotated[int, About(_("how many minutes it works"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmMail:
    """The link that confirms a follow."""

    link: Annotated[str, About(_("the link"))]
    kind: Annotated[str, About(_("what is followed: `drop`, `product`, `collection` or `shop`"))]
    title: Annotated[str, About(_("its name"))]
    hours: Annotated[int, About(_("how many hours the link works"))]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message. `inbox` is None where it is only mailed; `must` are variables that each mail shows
    that has them.

    `secret`: whoever reads such a mail gets into somebody's account, so only administrators write its texts.
    """

    name: str
    title: Text
    inbox: type[Any] | None
    mail: type[Any]
    example: Any
    must: tuple[str, ...] = ()
    secret: bool = False

    @property
    def examples(self) -> tuple[Any, ...]:
        """Messages of this kind: one with everything that it may have, and one with as little as possible."""
        needed = (field for field in fields(self.mail) if field.default is MISSING)
        return self.example, self.mail(**{field.name: getattr(self.example, field.name) for field in needed})

    @property
    def parts(self) -> tuple[str, ...]:
        """What there is a text of, by the names of their files."""
        return ("subject", "txt", "html") if self.inbox is None else ("subject", "txt", "html", "inbox")


_GBP: Final = "GBP"
_ORDER: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "number": "T-4211",
        "total": Amount(amount=10_490, currency=_GBP),
        "lines": [
            Line(quantity=1, title="Harbour Lamp, brass", sku="LAMP-BRASS", amount=8_500),
            Line(quantity=2, title="Tea towel <linen> & cotton", sku="TOWEL-02", amount=1_990),
        ],
        "order_url": "https://shop.example/orders/019b0000-0000-7000-8000-000000000000",
        "discount": Amount(amount=500, currency=_GBP),
        "shipping": ShippingCost(name="Parcel", amount=Amount(amount=500, currency=_GBP)),
        "tax": Tax(
            included=True, lines=[TaxLine(name="VAT", rate_bp=2_000, amount=Amount(amount=1_748, currency=_GBP))]
        ),
        "name": "Ada Lovelace",
        "address": Place(
            name="Ada Lovelace",
            line1="12 St James's Square",
            postal_code="SW1Y 4JH",
            city="London",
            region="Greater London",
            country="GB",
            phone="+44 20 7946 0123",
        ),
        "billing": Place(
            name="Lovelace & Co", line1="1 Quay Street", postal_code="BS1 4DJ", city="Bristol", country="GB"
        ),
    }
)
_FOLLOW: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "title": "Midnight Lamps",
        "topic_title": "Lights",
        "url": "https://shop.example/drops/midnight-lamps",
        "unsubscribe_url": "https://shop.example/unsubscribe?token=EXAMPLE",
        "preferences_url": "https://shop.example/preferences?token=EXAMPLE",
    }
)
_POST: Final = "Twelve new lamps on Friday.\nThe doors open at noon."
_REFUND: Final = Amount(amount=2_490, currency=_GBP)
_SHIPMENT: Final = Shipment(
    carrier="Royal Mail", tracking_number="RM 0000 1234 5GB", tracking_url="https://carrier.example/RM000012345GB"
)
_LINK: Final = "https://shop.example/login/link?token=EXAMPLE"


def _account(name: str, title: Text) -> Kind:
    return Kind(name, title, None, AccountMail, AccountMail(link=_LINK, minutes=30), must=("link",), secret=True)


def _follow(name: str, title: Text) -> Kind:
    return Kind(name, title, FollowNote, FollowMail, FollowMail(**_FOLLOW), must=("unsubscribe_url",))


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("order_paid", _("An order is paid"), OrderNote, OrderMail, OrderMail(**_ORDER)),
            Kind("order_sent", _("A parcel is on its way"), SentNote, SentMail, SentMail(**_ORDER, shipment=_SHIPMENT)),
            Kind(
                "order_partly_refunded",
                _("A part of the money goes back"),
                RefundNote,
                RefundMail,
                RefundMail(**_ORDER, refund=_REFUND),
            ),
            Kind(
                "order_refunded",
                _("All the money goes back"),
                RefundedNote,
                RefundedMail,
                RefundedMail(**_ORDER, refund=_REFUND, cause="given-back"),
            ),
            _follow("drop_open", _("A drop opens")),
            _follow("product_back", _("A product is back")),
            Kind(
                "post",
                _("A post to followers"),
                PostNote,
                PostMail,
                PostMail(**_FOLLOW, body=_POST),
                must=("unsubscribe_url",),
            ),
            Kind(
                "message",
                _("Words of an application"),
                OwnNote,
                OwnMail,
                OwnMail(**_FOLLOW, body=_POST),
                must=("unsubscribe_url",),
            ),
            Kind(
                "follow_confirm",
                _("Confirming a follow"),
                None,
                ConfirmMail,
                ConfirmMail(link=_LINK, kind="drop", title="Midnight Lamps", hours=72),
                must=("link",),
                secret=True,
            ),
            Kind(
                "webhook_disabled",
                _("A webhook endpoint is disabled"),
                EndpointNote,
                EndpointMail,
                EndpointMail(title="https://warehouse.example/hooks", url="https://shop.example/admin", why="gone"),
            ),
            _account("account_register", _("Confirming an address")),
            _account("account_login", _("Signing in by a link")),
            _account("account_reset", _("Choosing a new password")),
            _account("account_invite", _("Inviting staff")),
        )
    }
)
"""All kinds of messages by the `template` of their deliveries."""


def fit(template: str, variables: Mapping[str, Any], *, mail: bool) -> Any:
    """The context of a mail or an inbox message. Raises: MessageUnfit, which repeats no value.

    What a context does not know is left out: a newer writer may say more.
    """
    kind = KINDS.get(template)
    if kind is None:
        raise MessageUnfit(f"there is no message called {template!r:.60}")
    context = kind.mail if mail else kind.inbox
    if context is None:
        raise MessageUnfit(f"{template} is not for inboxes")
    try:
        return msgspec.convert(variables, context)
    except msgspec.ValidationError as error:
        raise MessageUnfit(f"{template}: {error}") from None


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that texts may use: its path, what it is, and an example."""

    path: str
    words: str
    example: str


def variables_of(kind: Kind, *, locale: str) -> tuple[Variable, ...]:
    """What the mail's texts may use, in the order of its declaration; of a list, its first item."""
    return tuple(_variables(kind.mail, kind.example, "", locale))


def _variables(context: Any, example: Any, path: str, locale: str) -> Iterator[Variable]:
    for name, (inner, words) in declared(context).items():
        value = getattr(example, name, None)
        own = f"{path}{name}"
        if inner is Amount:
            yield Variable(f"money({own})", words, Money(value.amount, value.currency).format(locale) if value else "")
            continue
        is_list = typing.get_origin(inner) is list
        nested = typing.get_args(inner)[0] if is_list else inner
        is_leaf = not hasattr(nested, "__dataclass_fields__")
        yield Variable(own, words, str(value) if is_leaf and value is not None else "")
        if not is_leaf:
            first = (value[0] if value else None) if is_list else value
            yield from _variables(nested, first, f"{own}[0]." if is_list else f"{own}.", locale)


@lru_cache(maxsize=64)
def declared(context: Any) -> Mapping[str, tuple[Any, Text]]:
    """The fields of a context: the type of each without None, and what it is."""
    hints = typing.get_type_hints(context, include_extras=True)
    found: dict[str, tuple[Any, Text]] = {}
    for field in fields(context):
        plain, *notes = typing.get_args(hints[field.name])
        found[field.name] = (_without_none(plain), next(each.words for each in notes if isinstance(each, About)))
    return found


def _without_none(plain: Any) -> Any:
    if typing.get_origin(plain) in (types.UnionType, typing.Union):
        return next(each for each in typing.get_args(plain) if each is not type(None))
    return plain

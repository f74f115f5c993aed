"""Contexts of the shopper's templates: what each page shows, decided before the template is reached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from markupsafe import Markup

from tidegate.catalog.contracts import CollectionRef, Shelf, Sort
from tidegate.checkout import Aftermath, HoldView, OrderView, Quote, SavedAddress
from tidegate.platform.texts import text as _
from tidegate.storefront.facts import Seen
from tidegate.storefront.offers import DropOffer, Offer
from tidegate.storefront.options import OptionChoice


def whole_minutes(seconds: int) -> int:
    """Whole minutes, at least one."""
    return max(1, round(seconds / 60))


@dataclass(frozen=True, slots=True)
class Keeping:
    """Something that the visitor holds right now, shown on every page so that they find back to it."""

    address: str
    """Path of the checkout or of the unpaid order."""
    items: int
    minutes_left: int


SORTS = (
    (Sort.POPULAR, _("Popular")),
    (Sort.NEWEST, _("Newest")),
    (Sort.PRICE, _("Lowest price")),
    (Sort.PRICE_DOWN, _("Highest price")),
)
"""Orders of a listing; a search has relevance in place of the first."""
AS_ARRANGED = (Sort.ARRANGED, _("Our choice"))
BY_RELEVANCE = (Sort.RELEVANCE, _("Best match"))


@dataclass(frozen=True, slots=True)
class ListingContext:
    """Context of `storefront/home.html`, `storefront/collection.html` and `storefront/search.html`."""

    title: str
    """Name of the collection; empty on the first page."""
    address: str
    """Path of the listing, without its query."""
    query: str
    corrected: str
    """The words that were looked for in place of mistyped ones; empty when none were."""
    sort: str
    sorts: tuple[tuple[str, str], ...]
    """Orders to choose from: value and name."""
    seen: Seen
    """How it looks from outside; the first page and searches only have an address there."""
    shelf: Shelf | None
    """The collection that is shown, if one is."""
    offers: tuple[Offer, ...]
    next: str | None
    """Address of the page after this one."""
    first: bool
    """Whether this is the listing's first page."""
    collections: tuple[CollectionRef, ...]
    drop: DropOffer | None
    """The drop that leads the first page."""
    left: Markup
    """How many items of it are left."""
    keeping: Keeping | Markup | None
    """What the visitor holds; as markup where the page is kept and the strip comes later."""


@dataclass(frozen=True, slots=True)
class ProductContext:
    """Context of `storefront/product.html`."""

    offer: Offer
    sku: str
    """The variant that is chosen at first; empty when none can be bought."""
    most: int
    """Largest quantity to choose, 0 when nothing can be bought."""
    hold_minutes: int
    keeping: Keeping | Markup | None
    """What the visitor holds; as markup where the page is kept and the strip comes later."""
    choice: OptionChoice | None
    """Where the variant is chosen by its options."""
    quantity: str
    """The quantity that is chosen at first."""
    seen: Seen
    facts: tuple[dict[str, object], ...]
    """What it says for machines (schema.org): the product with its offers, and the way to it."""


@dataclass(frozen=True, slots=True)
class DropContext:
    """Context of `storefront/drop.html`."""

    drop: DropOffer
    left: Markup
    """How many items of it are left."""
    sku: str
    most: int
    hold_minutes: int
    seen: Seen
    reload_in_s: str | None
    """When a browser without JavaScript should look again; None when that would be far away or of no use."""
    for_accounts_only: bool
    """Whether only those who have signed in may have a place in its waiting room."""
    to_strangers: Markup
    """Attribute of what only those see who have not signed in, and the other way round."""
    to_accounts: Markup
    to_buyers: Markup
    """Attribute of what those see who have signed in, and those of whom nobody can tell."""


@dataclass(frozen=True, slots=True)
class WayToPay:
    """A provider that one may pay through, and what its page is called."""

    provider: str
    title: str
    hint: str


WAYS = {
    "stripe": WayToPay("stripe", _("Card, wallet or bank"), _("On the page of Stripe.")),
    "sandbox": WayToPay("sandbox", _("Test payment"), _("On the page of the sandbox: no money moves.")),
}


@dataclass(frozen=True, slots=True)
class CheckoutOwn:
    """What a checkout's page says of one hold alone, as it is shown: its id, and until when it lives."""

    hold: str
    expires: str


@dataclass(frozen=True, slots=True)
class CheckoutContext:
    """Context of `storefront/checkout.html`. `minutes`: how long the hold lives on, about."""

    hold: HoldView
    own: CheckoutOwn
    minutes: int
    pictures: dict[str, str]
    """Address of the picture by the product's slug."""
    countries: tuple[tuple[str, str], ...]
    """Code and name."""
    typed: dict[str, str]
    """What was typed, by field, to be kept beside the errors."""
    errors: dict[str, str]
    ways: tuple[WayToPay, ...]
    way: str
    """The provider that was chosen, empty for none yet."""
    quote: Quote
    """What it costs with what was chosen so far."""
    country_name: str
    """Of the country that the quote is for."""
    changed: bool
    """Whether the total is another than the one that was shown when the order was sent."""
    addresses: tuple[SavedAddress, ...] = ()
    """The buyer's address book."""
    has_account: bool = False
    """Whether there is an account to keep the address for."""
    phone_required: bool = False
    """Whether an order needs a phone number."""


@dataclass(frozen=True, slots=True)
class OrderContext:
    """Context of `storefront/order.html`."""

    order: OrderView
    pay_address: str
    """Where the payment goes on, empty when there is nothing to do."""
    ways: tuple[WayToPay, ...]
    look_again: str
    """Address to look at again while the payment is open, empty when that has gone on for long enough."""
    look_again_in_s: int
    after: Aftermath
    may_cancel: bool


class DeadEnd(StrEnum):
    """Why something cannot be had."""

    SOLD_OUT = "sold_out"
    FEWER_LEFT = "fewer_left"
    NOT_OPEN = "not_open"
    LIMIT_REACHED = "limit_reached"
    TOO_MANY_HOLDS = "too_many_holds"
    CODE_UNKNOWN = "code_unknown"
    CODE_NOT_VALID = "code_not_valid"
    CODE_USED_UP = "code_used_up"
    TOO_MANY_CODES = "too_many_codes"
    NOT_YOUR_TURN = "not_your_turn"
    TURN_USED = "turn_used"
    HOLD_OVER = "hold_over"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class DeadEndContext:
    """Context of `storefront/dead_end.html`: something cannot be had, and where to go on."""

    kind: DeadEnd
    title: str
    """What it was about."""
    way: str
    """Path of its product or drop."""
    in_drop: bool
    left: int = 0
    """Items that are left, of FEWER_LEFT."""
    message: str = ""
    """The problem's own words, of TOO_MANY_CODES."""
    may_return: bool = False
    """Whether somebody holds items that they have not paid yet, of SOLD_OUT."""

"""What others may see of the catalogue: frozen data and typed errors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tidegate.platform.ids import DropId, ProductId, VariantId, VoucherId
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest, NotFound, Overloaded, Problem


class Status(StrEnum):
    """Whether a product is for sale (active), being prepared (draft) or put away (archived)."""

    ACTIVE = "active"
    DRAFT = "draft"
    ARCHIVED = "archived"


class Room(StrEnum):
    """Who may buy when a drop opens: by a draw among those waiting, by order of arrival, or everyone at once."""

    DRAW = "draw"
    ARRIVAL = "arrival"
    NONE = "none"


class Sort(StrEnum):
    """The order of a listing: how well the words fit, popularity, lowest price first or last, the newest first, or as
    the merchant arranged a collection (what has no place there follows by popularity).
    """

    RELEVANCE = "relevance"
    POPULAR = "popular"
    PRICE = "price"
    PRICE_DOWN = "price-down"
    NEWEST = "newest"
    ARRANGED = "arranged"


@dataclass(frozen=True, slots=True)
class CollectionRef:
    """A collection's address and name."""

    slug: str
    title: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing that can be bought. `options` are (name, value) pairs in the merchant's order."""

    id: VariantId
    sku: str
    options: tuple[tuple[str, str], ...]
    price: Money
    compare_at: Money | None


@dataclass(frozen=True, slots=True)
class Picture:
    """An uploaded picture: its largest file has `width` x `height` pixels, `widths` are all that there are, ascending.

    `alt` says what it shows to who does not see it; empty: it is decorative.
    """

    digest: str
    width: int
    height: int
    widths: tuple[int, ...]
    alt: str

    def file(self, width: int) -> str:
        """The name of its file of a width, as it is stored."""
        return f"{self.digest[:2]}/{self.digest}-{width}.webp"

    def address(self, at_least: int) -> str:
        """Path of the smallest file that is as wide as this, else of the widest."""
        width = next((each for each in self.widths if each >= at_least), self.width)
        return f"/pictures/{self.digest}-{width}.webp"

    @property
    def srcset(self) -> str:
        """All its files, as the attribute of that name lists them."""
        return ", ".join(f"/pictures/{self.digest}-{width}.webp {width}w" for width in self.widths)


@dataclass(frozen=True, slots=True)
class SeoTexts:
    """What search engines show in place of a title and a description; empty for those themselves."""

    title: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Product:
    """A product with the variants that have a price in the asked currency, in the merchant's order.

    `description` is plain text: a blank line between paragraphs, list items on lines that start with a bullet.
    """

    id: ProductId
    slug: str
    title: str
    description: str
    vendor: str
    kind: str
    collections: tuple[CollectionRef, ...]
    variants: tuple[Variant, ...]
    pictures: tuple[Picture, ...] = ()
    """In the merchant's order, the main one first."""
    seo: SeoTexts = SeoTexts()


@dataclass(frozen=True, slots=True)
class Shelf:
    """A collection with what its page shows. `arranged`: the merchant gave some of its products a place."""

    slug: str
    title: str
    description: str
    seo: SeoTexts
    picture: Picture | None
    arranged: bool


@dataclass(frozen=True, slots=True)
class ProductPage:
    """Products in the asked order; `next` is the cursor of the following page, None at the end.

    `corrected`: the words that were looked for in place of those that nothing has; empty when none were replaced.
    """

    items: tuple[Product, ...]
    next: str | None
    corrected: str = ""


@dataclass(frozen=True, slots=True)
class DropItem:
    """How many items of a variant a drop offers in all."""

    variant_id: VariantId
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Drop:
    """A sale that opens at a moment: `per_buyer` items each, also to `guests`, live while `closed_at` is None."""

    id: DropId
    slug: str
    title: str
    opens_at: datetime
    closed_at: datetime | None
    per_buyer: int
    room: Room
    items: tuple[DropItem, ...]
    guests: bool = False


@dataclass(frozen=True, slots=True)
class DropTerms:
    """What the live drop of a variant asks of its buyers."""

    id: DropId
    slug: str
    opens_at: datetime
    per_buyer: int
    room: Room
    guests: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What buying a variant means now: its price, and its drop if it is sold by one."""

    variant_id: VariantId
    sku: str
    product_slug: str
    title: str
    options_text: str
    price: Money
    drop: DropTerms | None
    tax_class: str = "standard"


@dataclass(frozen=True, slots=True)
class ShippingZone:
    """Countries (ISO 3166-1 alpha-2) that are sent to alike; `rest` stands for all that no other zone names."""

    id: UUID
    name: str
    countries: frozenset[str]
    rest: bool


@dataclass(frozen=True, slots=True)
class ShippingMethod:
    """A way to send goods into a zone. `tiers`: from which value of the goods on it costs what, in minor units.

    The first tier starts at 0; one that costs 0 makes delivery free from its value on.
    """

    id: UUID
    zone_id: UUID
    code: str
    name: str
    currency: str
    tiers: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TaxRate:
    """What a country takes of goods of a class, in basis points (1900: 19 %)."""

    country: str
    tax_class: str
    name: str
    rate_bp: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What the shop adds to goods: delivery and taxes. `prices_include_tax`: taxes are within the prices."""

    zones: tuple[ShippingZone, ...]
    methods: tuple[ShippingMethod, ...]
    taxes: tuple[TaxRate, ...]
    prices_include_tax: bool

    @property
    def empty(self) -> bool:
        """Whether nothing is ever added."""
        return not self.methods and not self.taxes


class RateExists(Problem):
    """There is such a zone, delivery or tax already."""

    slug = "rate-exists"
    status = 409


@dataclass(frozen=True, slots=True)
class VoucherTerms:
    """What a code gives and asks: either `percent_off` (1 to 100) or `amount_off` of a basket's goods.

    `total` redemptions by everyone together, `per_buyer` by one buyer, from `starts_at` until before `ends_at`
    (None: without end); `closed_at` is None while it is live.
    """

    id: VoucherId
    code: str
    percent_off: int | None
    amount_off: Money | None
    total: int
    per_buyer: int
    starts_at: datetime
    ends_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewVariant:
    """A variant to be written. `quantity` (items) counts only where no stock is recorded yet.

    `other_sku` is used where `sku` belongs to another product already: only for SKUs that we made ourselves.
    `line` is where the source says it, 0 if nowhere.
    """

    sku: str
    options: tuple[tuple[str, str], ...]
    price: Money
    compare_at: Money | None = None
    quantity: int = 0
    other_sku: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class NewProduct:
    """A product to be written; `kind` names its collection, `collections` are titles of others that it joins.

    `popularity` None leaves what is there, and so does None of a text for search engines.
    """

    slug: str
    title: str
    description: str
    vendor: str
    kind: str
    tags: tuple[str, ...]
    status: Status
    variants: tuple[NewVariant, ...]
    popularity: int | None = None
    collections: tuple[str, ...] = ()
    line: int = 0
    seo_title: str | None = None
    seo_description: str | None = None


@dataclass(frozen=True, slots=True)
class VariantName:
    """A variant of any product, as staff tell it from others. `options` is empty when there are none."""

    variant_id: VariantId
    sku: str
    title: str
    options: str
    slug: str
    """Of its product."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote. `left_out` are products that the format cannot carry: address and reason, up to a bound."""

    products: int
    variants: int
    skipped: int
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RowError:
    """Why the row that starts on this line of a file was left out."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class PictureLeft:
    """A picture that the row on this line of a file names by its address, of the product at `slug`; not fetched."""

    line: int
    slug: str
    address: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch of products. `levels`: the stock that the source gives to written variants."""

    created: int
    changed: int
    unchanged: int
    variants: int
    levels: dict[VariantId, int]
    refused: tuple[RowError, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. Products: created, changed, unchanged. `variants` are those that the file could give.

    `errors` are in order of lines and stop at a bound; `bad_rows` counts them all. `pictures_left` and `pictures`
    likewise: the pictures that the file names and that nobody fetched.
    """

    created: int
    changed: int
    unchanged: int
    variants: int
    rows: int
    bad_rows: int
    errors: tuple[RowError, ...]
    pictures: int = 0
    pictures_left: tuple[PictureLeft, ...] = ()


class UnusableFile(InvalidRequest):
    """This file is not a product list that can be read."""

    slug = "unusable-file"


class UnusableMapping(InvalidRequest):
    """This file does not say how the columns of a product list are to be read."""

    slug = "unusable-mapping"


class UnknownVariant(InvalidRequest):
    """No variant has this SKU."""

    slug = "unknown-variant"


class UnknownDrop(NotFound):
    """There is no drop of this name."""

    slug = "unknown-drop"


class DropExists(Problem):
    """There is a drop of this name already."""

    slug = "drop-exists"
    status = 409


class DropRuns(Problem):
    """This drop has opened already and cannot be changed any more."""

    slug = "drop-runs"
    status = 409


class VariantInDrop(Problem):
    """Another live drop sells this variant: close that one first."""

    slug = "variant-in-drop"
    status = 409


class UnknownVoucher(NotFound):
    """There is no voucher with this code."""

    slug = "unknown-voucher"


class VoucherExists(Problem):
    """There is a voucher with this code already."""

    slug = "voucher-exists"
    status = 409


class UnknownProduct(NotFound):
    """There is no such product."""

    slug = "unknown-product"


class ProductExists(Problem):
    """There is a product at this address already."""

    slug = "product-exists"
    status = 409


class ProductChanged(Problem):
    """Somebody else changed this product in the meantime: nothing was saved. Look at it again, then repeat yours."""

    slug = "product-changed"
    status = 409


class UnusablePicture(InvalidRequest):
    """This file is no picture that the shop can use. Nothing was changed."""

    slug = "unusable-picture"


class UnknownPicture(NotFound):
    """This picture is not there any more: upload it again."""

    slug = "unknown-picture"


class PicturesBusy(Overloaded):
    """Too many pictures are being worked on right now. Nothing was changed."""

    slug = "pictures-busy"


class UnknownCollection(NotFound):
    """There is no such collection."""

    slug = "unknown-collection"


class CollectionChanged(Problem):
    """Somebody else changed this collection in the meantime: nothing was saved. Look at it again, then repeat yours."""

    slug = "collection-changed"
    status = 409


class CollectionExists(Problem):
    """There is a collection of this name already."""

    slug = "collection-exists"
    status = 409


class ChoiceChanged(Problem):
    """The chosen products changed in the meantime: nothing was saved. Look at the preview again."""

    slug = "choice-changed"
    status = 409

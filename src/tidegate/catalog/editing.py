"""What staff see and change of the catalogue: frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tidegate.catalog.contracts import Picture, SeoTexts, Status
from tidegate.platform.ids import ProductId, VariantId
from tidegate.platform.money import Money


@dataclass(frozen=True, slots=True)
class EditableProduct:
    """A product as staff edit it. `updated_at` says which state of it they saw."""

    id: ProductId
    slug: str
    title: str
    description: str
    vendor: str
    tags: tuple[str, ...]
    status: Status
    updated_at: datetime
    seo: SeoTexts


@dataclass(frozen=True, slots=True)
class NewPrice:
    """The price of a variant, and the one that it is compared with."""

    sku: str
    price: Money
    compare_at: Money | None = None


@dataclass(frozen=True, slots=True)
class BulkChange:
    """What to do to many products.

    Prices of `currency` become `percent` higher (negative: lower), or `amount` minor units higher: one of them.
    `status` None leaves it. Tags are removed after others are added. `add_to`, `remove_from`: slugs of collections.
    """

    product_ids: tuple[ProductId, ...]
    percent: int = 0
    amount: int = 0
    currency: str = ""
    status: Status | None = None
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    add_to: str = ""
    remove_from: str = ""


@dataclass(frozen=True, slots=True)
class BulkEdited:
    """How many products and prices a change touched, and how many products it did not find."""

    products: int
    prices: int
    unknown: int


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """Which products staff mean; an empty field leaves all.

    `query`: each of its words is in the title, a tag or a SKU, in any case. `collection`: a slug, or `-` for products
    in none. `variants`: products with at least one of these.
    """

    query: str = ""
    status: Status | None = None
    collection: str = ""
    variants: tuple[VariantId, ...] | None = None


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A product in the staff's list. `lowest` and `highest` are None without a price; `collections` are titles."""

    id: ProductId
    slug: str
    title: str
    status: Status
    updated_at: datetime
    lowest: Money | None
    highest: Money | None
    variants: tuple[VariantId, ...]
    tags: tuple[str, ...]
    collections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProductRows:
    """A page of the staff's list; `count` products fit the filter in all. `next` is the cursor, None at the end."""

    rows: tuple[ProductRow, ...]
    count: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Products that staff chose, in the state in which they saw them: `seen` is another after any edit of one."""

    product_ids: tuple[ProductId, ...]
    seen: str


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """What a change of many products would do, and some of them before and after it."""

    edited: BulkEdited
    samples: tuple[tuple[ProductRow, ProductRow], ...]


@dataclass(frozen=True, slots=True)
class EditableVariant:
    """A variant as staff edit it; `price` None: it has none in the asked currency."""

    id: VariantId
    sku: str
    options: tuple[tuple[str, str], ...]
    price: Money | None
    compare_at: Money | None


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection with how many products it has, and how many of them are for sale."""

    slug: str
    title: str
    products: int
    active: int


@dataclass(frozen=True, slots=True)
class EditableCollection:
    """A collection as staff edit it. `placed`: its products in the order in which it shows them, up to a bound.

    `seen` is another after any edit of it, or of the order of its products.
    """

    slug: str
    title: str
    description: str
    seo: SeoTexts
    picture: Picture | None
    placed: tuple[PlacedProduct, ...]
    products: int
    seen: str


@dataclass(frozen=True, slots=True)
class PlacedProduct:
    """A product in a collection; `place` counts from 1, None where the merchant gave it none."""

    id: ProductId
    slug: str
    title: str
    status: Status
    place: int | None

"""The catalogue: products, variants, prices, collections, drops, and importing them."""

from tidegate.catalog.contracts import (
    CollectionRef,
    Drop,
    DropExists,
    DropItem,
    DropTerms,
    ImportReport,
    NewProduct,
    NewVariant,
    Product,
    ProductPage,
    Room,
    RowError,
    Status,
    Terms,
    UnknownDrop,
    UnknownVariant,
    UnusableFile,
    Variant,
    VariantInDrop,
    Written,
)
from tidegate.catalog.demo import DemoCatalogue, DemoDrop, demo_catalogue
from tidegate.catalog.drops import close_drop, create_drop, find_drop, list_drops, reopen_drop
from tidegate.catalog.imports import import_products
from tidegate.catalog.products import find_variants, write_products
from tidegate.catalog.rules import MAX_QUANTITY, parse_moment
from tidegate.catalog.snapshot import Snapshot
from tidegate.catalog.views import find_product, list_collections, list_products, purchase_terms, variant_terms

__all__ = [
    "MAX_QUANTITY",
    "CollectionRef",
    "DemoCatalogue",
    "DemoDrop",
    "Drop",
    "DropExists",
    "DropItem",
    "DropTerms",
    "ImportReport",
    "NewProduct",
    "NewVariant",
    "Product",
    "ProductPage",
    "Room",
    "RowError",
    "Snapshot",
    "Status",
    "Terms",
    "UnknownDrop",
    "UnknownVariant",
    "UnusableFile",
    "Variant",
    "VariantInDrop",
    "Written",
    "close_drop",
    "create_drop",
    "demo_catalogue",
    "find_drop",
    "find_product",
    "find_variants",
    "import_products",
    "list_collections",
    "list_drops",
    "list_products",
    "parse_moment",
    "purchase_terms",
    "reopen_drop",
    "variant_terms",
    "write_products",
]

"""Decisions of the catalogue: names, cursors, searches, moments. No I/O, clock or settings."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tidegate.catalog.contracts import NewProduct, NewVariant, RowError, SeoTexts
from tidegate.catalog.editing import BulkChange
from tidegate.platform.money import MAX_AMOUNT
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_SLUG = 200
MAX_SKU = 100
MAX_CODE = 64
MAX_DESCRIPTION = 50_000
"""Longest description that staff may write, in characters."""
MAX_TAGS = 100
"""Most tags of a product that staff edit."""
MAX_OPTIONS = 10
"""Most options of a variant that staff edit."""
MAX_BULK = 10_000
"""Most products of one bulk edit."""
MAX_TEXT = 255
MAX_SEO = 500
"""Characters of a description for search engines; they show about 160."""
"""Longest title, option, vendor or tag, in characters."""
MAX_QUERY = 200
"""Longest search text, in characters."""
MAX_WORDS = 10
"""Most words of a search text."""
MAX_QUANTITY = 999_999_999
"""Most items of one variant."""
MAX_CURSOR = 512
MAX_POPULARITY = 2**63 - 1
FARTHEST = timedelta(days=3660)
"""A drop further away than ten years is a typing error."""

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]*", re.ASCII)
_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_AFTER = re.compile(r"\+(\d{1,9})\s*([smhd])", re.ASCII)
_HEX = frozenset("0123456789abcdef")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def is_slug(text: str) -> bool:
    """Whether the text can be part of an address of this shop."""
    return len(text) <= MAX_SLUG and _SLUG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether the text can name a stored picture."""
    return len(text) == 64 and set(text) <= _HEX


def slugify(text: str) -> str:
    """The text as part of an address: `Café & Crème` becomes `cafe-creme`; empty when nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", ""))[:MAX_SLUG].strip("-")


def clean_text(text: str) -> str:
    """One line: white space is one space, and what cannot be seen (controls, changes of direction) is gone."""
    return " ".join(_UNSEEN.sub(" ", text).split())


def clean_code(text: str) -> str:
    """A voucher's code as it is kept: people may type it in any case, with blanks around it."""
    return text.strip().upper()


def is_code(text: str) -> bool:
    """Whether a cleaned text can be a voucher's code."""
    return len(text) <= MAX_CODE and _CODE.fullmatch(text) is not None


def short_hash(*parts: str) -> str:
    """Eight hexadecimal digits that stand for the parts."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:8]


def product_slug(handle: str) -> str:
    """The address of a product with this handle; never empty, the same for the same handle."""
    return slugify(handle) or f"product-{short_hash(handle)}"


def storable(text: str) -> bool:
    """Whether PostgreSQL can store or compare the text: no NUL, no lone surrogates."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def made_skus(handle: str, values: Sequence[str]) -> tuple[str, str]:
    """A SKU from a handle and option values, and another to use where the first is taken.

    Both depend on nothing else, so that the same row gets the same SKU in every import.
    """
    parts = [slugify(part) or short_hash(part) for part in (handle, *values)]
    base = "_".join(parts).upper()
    mark = short_hash(handle, *values).upper()
    other = f"{base[: MAX_SKU - 9].rstrip('-_')}-{mark}"
    return (base if len(base) <= MAX_SKU else other), other


def options_text(options: Iterable[tuple[str, str]]) -> str:
    """Options as people read them: `Colour: Red, Size: M`; empty when there are none."""
    return ", ".join(f"{name}: {value}" for name, value in options)


def check_query(query: str) -> None:
    """Raises: InvalidRequest when the text is longer than MAX_QUERY characters."""
    if len(query) > MAX_QUERY:
        raise InvalidRequest(_("The search text may have up to %(most)s characters.", most=MAX_QUERY))


def search_patterns(query: str) -> list[str]:
    """LIKE patterns, one per word, all of which must match; none means that everything matches.

    Raises: InvalidRequest when the text is longer than MAX_QUERY characters.
    """
    check_query(query)
    words = clean_text(query).split()[:MAX_WORDS]
    return ["%" + re.sub(r"([\\%_])", r"\\\1", word) + "%" for word in words]


def encode_cursor(key: int, slug: str) -> str:
    """The opaque place of a product in a listing: the number that sorts it, and its address."""
    return base64.urlsafe_b64encode(json.dumps([key, slug]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, str]:
    """The place that `encode_cursor` wrote. Raises: InvalidRequest for anything else."""
    wrong = InvalidRequest(_("`after` is not a cursor of this listing: take it from `next` of the page before."))
    if len(cursor) > MAX_CURSOR or not cursor.isascii():
        raise wrong
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise wrong from None
    match found:
        case [int(key), str(slug)] if -MAX_POPULARITY <= key <= MAX_POPULARITY and is_slug(slug):
            return key, slug
    raise wrong


def parse_moment(text: str, *, now: datetime) -> datetime:
    """A moment in UTC: `now`, `+90s`, `+2m`, `+1h`, `+3d`, or ISO 8601; without an offset it is UTC.

    Raises: InvalidRequest when it is none of these, or more than ten years from `now`.
    """
    asked = text.strip()
    if asked.lower() == "now":
        return now
    after = _AFTER.fullmatch(asked.lower())
    try:
        if after is not None:
            moment = now + timedelta(seconds=int(after[1]) * _UNITS_S[after[2]])
        else:
            moment = datetime.fromisoformat(asked)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if abs(moment - now) > FARTHEST:
            raise OverflowError
    except ValueError:
        raise InvalidRequest(
            _(
                "%(asked)s is not a moment: write `now`, `+90s`, `+2m`, `+1h` or 2026-11-27T12:00+01:00"
                " (without an offset it is UTC)",
                asked=repr(asked[:40]),
            )
        ) from None
    except OverflowError:
        raise InvalidRequest(_("%(asked)s is more than ten years away.", asked=repr(asked[:40]))) from None
    return moment


def source_hash(product: NewProduct) -> bytes:
    """SHA-256 of everything that an import writes about a product; stock is not among it."""
    content: list[object] = [
        product.slug,
        product.title,
        product.description,
        product.vendor,
        product.kind,
        list(product.tags),
        product.status.value,
        product.popularity,
        [
            [v.sku, v.options, v.price.amount, v.price.currency, v.compare_at.amount if v.compare_at else None]
            for v in product.variants
        ],
    ]
    if product.collections:
        content.append(list(product.collections))
    if product.seo_title is not None or product.seo_description is not None:
        content.append(["seo", product.seo_title, product.seo_description])
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).digest()


def candidate_skus(products: Iterable[NewProduct]) -> list[str]:
    """All SKUs that the products may come to use."""
    variants = [variant for product in products for variant in product.variants]
    return [v.sku for v in variants] + [v.other_sku for v in variants if v.other_sku is not None]


def settle_skus(products: Sequence[NewProduct], owners: Mapping[str, str]) -> tuple[list[NewProduct], list[RowError]]:
    """Give each SKU to one product: `owners` (SKU to slug) come first, then the order of the products.

    A variant whose SKU belongs to another product is refused; one with a made SKU takes its other one.
    Products that are left without variants are left out. `owners` is not changed.
    """
    taken = dict(owners)
    kept: list[NewProduct] = []
    refused: list[RowError] = []
    for product in products:
        used: set[str] = set()
        variants: list[NewVariant] = []
        for variant in product.variants:
            choices = [sku for sku in (variant.sku, variant.other_sku) if sku is not None]
            sku = next((s for s in choices if s not in used and taken.get(s, product.slug) == product.slug), None)
            if sku is None:
                whose = "this product" if variant.sku in used else f"the product {taken[variant.sku]}"
                refused.append(RowError(variant.line, f"SKU {variant.sku} is used by {whose} already"))
                continue
            used.add(sku)
            taken[sku] = product.slug
            variants.append(replace(variant, sku=sku))
        if variants:
            kept.append(replace(product, variants=tuple(variants)))
    return kept, refused


def check_product_text(*, title: str, vendor: str, description: str, tags: Sequence[str]) -> None:
    """Refuse what a product cannot say. Raises: InvalidRequest."""
    if not 1 <= len(title.strip()) <= MAX_TEXT:
        raise InvalidRequest(_("A title has 1 to %(most)s characters.", most=MAX_TEXT))
    if len(vendor) > MAX_TEXT or len(description) > MAX_DESCRIPTION:
        raise InvalidRequest(
            _(
                "A vendor has at most %(most)s characters, a description %(most_description)s.",
                most=MAX_TEXT,
                most_description=f"{MAX_DESCRIPTION:,}",
            )
        )
    check_tags(tags)
    if not all(storable(text) for text in (title, vendor, description)):
        raise InvalidRequest(_("The text has characters that cannot be kept."))


def check_address(slug: str) -> None:
    """Refuse what cannot be part of an address. Raises: InvalidRequest."""
    if not is_slug(slug):
        raise InvalidRequest(_("Write an address of lower-case letters, digits and hyphens, such as red-lamp."))


def check_seo(seo: SeoTexts) -> SeoTexts:
    """The texts for search engines, each on one line. Raises: InvalidRequest."""
    title, description = clean_text(seo.title), clean_text(seo.description)
    if len(title) > MAX_TEXT or len(description) > MAX_SEO:
        words = _("For search engines, a title has at most 255 characters and a description 500.")
        raise InvalidRequest(words)
    if not (storable(title) and storable(description)):
        raise InvalidRequest(_("The text has characters that cannot be kept."))
    return SeoTexts(title, description)


def check_tags(tags: Sequence[str]) -> None:
    """Refuse what cannot be a product's tags. Raises: InvalidRequest."""
    if len(tags) > MAX_TAGS or not all(tag.strip() and len(tag) <= MAX_TEXT and storable(tag) for tag in tags):
        raise InvalidRequest(
            _("A product has at most %(most)s tags of 1 to %(longest)s characters.", most=MAX_TAGS, longest=MAX_TEXT)
        )


def check_bulk_change(change: BulkChange) -> None:
    """Refuse a change that says nothing, too much, or two things at once. Raises: InvalidRequest."""
    if not 1 <= len(change.product_ids) <= MAX_BULK:
        raise InvalidRequest(_("Choose 1 to %(most)s products.", most=f"{MAX_BULK:,}"))
    if change.percent and change.amount:
        raise InvalidRequest(_("Change prices by a percentage or by an amount, not by both."))
    if not -99 <= change.percent <= 1_000 or abs(change.amount) > MAX_AMOUNT:
        raise InvalidRequest(_("Prices change by -99 to 1,000 percent, or by an amount that a price can have."))
    if (change.percent or change.amount) and not change.currency:
        raise InvalidRequest(_("Say in which currency prices change."))
    check_tags(change.add_tags)
    check_tags(change.remove_tags)
    if any(slug and not is_slug(slug) for slug in (change.add_to, change.remove_from)):
        raise InvalidRequest(_("There is no such collection. No product was changed."))


def check_variant_text(*, sku: str, options: Sequence[tuple[str, str]]) -> None:
    """Refuse what cannot be a variant's SKU or options. Raises: InvalidRequest."""
    if not 1 <= len(sku) <= MAX_SKU or clean_text(sku) != sku:
        raise InvalidRequest(_("A SKU has 1 to %(most)s characters, on one line.", most=MAX_SKU))
    if len(options) > MAX_OPTIONS or len({name for name, _ in options}) < len(options):
        raise InvalidRequest(
            _("A variant has at most %(most)s options, each with a name of its own.", most=MAX_OPTIONS)
        )
    if not all(1 <= len(text) <= MAX_TEXT and clean_text(text) == text for pair in options for text in pair):
        raise InvalidRequest(_("Options and their values have 1 to %(most)s characters, on one line.", most=MAX_TEXT))

"""The form of a product: what it shows, what was typed into it, and saving that.

Fields of a variant carry its id in their names, `price-ID`, so that what was typed stays with its variant whatever
happens to the others meanwhile; those of a variant that is to be added end in `-new`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from babel.numbers import get_currency_precision

from tidegate import catalog, inventory
from tidegate.catalog import EditableProduct, EditableVariant, NewPrice, NewProduct, NewVariant, SeoTexts, Status
from tidegate.inventory import MoveReason
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId
from tidegate.platform.money import Money, MoneyError, parse_amount
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _
from tidegate.web import PostedForm

NEW = "new"
TEXTS = ("title", "slug", "description", "vendor", "tags", "status", "seo-title", "seo-description", "seen")
MAX_TITLE = 255
MAX_OPTIONS = 10
MAX_SEO_DESCRIPTION = 500

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What was typed about one variant, once it is read."""

    sku: str
    options: Options
    price: Money | None
    compare_at: Money | None


@dataclass(frozen=True, slots=True)
class ProductForm:
    """`typed` by field name, `option_names` are the columns of options, `collections` the ticked ones.

    `rows` by the variant's id, `added` and `new` are there once `errors` is empty.
    """

    typed: dict[str, str]
    option_names: tuple[str, ...]
    collections: frozenset[str]
    errors: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    added: NewVariant | None = None
    new: NewProduct | None = None

    def with_error(self, name: str, message: str) -> ProductForm:
        """The same, with something wrong."""
        return replace(self, errors=self.errors | {name: message})

    def of(self, product: EditableProduct, variants: Sequence[EditableVariant], *, theirs: bool) -> ProductForm:
        """The same with what variants say that were not in it; `theirs`: to be saved over what the product is now."""
        names = _columns(variants)
        known = _fields(variants, self.option_names if len(self.option_names) >= len(names) else names)
        seen = {"seen": product.updated_at.isoformat()} if theirs else {}
        return replace(self, typed=known | self.typed | seen)


def empty_form() -> ProductForm:
    """The form of a product that is not there yet."""
    return ProductForm(dict.fromkeys(TEXTS, "") | {"status": "draft"} | _blank(1), ("",), frozenset())


def filled_form(
    product: EditableProduct, variants: Sequence[EditableVariant], collections: Sequence[str]
) -> ProductForm:
    """The form of a product as it is."""
    names = _columns(variants)
    texts = {
        "title": product.title,
        "slug": product.slug,
        "description": product.description,
        "vendor": product.vendor,
        "tags": ", ".join(product.tags),
        "status": product.status.value,
        "seo-title": product.seo.title,
        "seo-description": product.seo.description,
        "seen": product.updated_at.isoformat(),
    }
    return ProductForm(texts | _fields(variants, names), names, frozenset(collections))


def typed_form(posted: PostedForm, variants: Sequence[EditableVariant]) -> ProductForm:
    """The form as it was sent."""
    count = max(len(_columns(variants)), 1)
    sent = {name: value.strip().replace("\r\n", "\n") for name, value in posted.fields if name != "collection"}
    names = tuple(" ".join(sent.get(f"name-{place}", "").split()) for place in range(count))
    blank = dict.fromkeys(TEXTS, "") | _blank(count)
    return ProductForm(blank | sent, names, frozenset(posted.all("collection")))


def parse_new(form: ProductForm, *, currency: str) -> ProductForm:
    """The form with the product that it describes, or with what is wrong in it."""
    errors = _wrong_texts(form)
    slug = form.typed["slug"] or catalog.slugify(form.typed["title"])
    if form.typed["title"] and not slug:
        errors["slug"] = _("Write an address of lower-case letters, digits and hyphens, such as red-lamp.")
    row = _row(form, NEW, None, currency, errors)
    quantity = _quantity(form, errors)
    if errors or row is None or row.price is None:
        return replace(form, errors=errors)
    variant = NewVariant(row.sku, row.options, row.price, row.compare_at, quantity)
    new = NewProduct(
        slug=slug,
        title=form.typed["title"],
        description=form.typed["description"],
        vendor=form.typed["vendor"],
        kind="",
        tags=split_tags(form.typed["tags"]),
        status=Status(form.typed["status"]),
        variants=(variant,),
    )
    return replace(form, new=new)


def parse_form(form: ProductForm, variants: Sequence[EditableVariant], *, currency: str) -> ProductForm:
    """The form with what it says of each variant, or with what is wrong in it. Raises: InvalidRequest."""
    errors = _wrong_texts(form)
    rows = {}
    for variant in variants:
        if f"sku-{variant.id}" in form.typed and (row := _row(form, str(variant.id), variant, currency, errors)):
            rows[str(variant.id)] = row
    added = None
    if any(form.typed[name] for name in _blank(len(form.option_names)) if name.endswith(f"-{NEW}")):
        row, quantity = _row(form, NEW, None, currency, errors), _quantity(form, errors)
        if row is not None and row.price is not None:
            added = NewVariant(row.sku, row.options, row.price, row.compare_at, quantity)
    try:
        aware = datetime.fromisoformat(form.typed["seen"]).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise InvalidRequest(_("This form is not complete. Open the product again."))
    return replace(form, errors=errors, rows=rows, added=added)


async def save_product(
    conn: Connection,
    *,
    product: EditableProduct,
    shown: Sequence[EditableVariant],
    form: ProductForm,
    by: PersonId,
) -> EditableProduct:
    """Save what the form says, in the caller's transaction: all of it, or an error. `by`: who of the staff.

    Raises: InvalidRequest, ProductExists for another's address, ProductChanged, UnknownProduct, UnknownCollection.
    """
    slug = form.typed["slug"] or product.slug
    product = await catalog.move_product(
        conn, product_id=product.id, seen=datetime.fromisoformat(form.typed["seen"]), slug=slug
    )
    product = await catalog.edit_product(
        conn,
        product_id=product.id,
        seen=product.updated_at,
        title=form.typed["title"],
        description=form.typed["description"],
        vendor=form.typed["vendor"],
        tags=split_tags(form.typed["tags"]),
        status=Status(form.typed["status"]),
        seo=seo_of(form),
    )
    product = await catalog.set_collections(
        conn, product_id=product.id, seen=product.updated_at, slugs=sorted(form.collections)
    )
    prices = []
    for variant in shown:
        row = form.rows.get(str(variant.id))
        if row is None:
            continue
        if (row.sku, row.options) != (variant.sku, variant.options):
            product = await catalog.edit_variant(
                conn,
                product_id=product.id,
                seen=product.updated_at,
                sku=variant.sku,
                new_sku=row.sku,
                options=row.options,
            )
        if row.price is not None and (row.price, row.compare_at) != (variant.price, variant.compare_at):
            prices.append(NewPrice(row.sku, row.price, row.compare_at))
    if prices:
        product = await catalog.set_prices(conn, product_id=product.id, seen=product.updated_at, prices=prices)
    if form.added is not None:
        product, added = await catalog.add_variant(
            conn, product_id=product.id, seen=product.updated_at, variant=form.added
        )
        await inventory.add_missing_stock(conn, levels={added: form.added.quantity}, reason=MoveReason(by=by))
    return product


def seo_of(form: ProductForm) -> SeoTexts:
    """What search engines should show."""
    return SeoTexts(form.typed["seo-title"], form.typed["seo-description"])


def split_tags(text: str) -> tuple[str, ...]:
    """Tags as people type them: `summer, new`; each once."""
    return tuple(dict.fromkeys(tag for part in text.split(",") if (tag := " ".join(part.split()))))


def plain_amount(money: Money | None) -> str:
    """An amount as a form takes it: 12.50; empty for none."""
    if money is None:
        return ""
    return f"{Decimal(money.amount).scaleb(-get_currency_precision(money.currency)):f}"


def _columns(variants: Sequence[EditableVariant]) -> tuple[str, ...]:
    """The names of all options, and one column to begin another with."""
    names = tuple(dict.fromkeys(name for variant in variants for name, _value in variant.options))
    return (*names, "") if len(names) < MAX_OPTIONS else names


def _fields(variants: Sequence[EditableVariant], names: Sequence[str]) -> dict[str, str]:
    fields = _blank(len(names)) | {f"name-{place}": name for place, name in enumerate(names)}
    for variant in variants:
        values = dict(variant.options)
        fields |= {f"option-{place}-{variant.id}": values.get(name, "") for place, name in enumerate(names)}
        fields |= {
            f"sku-{variant.id}": variant.sku,
            f"price-{variant.id}": plain_amount(variant.price),
            f"was-{variant.id}": plain_amount(variant.compare_at),
        }
    return fields


def _blank(options: int) -> dict[str, str]:
    """The fields of a variant that is to be added, and the names of options."""
    names = [f"{name}-{NEW}" for name in ("sku", "price", "was", "stock")]
    names += [f"option-{place}-{NEW}" for place in range(options)] + [f"name-{place}" for place in range(options)]
    return dict.fromkeys(names, "")


def _wrong_texts(form: ProductForm) -> dict[str, str]:
    errors: dict[str, str] = {}
    if not 1 <= len(form.typed["title"]) <= MAX_TITLE:
        errors["title"] = _("Write a title of 1 to 255 characters.")
    if form.typed["status"] not in set(Status):
        errors["status"] = _("Choose a status.")
    if any(len(tag) > MAX_TITLE for tag in split_tags(form.typed["tags"])):
        errors["tags"] = _("A tag has at most 255 characters. Put commas between tags.")
    if form.typed["slug"] and not catalog.is_slug(form.typed["slug"]):
        errors["slug"] = _("Write an address of lower-case letters, digits and hyphens, such as red-lamp.")
    for name, most in (("seo-title", MAX_TITLE), ("seo-description", MAX_SEO_DESCRIPTION)):
        if len(form.typed[name]) > most:
            errors[name] = _("Write at most %(most)s characters.", most=most)
    named = [name.lower() for name in form.option_names if name]
    for place, name in enumerate(form.option_names):
        if name and named.count(name.lower()) > 1:
            errors[f"name-{place}"] = _("Give each option a name of its own.")
    return errors


def _row(
    form: ProductForm, key: str, variant: EditableVariant | None, currency: str, errors: dict[str, str]
) -> Row | None:
    """What the form says of a variant; None with `errors` where that cannot be."""
    typed, before = form.typed, len(errors)
    sku = " ".join(typed[f"sku-{key}"].split())
    if not 1 <= len(sku) <= 100:
        errors[f"sku-{key}"] = _("Write a SKU of 1 to 100 characters.")
    price = _amount(typed, f"price-{key}", currency, errors)
    was = _amount(typed, f"was-{key}", currency, errors)
    if price is None and f"price-{key}" not in errors and (variant is None or variant.price is not None):
        errors[f"price-{key}"] = _("Write the price.")
    same = variant is not None and (price, was) == (variant.price, variant.compare_at)
    if was is not None and not same and (price is None or was.amount <= price.amount):
        errors[f"was-{key}"] = _("The price before is higher than the price, or empty.")
    options = []
    for place, name in enumerate(form.option_names):
        value = " ".join(typed.get(f"option-{place}-{key}", "").split())
        if value and not name:
            errors[f"name-{place}"] = _("Name this option, such as Size.")
        elif value:
            options.append((name, value))
    return Row(sku, tuple(options), price, was) if len(errors) == before else None


def _amount(typed: Mapping[str, str], name: str, currency: str, errors: dict[str, str]) -> Money | None:
    text = typed[name]
    if not text:
        return None
    try:
        return Money(parse_amount(text, currency), currency)
    except MoneyError:
        errors[name] = _("Write the price as a number such as 12.50.")
        return None


def _quantity(form: ProductForm, errors: dict[str, str]) -> int:
    text = form.typed[f"stock-{NEW}"] or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        errors[f"stock-{NEW}"] = _("Write how many items there are as a whole number.")
        return 0
    return int(text)

"""The staff's products: the list, a new one, and one with its variants, prices and collections."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from tidegate import catalog, inventory
from tidegate.admin.pages_lists import Listing, flash, read_listing
from tidegate.admin.pages_product_form import (
    ProductForm,
    empty_form,
    filled_form,
    parse_form,
    parse_new,
    save_product,
    typed_form,
)
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.catalog import (
    CollectionRow,
    EditableProduct,
    EditableVariant,
    ProductChanged,
    ProductExists,
    ProductFilter,
    ProductRow,
    ProductRows,
    Status,
)
from tidegate.checkout import Shop
from tidegate.inventory import MoveReason, StockLevel
from tidegate.platform.database import Connection
from tidegate.platform.ids import VariantId
from tidegate.platform.problems import InvalidRequest, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other

router = staff_router("/products")

PAGE_SIZE = 40
LOW_STOCK = 5
"""Items of a variant that count as few."""
FILTERS = ("query", "status", "collection", "stock")
SAID = {
    "saved": _("Saved. The shop shows it now."),
    "made": _("The product is made."),
    "changed": _("The products are changed. The shop shows it now."),
}


@dataclass(frozen=True, slots=True)
class StockedRow:
    """A product of the list with its free items; None when none of its variants has stock recorded."""

    product: ProductRow
    free: int | None


@dataclass(frozen=True, slots=True)
class ProductsContext:
    """Context of `admin/products.html`. Sums are over the shown rows."""

    listing: Listing
    page: ProductRows
    rows: tuple[StockedRow, ...]
    collections: tuple[CollectionRow, ...]
    said: str
    error: str
    most: int
    variants: int
    free: int


@dataclass(frozen=True, slots=True)
class ProductContext:
    """Context of `admin/product.html`. `variants` are those of the form; `hidden` more do not fit into it."""

    product: EditableProduct | None
    variants: tuple[EditableVariant, ...]
    hidden: int
    levels: dict[VariantId, StockLevel]
    collections: tuple[CollectionRow, ...]
    form: ProductForm
    said: str
    problem: str


async def read_filter(conn: Connection, typed: dict[str, str]) -> ProductFilter:
    """Which products the fields of the list's search mean."""
    at_most = {"out": 0, "low": LOW_STOCK}.get(typed["stock"])
    return ProductFilter(
        query=typed["query"],
        status=next((status for status in Status if status == typed["status"]), None),
        collection=typed["collection"],
        variants=None if at_most is None else await inventory.low_stock(conn, at_most=at_most),
    )


@router.get("")
async def list_products(request: Request) -> Response:
    """Products, whatever their status."""
    shop: Shop = request.app.state.shop
    listing = read_listing(request, filters=FILTERS, sorts=("-updated", "title", "price"))
    error = ""
    async with shop.database.connection() as conn:
        try:
            page = await catalog.list_for_staff(
                conn,
                wanted=await read_filter(conn, listing.typed),
                sort=listing.sort,
                descending=listing.descending,
                after=listing.after,
                limit=PAGE_SIZE,
                currency=shop.settings.currency,
            )
        except InvalidRequest as problem:
            page, error = ProductRows((), 0, None), problem.detail
        collections = await catalog.list_all_collections(conn)
        levels = await inventory.stock_levels(conn, variant_ids=[v for row in page.rows for v in row.variants])
    rows = tuple(StockedRow(row, _free(row, levels)) for row in page.rows)
    context = ProductsContext(
        listing=listing,
        page=page,
        rows=rows,
        collections=collections,
        said=flash(request, SAID),
        error=error,
        most=catalog.MAX_BULK,
        variants=sum(len(row.variants) for row in page.rows),
        free=sum(row.free or 0 for row in rows),
    )
    return render(request, "admin/products.html", context, status=422 if error else 200, headers=NOT_KEPT)


@router.get("/new")
async def new_product(request: Request) -> Response:
    """An empty form."""
    return await _show(request, None, form=empty_form())


@router.post("/new")
async def make_product(request: Request) -> Response:
    """Make a product with its first variant."""
    shop: Shop = request.app.state.shop
    form = typed_form(await read_form(request), ())
    parsed = parse_new(form, currency=shop.settings.currency)
    if parsed.errors:
        return await _show(request, None, form=parsed)
    assert parsed.new is not None
    reason = MoveReason(by=(await staff_member(request)).id)
    try:
        async with shop.database.transaction() as conn:
            made = await catalog.create_product(conn, product=parsed.new)
            await catalog.set_collections(
                conn, product_id=made.id, seen=made.updated_at, slugs=sorted(parsed.collections)
            )
            ids = await catalog.find_variants(conn, skus=[variant.sku for variant in parsed.new.variants])
            levels = {ids[variant.sku]: variant.quantity for variant in parsed.new.variants}
            await inventory.add_missing_stock(conn, levels=levels, reason=reason)
    except ProductExists as problem:
        return await _show(request, None, form=parsed.with_error("slug", problem.detail), status=problem.status)
    except InvalidRequest as problem:
        return await _show(request, None, form=parsed, problem=problem)
    return see_other(request, f"/admin/products/{made.slug}/edit?done=made")


@router.get("/{slug}/edit")
async def edit_product(request: Request, slug: str) -> Response:
    """One product."""
    return await _show(request, slug)


@router.post("/{slug}/edit")
async def post_product(request: Request, slug: str) -> Response:
    """Save all that was changed about a product, or nothing."""
    shop: Shop = request.app.state.shop
    posted = await read_form(request)
    async with shop.database.connection() as conn:
        product, shown, _hidden = await _product(conn, slug, shop)
    form = typed_form(posted, shown)
    parsed = parse_form(form, shown, currency=shop.settings.currency)
    if parsed.errors:
        return await _show(request, slug, form=parsed)
    by = (await staff_member(request)).id
    try:
        async with shop.database.transaction() as conn:
            await save_product(conn, product=product, shown=shown, form=parsed, by=by)
    except ProductChanged:
        return await _show(request, slug, form=parsed, problem=ProductChanged(_CHANGED))
    except (InvalidRequest, catalog.UnknownCollection) as problem:
        return await _show(request, slug, form=parsed, problem=problem)
    return see_other(request, f"/admin/products/{slug}/edit?done=saved")


_CHANGED = _(
    "Somebody else changed this product meanwhile, so nothing was saved. What you typed is kept below: "
    "save again to put it in place of theirs, or open the product again to see theirs."
)


async def _show(
    request: Request,
    slug: str | None,
    *,
    form: ProductForm | None = None,
    problem: Problem | None = None,
    status: int = 422,
) -> Response:
    shop: Shop = request.app.state.shop
    product, shown, hidden = None, tuple[EditableVariant, ...](), 0
    async with shop.database.connection() as conn:
        if slug is not None:
            product, shown, hidden = await _product(conn, slug, shop)
            own = await catalog.collections_of(conn, product_id=product.id)
            form = form or filled_form(product, shown, own)
        collections = await catalog.list_all_collections(conn)
        levels = await inventory.stock_levels(conn, variant_ids=[variant.id for variant in shown])
    assert form is not None
    if product is not None:
        form = form.of(product, shown, theirs=isinstance(problem, ProductChanged))
    context = ProductContext(
        product=product,
        variants=shown,
        hidden=hidden,
        levels=levels,
        collections=collections,
        form=form,
        said=flash(request, SAID) if request.method == "GET" else "",
        problem=problem.detail if problem else "",
    )
    answered = 200 if request.method == "GET" else problem.status if problem else status
    return render(request, "admin/product.html", context, status=answered, headers=NOT_KEPT)


async def _product(conn: Connection, slug: str, shop: Shop) -> tuple[EditableProduct, tuple[EditableVariant, ...], int]:
    """A product, those of its variants that fit into a form, and how many more there are. Raises: UnknownProduct."""
    product = await catalog.product_to_edit(conn, slug=slug)
    variants = await catalog.variants_to_edit(conn, product_id=product.id, currency=shop.settings.currency)
    columns = len({name for variant in variants for name, _value in variant.options}) + 4
    shown = variants[: max(1, (shop.settings.http.max_form_fields * 3 // 4) // columns)]
    return product, shown, len(variants) - len(shown)


def _free(row: ProductRow, levels: dict[VariantId, StockLevel]) -> int | None:
    known = [levels[variant].available for variant in row.variants if variant in levels]
    return sum(known) if known else None

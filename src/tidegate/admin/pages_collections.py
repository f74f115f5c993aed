"""The staff's collections: made, renamed, taken away."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from tidegate import catalog
from tidegate.admin.pages_lists import flash
from tidegate.admin.pages_shell import staff_router
from tidegate.catalog import CollectionExists, CollectionRow, UnknownCollection
from tidegate.checkout import Shop
from tidegate.platform.problems import InvalidRequest, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other

router = staff_router("/collections")

SAID = {
    "made": _("The collection is made. Put products into it in the list of products."),
    "renamed": _("Saved. The shop shows the new name now."),
    "removed": _("The collection is gone. Its products are still there."),
}


@dataclass(frozen=True, slots=True)
class CollectionsContext:
    """Context of `admin/collections.html`."""

    collections: tuple[CollectionRow, ...]
    products: int
    active: int
    typed: str
    error: str
    said: str


@dataclass(frozen=True, slots=True)
class CollectionContext:
    """Context of `admin/collection.html`."""

    collection: CollectionRow
    typed: str
    error: str
    confirm: bool


@router.get("")
async def list_collections(request: Request) -> Response:
    """All collections."""
    return await _list(request)


@router.post("")
async def make_collection(request: Request) -> Response:
    """Make one."""
    shop: Shop = request.app.state.shop
    title = (await read_form(request)).get("title")
    try:
        async with shop.database.transaction() as conn:
            await catalog.create_collection(conn, title=title)
    except (InvalidRequest, CollectionExists) as problem:
        return await _list(request, typed=title, problem=problem)
    return see_other(request, "/admin/collections?done=made")


@router.get("/{slug}")
async def show_collection(request: Request, slug: str, remove: str = "") -> Response:
    """One collection. With `remove` it asks whether to take it away."""
    return await _one(request, slug, confirm=bool(remove))


@router.post("/{slug}")
async def rename_collection(request: Request, slug: str) -> Response:
    """Give it another name."""
    shop: Shop = request.app.state.shop
    title = (await read_form(request)).get("title")
    try:
        async with shop.database.transaction() as conn:
            await catalog.rename_collection(conn, slug=slug, title=title)
    except InvalidRequest as problem:
        return await _one(request, slug, typed=title, problem=problem)
    return see_other(request, "/admin/collections?done=renamed")


@router.post("/{slug}/remove")
async def remove_collection(request: Request, slug: str) -> Response:
    """Take it away; the page before said what that does."""
    shop: Shop = request.app.state.shop
    await read_form(request)
    async with shop.database.transaction() as conn:
        await catalog.remove_collection(conn, slug=slug)
    return see_other(request, "/admin/collections?done=removed")


async def _list(request: Request, *, typed: str = "", problem: Problem | None = None) -> Response:
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        collections = await catalog.list_all_collections(conn)
    context = CollectionsContext(
        collections,
        products=sum(each.products for each in collections),
        active=sum(each.active for each in collections),
        typed=typed,
        error=problem.detail if problem else "",
        said=flash(request, SAID) if problem is None else "",
    )
    status = problem.status if problem else 200
    return render(request, "admin/collections.html", context, status=status, headers=NOT_KEPT)


async def _one(
    request: Request, slug: str, *, typed: str | None = None, problem: Problem | None = None, confirm: bool = False
) -> Response:
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        found = next((each for each in await catalog.list_all_collections(conn) if each.slug == slug), None)
    if found is None:
        raise UnknownCollection()
    context = CollectionContext(
        found,
        typed=found.title if typed is None else typed,
        error=problem.detail if problem else "",
        confirm=confirm,
    )
    status = problem.status if problem else 200
    return render(request, "admin/collection.html", context, status=status, headers=NOT_KEPT)

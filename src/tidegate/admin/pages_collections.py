"""The staff's collections: made and taken away; and one with its words, picture and order."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from tidegate import catalog
from tidegate.admin.pages_lists import flash
from tidegate.admin.pages_picture_form import MB, PictureForm, read_picture, wrong_words
from tidegate.admin.pages_shell import staff_router
from tidegate.catalog import (
    CollectionChanged,
    CollectionExists,
    CollectionRow,
    EditableCollection,
    SeoTexts,
    UnknownPicture,
)
from tidegate.checkout import Shop
from tidegate.platform.ids import ProductId
from tidegate.platform.problems import InvalidRequest, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, read_form, render, see_other, words_of

router = staff_router("/collections")

SAID = {
    "made": _("The collection is made. Put products into it in the list of products."),
    "saved": _("Saved. The shop shows it now."),
    "removed": _("The collection is gone. Its products are still there."),
}
TEXTS = ("title", "description", "seo-title", "seo-description", "slug")
MAX_SEO = {"seo-title": 255, "seo-description": 500}
_CHANGED = _(
    "Somebody else changed this collection meanwhile, so nothing was saved. What you typed is kept: save again."
)


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
    """Context of `admin/collection.html`. `typed` and `errors` by the names of fields, of all its forms."""

    collection: EditableCollection
    typed: dict[str, str]
    errors: dict[str, str]
    upload: PictureForm
    most_mb: int
    most_megapixels: int
    base_url: str
    said: str
    problem: str
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
async def save_texts(request: Request, slug: str) -> Response:
    """Change its words and its address."""
    shop: Shop = request.app.state.shop
    form = await read_form(request)
    typed = {name: form.get(name).replace("\r\n", "\n") for name in TEXTS}
    errors = _wrong_texts(typed)
    if errors:
        return await _one(request, slug, typed=typed, errors=errors)
    new_slug = typed["slug"] or slug
    try:
        async with shop.database.transaction() as conn:
            await catalog.edit_collection(
                conn,
                slug=slug,
                seen=form.get("seen"),
                title=typed["title"],
                description=typed["description"],
                seo=SeoTexts(typed["seo-title"], typed["seo-description"]),
                new_slug=new_slug,
            )
    except CollectionExists as problem:
        return await _one(request, slug, typed=typed, errors={"slug": problem.detail}, status=problem.status)
    except InvalidRequest as problem:
        return await _one(request, slug, typed=typed, errors={"title": problem.detail})
    except CollectionChanged:
        return await _one(request, slug, typed=typed, problem=CollectionChanged(_CHANGED))
    return see_other(request, f"/admin/collections/{new_slug}?done=saved")


@router.post("/{slug}/picture/new")
async def upload_picture(request: Request, slug: str) -> Response:
    """Show another picture with it."""
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        await catalog.collection_to_edit(conn, slug=slug)  # before a body is read for nothing
    upload = await read_picture(request)
    if upload.errors or upload.kept is None:
        return await _one(request, slug, upload=upload)
    async with shop.database.connection() as conn:
        seen = (await catalog.collection_to_edit(conn, slug=slug)).seen
    return await _set_picture(request, slug, upload.kept.digest, upload.alt, seen)


@router.post("/{slug}/picture")
async def save_picture(request: Request, slug: str) -> Response:
    """Describe its picture anew, or show none any more."""
    form = await read_form(request)
    async with request.app.state.shop.database.connection() as conn:
        shown = await catalog.collection_to_edit(conn, slug=slug)
    if form.get("remove") or shown.picture is None:
        return await _set_picture(request, slug, None, "", form.get("seen"))
    alt, decorative = form.get("alt-now"), bool(form.get("decorative-now"))
    wrong = wrong_words(alt, decorative=decorative)
    if wrong is not None:
        typed = {"alt-now": alt} | ({"decorative-now": "1"} if decorative else {})
        return await _one(request, slug, typed=typed, errors={"alt-now": wrong})
    return await _set_picture(request, slug, shown.picture.digest, alt, form.get("seen"))


@router.post("/{slug}/order")
async def save_order(request: Request, slug: str) -> Response:
    """Give its products their places; those whose field is empty follow by popularity."""
    shop: Shop = request.app.state.shop
    form = await read_form(request)
    async with shop.database.connection() as conn:
        shown = await catalog.collection_to_edit(conn, slug=slug)
    places, errors = _places(form, shown)
    typed = {name: value.strip() for name, value in form.fields}
    if errors:
        return await _one(request, slug, typed=typed, errors=errors)
    try:
        async with shop.database.transaction() as conn:
            await catalog.arrange_collection(conn, slug=slug, seen=form.get("seen"), places=places)
    except CollectionChanged:
        return await _one(request, slug, typed=typed, problem=CollectionChanged(_CHANGED))
    return see_other(request, f"/admin/collections/{slug}?done=saved")


@router.post("/{slug}/remove")
async def remove_collection(request: Request, slug: str) -> Response:
    """Take it away; the page before said what that does."""
    shop: Shop = request.app.state.shop
    await read_form(request)
    async with shop.database.transaction() as conn:
        await catalog.remove_collection(conn, slug=slug)
    return see_other(request, "/admin/collections?done=removed")


async def _set_picture(request: Request, slug: str, digest: str | None, alt: str, seen: str) -> Response:
    shop: Shop = request.app.state.shop
    try:
        async with shop.database.transaction() as conn:
            await catalog.set_collection_picture(conn, slug=slug, seen=seen, digest=digest, alt=alt)
    except CollectionChanged:
        return await _one(request, slug, problem=CollectionChanged(_CHANGED))
    except UnknownPicture as problem:
        return await _one(request, slug, problem=problem)
    return see_other(request, f"/admin/collections/{slug}?done=saved")


def _wrong_texts(typed: dict[str, str]) -> dict[str, str]:
    errors: dict[str, str] = {}
    if typed["slug"] and not catalog.is_slug(typed["slug"]):
        errors["slug"] = _("Write an address of lower-case letters, digits and hyphens, such as red-lamp.")
    for name, most in MAX_SEO.items():
        if len(typed[name]) > most:
            errors[name] = _("Write at most %(most)s characters.", most=most)
    return errors


def _places(form: PostedForm, shown: EditableCollection) -> tuple[dict[ProductId, int], dict[str, str]]:
    """The places that were typed, and what is wrong with them."""
    places: dict[ProductId, int] = {}
    errors: dict[str, str] = {}
    for each in shown.placed:
        place = form.get(f"place-{each.id}")
        if place and not (place.isascii() and place.isdigit() and len(place) <= 4):
            errors[f"place-{each.id}"] = _("Write a whole number, such as 1 for the first, or nothing.")
        elif place:
            places[each.id] = int(place)
    return places, errors


def _filled(collection: EditableCollection) -> dict[str, str]:
    """The fields of its forms, as things are."""
    typed = {
        "title": collection.title,
        "description": collection.description,
        "seo-title": collection.seo.title,
        "seo-description": collection.seo.description,
        "slug": collection.slug,
    }
    if collection.picture is not None:
        typed["alt-now"] = collection.picture.alt
        if not collection.picture.alt:
            typed["decorative-now"] = "1"
    return typed | {f"place-{each.id}": str(each.place or "") for each in collection.placed}


async def _list(request: Request, *, typed: str = "", problem: Problem | None = None) -> Response:
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        collections = await catalog.list_all_collections(conn)
    context = CollectionsContext(
        collections,
        products=sum(each.products for each in collections),
        active=sum(each.active for each in collections),
        typed=typed,
        error=words_of(problem) if problem else "",
        said=flash(request, SAID) if problem is None else "",
    )
    status = problem.status if problem else 200
    return render(request, "admin/collections.html", context, status=status, headers=NOT_KEPT)


async def _one(
    request: Request,
    slug: str,
    *,
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    upload: PictureForm | None = None,
    problem: Problem | None = None,
    status: int = 422,
    confirm: bool = False,
) -> Response:
    shop: Shop = request.app.state.shop
    limits = shop.settings.pictures
    async with shop.database.connection() as conn:
        collection = await catalog.collection_to_edit(conn, slug=slug)
    filled = _filled(collection)
    if typed is not None and "alt-now" in typed:
        filled.pop("decorative-now", None)  # a box that was not ticked is not sent
    context = CollectionContext(
        collection,
        typed=filled | (typed or {}),
        errors=errors or {},
        upload=upload or PictureForm(),
        most_mb=limits.max_bytes // MB,
        most_megapixels=limits.max_megapixels,
        base_url=shop.settings.base_url,
        said=flash(request, SAID) if request.method == "GET" else "",
        problem=words_of(problem) if problem else "",
        confirm=confirm,
    )
    answered = 200 if request.method == "GET" else problem.status if problem else status
    return render(request, "admin/collection.html", context, status=answered, headers=NOT_KEPT)

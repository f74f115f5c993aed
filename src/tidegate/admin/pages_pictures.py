"""The staff's pictures of a product: uploaded, described, put in order, taken away."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from fastapi import Request
from starlette.responses import Response

from tidegate import catalog
from tidegate.admin.pages_lists import flash
from tidegate.admin.pages_picture_form import MB, PictureForm, read_picture, wrong_words
from tidegate.admin.pages_shell import staff_router
from tidegate.catalog import EditableProduct, PictureWish, ProductChanged, ProductPicture, UnknownPicture
from tidegate.checkout import Shop
from tidegate.platform.problems import InvalidRequest, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, read_form, render, see_other

router = staff_router("/products")

SAID = {
    "added": _("The picture is there. The shop shows it now."),
    "saved": _("Saved. The shop shows it now."),
}
_CHANGED = _("Somebody else changed this product meanwhile, so nothing was saved. What you typed is kept: save again.")


@dataclass(frozen=True, slots=True)
class PicturesContext:
    """Context of `admin/pictures.html`. `typed` and `errors` by the names of fields, of the form that arranges."""

    product: EditableProduct
    pictures: tuple[ProductPicture, ...]
    seen: str
    typed: dict[str, str]
    errors: dict[str, str]
    upload: PictureForm
    most_mb: int
    most_megapixels: int
    most: int
    said: str
    problem: str


@dataclass(frozen=True, slots=True)
class _Arranging:
    """What was typed into the form that arranges."""

    wishes: tuple[PictureWish, ...]
    typed: dict[str, str]
    seen: datetime
    errors: dict[str, str] = field(default_factory=dict)


@router.get("/{slug}/pictures")
async def show_pictures(request: Request, slug: str) -> Response:
    """The pictures of one product."""
    return await _show(request, slug)


@router.post("/{slug}/pictures")
async def arrange_pictures(request: Request, slug: str) -> Response:
    """Save words and order, and take away what was ticked: all of it, or nothing."""
    shop: Shop = request.app.state.shop
    form = await read_form(request)
    async with shop.database.connection() as conn:
        product = await catalog.product_to_edit(conn, slug=slug)
        pictures = await catalog.pictures_to_edit(conn, product_id=product.id)
    sent = _arranging(form, pictures)
    if sent.errors:
        return await _show(request, slug, typed=sent.typed, errors=sent.errors)
    try:
        async with shop.database.transaction() as conn:
            await catalog.arrange_pictures(conn, product_id=product.id, seen=sent.seen, wishes=sent.wishes)
    except ProductChanged:
        return await _show(request, slug, typed=sent.typed, problem=ProductChanged(_CHANGED))
    return see_other(request, f"/admin/products/{slug}/pictures?done=saved")


@router.post("/{slug}/pictures/new")
async def add_picture(request: Request, slug: str) -> Response:
    """Upload one more picture."""
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        product = await catalog.product_to_edit(conn, slug=slug)
    upload = await read_picture(request)
    if upload.errors or upload.kept is None:
        return await _show(request, slug, upload=upload)
    try:
        async with shop.database.transaction() as conn:
            await catalog.add_picture(
                conn,
                product_id=product.id,
                digest=upload.kept.digest,
                alt=upload.alt,
                most=shop.settings.pictures.max_per_product,
            )
    except (InvalidRequest, UnknownPicture) as problem:
        return await _show(request, slug, upload=PictureForm(upload.alt, upload.decorative), problem=problem)
    return see_other(request, f"/admin/products/{slug}/pictures?done=added")


def _arranging(form: PostedForm, pictures: tuple[ProductPicture, ...]) -> _Arranging:
    """What the form wants of each picture that it names. Raises: InvalidRequest for a form that is not complete."""
    errors: dict[str, str] = {}
    wishes = []
    for each in pictures:
        key = str(each.id)
        if not form.all(f"place-{key}"):
            continue  # added since the form was opened
        alt, decorative = form.get(f"alt-{key}"), bool(form.get(f"decorative-{key}"))
        place, remove = form.get(f"place-{key}"), bool(form.get(f"remove-{key}"))
        wrong = wrong_words(alt, decorative=decorative)
        if wrong is not None and not remove:
            errors[f"alt-{key}"] = wrong
        if not (place.isascii() and place.isdigit() and 1 <= len(place) <= 4):
            errors[f"place-{key}"] = _("Write the place as a whole number, such as 1 for the main picture.")
            place = "0"
        wishes.append(PictureWish(each.id, alt, int(place), remove))
    try:
        seen = datetime.fromisoformat(form.get("seen"))
    except ValueError:
        seen = None
    if seen is None or seen.tzinfo is None:
        raise InvalidRequest(_("This form is not complete. Open the product again."))
    return _Arranging(tuple(wishes), {name: value.strip() for name, value in form.fields}, seen, errors)


def _filled(pictures: tuple[ProductPicture, ...]) -> dict[str, str]:
    """The fields of the form that arranges, as things are."""
    typed: dict[str, str] = {}
    for place, each in enumerate(pictures, start=1):
        typed |= {f"alt-{each.id}": each.picture.alt, f"place-{each.id}": str(place)}
        if not each.picture.alt:
            typed[f"decorative-{each.id}"] = "1"
    return typed


async def _show(
    request: Request,
    slug: str,
    *,
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    upload: PictureForm | None = None,
    problem: Problem | None = None,
) -> Response:
    shop: Shop = request.app.state.shop
    limits = shop.settings.pictures
    async with shop.database.connection() as conn:
        product = await catalog.product_to_edit(conn, slug=slug)
        pictures = await catalog.pictures_to_edit(conn, product_id=product.id)
    context = PicturesContext(
        product=product,
        pictures=pictures,
        seen=product.updated_at.isoformat(),
        typed=_filled(pictures) if typed is None else typed,
        errors=errors or {},
        upload=upload or PictureForm(),
        most_mb=limits.max_bytes // MB,
        most_megapixels=limits.max_megapixels,
        most=limits.max_per_product,
        said=flash(request, SAID) if request.method == "GET" else "",
        problem=problem.detail if problem else "",
    )
    status = 200 if request.method == "GET" else problem.status if problem else 422
    return render(request, "admin/pictures.html", context, status=status, headers=NOT_KEPT)

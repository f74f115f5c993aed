"""The staff's room for what the shop says of itself: the list of pages, and one page in one language."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from tidegate.admin.pages_shell import staff_router
from tidegate.checkout import Shop
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _
from tidegate.web import (
    NOT_KEPT,
    PAGE_TITLES,
    PageChanged,
    PostedForm,
    ShopPage,
    language_of,
    list_written,
    offered_locales,
    read_form,
    render,
    rendered,
    see_other,
    starter_page,
    write_page,
    wrong_page_fields,
)

router = staff_router("/pages")


@dataclass(frozen=True, slots=True)
class TextRow:
    """A page in one language, in the list."""

    page: ShopPage
    name: str


@dataclass(frozen=True, slots=True)
class TextsContext:
    """Context of `admin/texts.html`."""

    rows: tuple[TextRow, ...]
    saved: bool


@dataclass(frozen=True, slots=True)
class TextContext:
    """Context of `admin/text.html`."""

    page: ShopPage
    name: str
    typed: dict[str, str]
    errors: dict[str, str]
    preview: Markup | None
    problem: str


@router.get("")
async def list_texts(request: Request, saved: str = "") -> Response:
    """All pages in all languages of the shop."""
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        written = await list_written(conn)
    rows = tuple(
        TextRow(written.get((slug, language)) or starter_page(slug, language), name)
        for slug, name in PAGE_TITLES.items()
        for language in _languages(shop)
    )
    return render(request, "admin/texts.html", TextsContext(rows, saved == "1"), headers=NOT_KEPT)


@router.get("/{slug}/{language}")
async def show_text(request: Request, slug: str, language: str) -> Response:
    """One page, to be edited."""
    page = await _page(request, slug, language)
    typed = {"title": page.title, "body": page.body, "revision": str(page.revision)}
    return _show(request, page, typed=typed)


@router.post("/{slug}/{language}")
async def save_text(request: Request, slug: str, language: str) -> Response:
    """Save the page, or show what it would look like."""
    form = await read_form(request)
    page = await _page(request, slug, language)
    typed = {name: form.get(name).replace("\r\n", "\n") for name in ("title", "body", "revision")}
    errors = wrong_page_fields(typed["title"], typed["body"])
    if errors or form.get("action") == "preview":
        return _show(request, page, typed=typed, errors=errors, preview=not errors)
    shop: Shop = request.app.state.shop
    try:
        async with shop.database.transaction() as conn:
            await write_page(
                conn,
                slug=slug,
                language=language,
                title=typed["title"],
                body=typed["body"],
                revision=_revision(form),
            )
    except PageChanged:
        return _show(request, page, typed=typed | {"revision": str(page.revision)}, problem=_CHANGED)
    return see_other(request, "/admin/pages?saved=1")


_CHANGED = _(
    "Somebody else changed this page meanwhile. Your text is kept below; compare it with theirs and save again."
)


def _revision(form: PostedForm) -> int:
    number = form.get("revision")
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise InvalidRequest(_("This could not be read"))
    return int(number)


async def _page(request: Request, slug: str, language: str) -> ShopPage:
    shop: Shop = request.app.state.shop
    if slug not in PAGE_TITLES or language not in _languages(shop):
        raise NotFound()
    async with shop.database.connection() as conn:
        written = await list_written(conn)
    return written.get((slug, language)) or starter_page(slug, language)


def _show(
    request: Request,
    page: ShopPage,
    *,
    typed: dict[str, str],
    errors: dict[str, str] | None = None,
    preview: bool = False,
    problem: str = "",
) -> Response:
    context = TextContext(
        page=page,
        name=PAGE_TITLES[page.slug],
        typed=typed,
        errors=errors or {},
        preview=rendered(typed["body"]) if preview else None,
        problem=problem,
    )
    status = 422 if errors else 409 if problem else 200
    return render(request, "admin/text.html", context, status=status, headers=NOT_KEPT)


def _languages(shop: Shop) -> tuple[str, ...]:
    return tuple(dict.fromkeys(language_of(locale) for locale in offered_locales(shop.settings)))

"""`/pages/{slug}`: what the shop says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from tidegate.platform.database import Database
from tidegate.platform.problems import NotFound
from tidegate.platform.settings import Settings
from tidegate.platform.texts import language_of
from tidegate.web.locales import request_locale
from tidegate.web.rendering import render
from tidegate.web.shop_pages import find_page, rendered

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ShopPageContext:
    """Context of `web/shop_page.html`."""

    title: str
    body: Markup
    language: str
    """Of the text, which may be another than the frame's."""


@router.get("/pages/{slug}")
async def show_page(request: Request, slug: str) -> Response:
    """The page in the reader's language, else in the shop's."""
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    languages = tuple(dict.fromkeys(language_of(each) for each in (request_locale(request), settings.locale)))
    async with database.connection() as conn:
        page = await find_page(conn, slug=slug, languages=languages)
    if page is None:
        raise NotFound()
    return render(request, "web/shop_page.html", ShopPageContext(page.title, rendered(page.body), page.language))

"""What the shop says of itself: about, shipping, privacy, terms, imprint, contact.

The merchant writes them in Markdown, once per language. Until then a page shows the text that comes with the program,
so that no link of the footer is a dead end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from psycopg.rows import class_row

from tidegate.platform.database import Connection
from tidegate.platform.problems import InvalidRequest, Problem
from tidegate.platform.texts import Text
from tidegate.platform.texts import text as _

TITLES: Mapping[str, Text] = MappingProxyType(
    {
        "about": _("About this shop"),
        "shipping": _("Shipping and returns"),
        "contact": _("Contact"),
        "privacy": _("Privacy"),
        "terms": _("Terms"),
        "imprint": _("Imprint"),
    }
)
"""The pages, in the order of the footer, with the titles that their links have."""

STARTER = Path(__file__).parent / "starter"
SOURCE_LANGUAGE = "en"
MAX_TITLE = 200
MAX_BODY = 50_000
"""Characters."""


class PageChanged(Problem):
    """Somebody else changed this page meanwhile."""

    slug = "page-changed"
    status = 409


@dataclass(frozen=True, slots=True)
class ShopPage:
    """A page in one language. `revision` counts its changes; 0 is the text that comes with the program."""

    slug: str
    language: str
    title: str
    body: str
    revision: int
    changed_at: datetime | None


async def find_page(conn: Connection, *, slug: str, languages: tuple[str, ...]) -> ShopPage | None:
    """The page in the first of `languages` that the merchant has written it in, else the program's own text.

    None when there is no such page.
    """
    if slug not in TITLES:
        return None
    async with conn.cursor(row_factory=class_row(ShopPage)) as cursor:
        await cursor.execute(
            "SELECT slug, language, title, body, revision, changed_at FROM web.shop_pages"
            " WHERE slug = %(slug)s AND language = ANY(%(languages)s)"
            " ORDER BY array_position(%(languages)s, language) LIMIT 1",
            {"slug": slug, "languages": list(languages)},
        )
        written = await cursor.fetchone()
    return written or starter_page(slug, languages[0])


async def list_written(conn: Connection) -> dict[tuple[str, str], ShopPage]:
    """What the merchant has written, by slug and language: at most as many as there are pages and languages."""
    async with conn.cursor(row_factory=class_row(ShopPage)) as cursor:
        await cursor.execute(
            "SELECT slug, language, title, body, revision, changed_at FROM web.shop_pages"
            " WHERE slug = ANY(%s) LIMIT 500",
            (list(TITLES),),
        )
        return {(page.slug, page.language): page for page in await cursor.fetchall()}


async def write_page(conn: Connection, *, slug: str, language: str, title: str, body: str, revision: int) -> None:
    """Write a page over its `revision`; an empty body brings the program's own text back.

    Raises: PageChanged when the page has another revision by now, InvalidRequest for what `wrong_fields` names.
    """
    if body and (wrong := wrong_fields(title, body)):
        raise InvalidRequest(errors=wrong)
    values: dict[str, Any] = {
        "slug": slug, "language": language, "title": title, "body": body, "revision": revision,
    }  # fmt: skip
    if not body:
        statement = (
            "DELETE FROM web.shop_pages"
            " WHERE slug = %(slug)s AND language = %(language)s AND revision = %(revision)s RETURNING revision"
        )
    elif revision == 0:
        statement = (
            "INSERT INTO web.shop_pages (slug, language, title, body)"
            " VALUES (%(slug)s, %(language)s, %(title)s, %(body)s)"
            " ON CONFLICT (slug, language) DO NOTHING RETURNING revision"
        )
    else:
        statement = (
            "UPDATE web.shop_pages SET title = %(title)s, body = %(body)s, revision = revision + 1,"
            " changed_at = clock_timestamp()"
            " WHERE slug = %(slug)s AND language = %(language)s AND revision = %(revision)s RETURNING revision"
        )
    written = await (await conn.execute(statement, values)).fetchone()
    if written is None and (body or revision):
        raise PageChanged()


def wrong_fields(title: str, body: str) -> dict[str, str]:
    """What is wrong with a page, by field."""
    wrong: dict[str, str] = {}
    if not title:
        wrong["title"] = _("Enter a title.")
    elif len(title) > MAX_TITLE:
        wrong["title"] = _("Use at most %(most)s characters.", most=MAX_TITLE)
    if len(body) > MAX_BODY:
        wrong["body"] = _("Use at most %(most)s characters.", most=MAX_BODY)
    return wrong


@lru_cache(maxsize=64)
def starter_page(slug: str, language: str) -> ShopPage:
    """The text that comes with the program, in English where the language has none."""
    path = STARTER / language / f"{slug}.md"
    if not path.is_file():
        path = STARTER / SOURCE_LANGUAGE / f"{slug}.md"
    title = TITLES[slug].in_locale(path.parent.name)
    return ShopPage(slug, path.parent.name, title, path.read_text(encoding="utf-8").strip(), 0, None)


def rendered(body: str) -> Markup:
    """Markdown (CommonMark) as HTML: tags are shown as typed, scripts are no links, there are no pictures."""
    reader = _reader()
    tokens = reader.parse(body)
    for token in tokens:
        _lower(token)
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704 - HTML in the source is escaped


def _lower(token: Token) -> None:
    """A page's own title is its first heading: those of the text begin below."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(6, int(token.tag[1]) + (token.tag == 'h1'))}"


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).disable("image")

"""What the shop says of itself: Markdown in, safe HTML out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.markup import tags_and_links
from tidegate.platform.database import Database
from tidegate.web import PAGE_TITLES, PageChanged, rendered, starter_page, write_page
from tidegate.web.shop_pages import find_page

MARKS = st.text(alphabet="<>\"'&[]()!#*_-` \n:/abjvscriptdatonerx=", max_size=120)
KNOWN = {
    "p",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "em",
    "strong",
    "code",
    "pre",
    "blockquote",
    "hr",
    "br",
    "a",
}


@given(MARKS)
def test_no_text_makes_a_tag_or_a_link_that_runs(text: str) -> None:
    tags, links = tags_and_links(str(rendered(text)))
    assert tags <= KNOWN
    assert not [link for link in links if link.lower().strip().startswith(("javascript:", "data:", "vbscript:"))]


def test_markdown_below_the_pages_own_heading() -> None:
    html = str(rendered("# One\n\n<script>x</script>\n\n[run](javascript:alert(1)) [go](https://example.com)"))
    assert "<h2>One</h2>" in html
    assert "&lt;script&gt;" in html
    assert tags_and_links(html)[1] == ["https://example.com"]


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("slug", PAGE_TITLES)
def test_every_page_has_words_to_start_from(slug: str, language: str) -> None:
    page = starter_page(slug, language)
    assert page.language == language
    assert len(page.body) > 80


async def test_a_page_is_written_once_and_then_over_its_revision(database: Database) -> None:
    async def write(revision: int, body: str) -> None:
        async with database.transaction() as conn:
            await write_page(conn, slug="about", language="en", title="About", body=body, revision=revision)

    async def body(*languages: str) -> str:
        async with database.connection() as conn:
            page = await find_page(conn, slug="about", languages=languages)
        assert page is not None
        return page.body

    await write(0, "first")
    with pytest.raises(PageChanged):
        await write(0, "another first")
    await write(1, "second")
    with pytest.raises(PageChanged):
        await write(1, "late")
    assert await body("de", "en") == "second"
    await write(2, "")
    assert await body("de", "en") == starter_page("about", "de").body

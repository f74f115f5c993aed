"""HTML descriptions as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog.plain_text import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("Just words", "Just words"),
        ("<p>One</p>\n<p>Two  words</p>", "One\n\nTwo words"),
        ("<p>One<br />two</p>", "One\ntwo"),
        ("<ul><li>One</li><li><p>Two</p></li><li></li></ul>", "• One\n• Two"),
        ("<p>&bull; One.<br />&bull; Two. <br /></p>", "• One.\n• Two."),
        ("<p>Fish &amp; chips &#163;5&nbsp;only</p>", "Fish & chips £5 only"),
        ("<b>bo</b>ld <i>and</i> <span>so</span>", "bold and so"),
        ("before<script>alert('<p>')</script>after", "beforeafter"),
        ("a<STYLE>p{}</StYlE >b", "ab"),
        ("a<!-- <p>hidden --> b", "a b"),
        ('<a href="x" title="a > b">link</a>', "link"),
        ("2 < 3 and 5 > 4, I <3 you", "2 < 3 and 5 > 4, I <3 you"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "<script>alert(1)</script>"),
        ("ends in <b", "ends in <b"),
        ("<td>a</td><td>b</td>", "a b"),
        ("İ<script>x</script>y", "İy"),
        ("x<script>never closed", "x"),
        ("a\x00b\u202ec", "a b c"),
    ],
)
def test_text_of_html(html: str, text: str) -> None:
    assert plain_text(html) == text


PIECES = st.sampled_from([*"<>/!-\"'= word&;•\n\x00", "<li>", "</p>", "<!--", "-->", "<script", "&nbsp;"])


@given(st.lists(PIECES, max_size=80))
def test_anything_becomes_tidy_text(pieces: list[str]) -> None:
    text = plain_text("".join(pieces))
    assert text == text.strip()
    assert "\n\n\n" not in text
    assert "\x00" not in text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["<", "<a ", "<!--", "</", "<?", '<a b="', "<script>", "&", "<li>", "<a>"])
def test_hostile_cells_take_no_long_time(piece: str) -> None:
    plain_text(piece * (131_072 // len(piece)))

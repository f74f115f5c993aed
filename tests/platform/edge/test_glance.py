"""What is told at a glance is what the parser would have told."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.platform.edge.glance import Asked, glance

WHOLE = b"POST /api/v1/purchases HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"
BARE = b"GET /api/v1/products HTTP/1.1\r\nhost: a\r\n\r\n"
PARTS = (
    b"\r\n", b"\n", b" ", b"\t", b":", b"0", b"2", b"{}", b"\x00", b"HEAD", BARE, WHOLE,
    b"host: a\r\n", b"accept: text/html\r\n", b"upgrade: h2c\r\n", b"expect: 100-continue\r\n",
    b"content-length: 2\r\n", b"Content-Length:2\r\n", b"content-length: 0\r\n",
    b"transfer-encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n",
    b"connection: close\r\n", b"Connection: Keep-Alive\r\n", b"connection: keep-alive, upgrade\r\n",
)  # fmt: skip


class Seen:
    """What the parser finds."""

    def __init__(self) -> None:
        self.target, self.whole, self.begun = b"", 0, 0

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_message_complete(self) -> None:
        self.whole += 1


CHANGES = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90), st.booleans(), st.sampled_from(PARTS)), max_size=3)


def spoil(data: bytes, changes: list[tuple[int, int, bool, bytes]]) -> bytes:
    """A request with parts of it replaced, or with something between its lines."""
    for at, length, between_lines, part in changes:
        if between_lines:
            ends = [place + 2 for place in range(len(data)) if data.startswith(b"\r\n", place)] or [0]
            place = ends[at % len(ends)]
            data = data[:place] + part + data[place:]
        else:
            data = data[:at] + part + data[at + length :]
    return data


@given(st.sampled_from((WHOLE, BARE)), CHANGES)
def test_it_never_differs_from_the_parser(whole: bytes, changes: list[tuple[int, int, bool, bytes]]) -> None:
    data = spoil(whole, changes)
    asked = glance(data)
    if asked is None:
        return
    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(data)
    except httptools.HttpParserError:
        assert seen.whole == 0  # a broken head, all of which was here
        return
    assert (seen.begun, seen.whole, seen.target) == (1, 1, asked.target)
    assert parser.get_method() == asked.method
    assert parser.should_keep_alive()
    assert not parser.should_upgrade()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (WHOLE, Asked(b"POST", b"/api/v1/purchases")),
        (BARE, Asked(b"GET", b"/api/v1/products")),
        (BARE.replace(b"host: a", b"Host: a\r\nConnection: keep-alive"), Asked(b"GET", b"/api/v1/products")),
        (BARE.replace(b"/api/v1/products", b"/").replace(b"host: a", b"accept: text/html"), None),
        (BARE + BARE, None),
        (WHOLE[:-1], None),
        (BARE[:-2], None),
        (BARE.replace(b"GET", b"HEAD"), None),
        (BARE.replace(b"1.1", b"1.0"), None),
        (BARE.replace(b"host: a", b"connection: close"), None),
        (WHOLE.replace(b"host: a", b"content-length: 2"), None),
        (WHOLE.replace(b"host: a", b"transfer-encoding: chunked"), None),
        (BARE.replace(b"/api/v1/products", b"http://a/api/v1/products"), None),
        (BARE.replace(b"host: a", b"x: " + b"y" * 20_000), None),
    ],
)
def test_what_is_special_is_left_to_the_parser(data: bytes, found: Asked | None) -> None:
    assert glance(data) == found

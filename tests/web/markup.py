"""Reading HTML in tests."""

from __future__ import annotations

from html.parser import HTMLParser


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def tags_and_links(html: str) -> tuple[set[str], list[str]]:
    """The names of all tags, and the addresses of all links and sources."""
    reader = _Reader()
    reader.feed(html)
    return reader.tags, reader.links

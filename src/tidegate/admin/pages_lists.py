"""What the staff's lists share: sorting, keyset pages, and a word on what has just been done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

MAX_TYPED = 254
"""Longest text of a filter, in characters."""
MAX_CURSOR = 1_200
"""Longest cursor that a list takes, in characters."""


@dataclass(frozen=True, slots=True)
class Listing:
    """How a list is asked for: `typed` are its filters as they came, `sort` the column, `after` the cursor.

    Its methods are the query parameters of links to the same list.
    """

    typed: dict[str, str]
    sort: str
    descending: bool
    after: str

    def sorted_by(self, name: str) -> dict[str, str]:
        """From the start, by a column; the other way round if it is sorted by it already."""
        turned = name == self.sort and not self.descending
        return self._filters() | {"sort": f"-{name}" if turned else name}

    def first_page(self) -> dict[str, str]:
        """From the start."""
        return self._filters() | {"sort": self.order}

    def following(self, cursor: str) -> dict[str, str]:
        """The page after this one."""
        return self.first_page() | {"after": cursor}

    @property
    def order(self) -> str:
        """The column with its direction: `title`, or `-title` from the end."""
        return f"-{self.sort}" if self.descending else self.sort

    def _filters(self) -> dict[str, str]:
        return {name: value for name, value in self.typed.items() if value}


def read_listing(request: Request, *, filters: tuple[str, ...], sorts: tuple[str, ...]) -> Listing:
    """How the request asks for a list; `sorts` are the columns, the first one with its direction is the default."""
    asked = request.query_params.get("sort", "")
    if asked.removeprefix("-") not in {each.removeprefix("-") for each in sorts}:
        asked = sorts[0]
    return Listing(
        typed={name: typed(request, name) for name in filters},
        sort=asked.removeprefix("-"),
        descending=asked.startswith("-"),
        after=request.query_params.get("after", "")[:MAX_CURSOR],
    )


def typed(request: Request, name: str) -> str:
    """What was typed into a field of a search, within bounds."""
    text = request.query_params.get(name, "").replace("\0", "").strip()[:MAX_TYPED]
    return text.encode("utf-8", "ignore").decode()


def flash(request: Request, words: Mapping[str, str]) -> str:
    """What the page before has done: the words of `?done=NAME`, empty for a name that is not among them."""
    return words.get(request.query_params.get("done", ""), "")

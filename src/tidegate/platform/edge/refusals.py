"""Refusals that are written before anybody is refused: a problem document for programs, a page for people.

The process that refuses is one that has too much to do. A refusal goes through no layer of the edge, is not logged by
itself and carries no request id, since nothing is kept that an id could lead to. `doors` count it, and say how often
the longest time to wait is doubled; a page with a longer time is made when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tidegate.platform.edge.glance import Asked
from tidegate.platform.edge.headers import Header, default_headers
from tidegate.platform.edge.lean import lines_of
from tidegate.platform.overload.doors import Doors
from tidegate.platform.overload.rules import Priority, longest_s, most_doublings
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings

MOST_WAITS = 34
READ_AT_MOST_BYTES = 65_536
"""Longest announced body of a refused request that is read to its end, so that the connection can go on."""
DEAR: tuple[Header, ...] = ((b"authorization", b""),)
"""Headers that ask what an address is worth to those whom it is worth most."""

PriorityOf = Callable[[bytes, bytes, Sequence[Header]], Priority]
"""What a request is worth: its method, its target as it was sent, its headers."""


@dataclass(frozen=True, slots=True)
class BusyPages:
    """The pages of refusals. `locale_of` chooses by the headers Cookie and Accept-Language."""

    locale_of: Callable[[bytes, bytes], str]
    make: Callable[[str, int, bool], bytes]
    """The page in a locale, with the seconds to wait; the flag: it may ask again by itself."""
    locales: Sequence[str]


class Refusals:
    """All refusals of a process, ready to be sent."""

    def __init__(self, settings: Settings, pages: BusyPages | None = None) -> None:
        """Without `pages` everybody gets the document."""
        shortest, most = settings.overload.retry_after_s, settings.overload.retry_after_most_s
        doublings = range(most_doublings(shortest_s=shortest, most_s=most) + 1)
        self._waits = [_waits(shortest, longest_s(each, shortest_s=shortest, most_s=most)) for each in doublings]
        self._common = default_headers(settings)
        self._documents = [[self._document(wait_s) for wait_s in waits] for waits in self._waits]
        self._pages = pages
        self._made: dict[tuple[str, bool, int], bytes] = {}
        if pages is not None:
            for locale in pages.locales:
                for wait_s in self._waits[0]:
                    for again in (False, True):
                        self._page(pages, locale, wait_s, again)
        self._turn = count()
        self._dated: tuple[Sequence[Header], int, list[bytes]] = ((), 0, [])

    def answer(
        self, method: bytes, target: bytes, headers: Sequence[Header], *, date: Sequence[Header], doublings: int = 0
    ) -> bytes:
        """The whole response. `date`: headers that the server itself adds; `doublings` of the longest time to wait."""
        documents, waits = self._documents[doublings], self._waits[doublings]
        turn = next(self._turn) % len(documents)
        written = self._page_for(method, target, headers, waits[turn]) or documents[turn]
        if method == b"HEAD":
            written = written[: written.index(b"\r\n\r\n") + 4]
        return b"".join((STATUS_LINE[503], *(b"%b: %b\r\n" % header for header in date), written))

    def document(self, *, date: Sequence[Header], doublings: int = 0) -> bytes:
        """The whole response for a program. `date` is another sequence when what it says is another."""
        known, times, documents = self._dated
        if known is not date or times != doublings:
            first = b"".join((STATUS_LINE[503], *(b"%b: %b\r\n" % header for header in date)))
            documents = [first + written for written in self._documents[doublings]]
            self._dated = date, doublings, documents
        return documents[next(self._turn) % len(documents)]

    def _page_for(self, method: bytes, target: bytes, headers: Sequence[Header], wait_s: int) -> bytes:
        """The page for who asks for one; empty for a program."""
        if self._pages is None or target.startswith(b"/api/"):
            return b""
        accept, cookie, language = b"", b"", b""
        for name, value in headers:
            if name == b"accept":
                accept = accept or value
            elif name == b"cookie":
                cookie = cookie or value
            elif name == b"accept-language":
                language = language or value
        if b"text/html" not in accept:
            return b""
        return self._page(self._pages, self._pages.locale_of(cookie, language), wait_s, method == b"GET")

    def _document(self, wait_s: int) -> bytes:
        body = Overloaded(retry_after_s=wait_s).encoded()
        return self._written(body, wait_s, {b"content-type": b"application/problem+json", b"vary": b"Accept"})

    def _page(self, pages: BusyPages, locale: str, wait_s: int, again: bool) -> bytes:
        made = self._made.get((locale, again, wait_s))
        if made is None:
            own = {
                b"content-type": b"text/html; charset=utf-8",
                b"content-language": locale.replace("_", "-").encode(),
                b"vary": b"Accept, Accept-Language, Cookie",
            }
            made = self._made[locale, again, wait_s] = self._written(pages.make(locale, wait_s, again), wait_s, own)
        return made

    def _written(self, body: bytes, wait_s: int, own: Mapping[bytes, bytes]) -> bytes:
        headers = {
            **dict(self._common),
            **own,
            b"content-length": b"%d" % len(body),
            b"retry-after": b"%d" % wait_s,
            b"cache-control": b"no-store",
        }
        return b"".join(lines_of(list(headers.items())).values()) + b"\r\n" + body


@dataclass(frozen=True, slots=True)
class Entrance:
    """How a server lets requests in: its doors, what each request is worth, and what the refused are told."""

    doors: Doors
    priority_of: PriorityOf
    refusals: Refusals

    def turns_away(self, asked: Asked) -> bool:
        """Whether a program's request is refused, which this counts. No: it has to be looked at closely."""
        priority = self.priority_of(asked.method, asked.target, DEAR)
        return priority < Priority.STAFF and self.doors.turn_away(priority)


def _waits(shortest_s: int, most_s: int) -> range:
    """Times to wait, to the second where that is not too many: who was refused together comes back one by one."""
    return range(shortest_s, most_s + 1, max(1, -(-(most_s - shortest_s) // (MOST_WAITS - 1))))


def may_go_on(headers: Sequence[Header]) -> bool:
    """Whether the connection of a refused request can take another: its body is short, and its length is told."""
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 6 or int(value) > READ_AT_MOST_BYTES:
                return False
        elif name in (b"transfer-encoding", b"expect", b"upgrade"):
            return False
    return True

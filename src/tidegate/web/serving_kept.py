"""Answering from what is kept: in front of the framework when it is there, through `kept_page` when it must be made.

The site's entry point puts `answers` and `visit` (a `Visit`) into `app.state`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.edge.hot import Answer, HotRequest
from tidegate.web.forms import binding_header, binding_of, form_token
from tidegate.web.kept import MARKS, Answers, Gap, Kept, Key, MadeFrom, fill, make_kept
from tidegate.web.locales import request_locale
from tidegate.web.rendering import decimal, environment, inbox_link, iso, render_text
from tidegate.web.session import session_token
from tidegate.web.unread import unread_header

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VISIT_KEY: Final = "tidegate.visit"
TOKEN_HOUR_S: Final = 3_600
"""A browser may show its copy of a page with a form for this long; the form's token lives much longer."""

INBOX_GAP: Final = Markup(MARKS[Gap.INBOX])  # noqa: S704 - a mark of our own

WHO: Final = frozenset({Gap.STRANGERS, Gap.ACCOUNTS, Gap.BUYERS})
HIDDEN: Final = b"hidden"

JSON_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-cache"))


@dataclass(frozen=True, slots=True)
class Visit:
    """What differs for one visitor."""

    keeping: bytes = b""
    """The strip that leads back to what they hold, as HTML."""
    unread: int | None = None
    """How many messages they have not read; None when that was not asked."""
    inbox: bool = True
    """Whether their messages can be shown, as far as that is known; if not, no link leads to them."""
    account: bool | None = False
    """Whether they have signed in to an account; None where that cannot be told."""
    staff: bool = False
    """Whether they may change what is shown; then their answers are made with what is committed now."""


STRANGER = Visit()


@lru_cache(maxsize=16)
def away(locale: str) -> Visit:
    """Anybody, while the database is away: a page says that it may be old."""
    note = environment(locale).get_template("web/away.html").render()
    return Visit(note.strip().encode(), inbox=False, account=None)


LookUp = Callable[[Request], Awaitable[Visit]]
"""Finds out about a visitor with a session; `app.state.visit`."""

Made = tuple["DataclassInstance", MadeFrom]


class ServeKept:
    """Answers GET requests with what is kept, and hands everything else on to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        answers: Answers | None = getattr(scope["app"].state, "answers", None)
        if scope["method"] == "GET" and answers is not None and len(answers):
            request = HotRequest(scope, receive, send)
            key = _key(request)
            kept = answers.at_once(key)
            if kept is not None:
                visit = await _visit(request)
                if not (kept.made_from.strangers_only and session_token(request)):
                    kept = answers.find(key) if visit.staff else kept
                    if kept is not None:
                        exchange_of(scope).route = kept.route
                        await _respond(request, kept, visit)(scope, receive, send)
                        return
        await self._app(scope, receive, send)


async def kept_page(request: Request, template: str, make: Callable[[], Awaitable[Made]], *, route: str) -> Response:
    """A page that may be kept: `make` reads what it shows, with marks where its gaps are."""

    async def build() -> Kept:
        context, made_from = await make()
        text = render_text(
            request, template, context, token=lambda: MARKS[Gap.TOKEN], now=MARKS[Gap.NOW], inbox=INBOX_GAP
        )
        language = request_locale(request).replace("_", "-").encode()
        headers = (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-language", language),
            (b"vary", b"Accept-Language, Cookie"),
        )
        return make_kept(text.encode(), made_from, route=route, headers=headers)

    return await _answered(request, build)


async def kept_answer(
    request: Request,
    make: Callable[[], Awaitable[tuple[bytes, MadeFrom]]],
    *,
    route: str,
    headers: tuple[tuple[bytes, bytes], ...] = JSON_HEADERS,
) -> Response:
    """An answer for programs that may be kept, the same for everyone: `make` reads and writes it."""

    async def build() -> Kept:
        body, made_from = await make()
        return make_kept(body, made_from, route=route, headers=headers)

    return await _answered(request, build)


async def _answered(request: Request, build: Callable[[], Awaitable[Kept]]) -> Response:
    answers: Answers = request.app.state.answers
    visit = await _visit(request)
    kept = await answers.get(_key(request), build, alone=visit.staff)
    return _respond(request, kept, visit)


async def _visit(request: Request) -> Visit:
    """About this visitor. Looked up once per request, and not at all for strangers while the database is there."""
    if session_token(request) is None:
        answers: Answers = request.app.state.answers
        return STRANGER if answers.connected else away(request_locale(request))
    if VISIT_KEY not in request.scope:
        look_up: LookUp = request.app.state.visit
        request.scope[VISIT_KEY] = await look_up(request)
    visit: Visit = request.scope[VISIT_KEY]
    return visit


def _key(request: Request) -> Key:
    path: str = request.scope["path"]
    query: bytes = request.scope.get("query_string", b"")
    return (path, query, "" if path.startswith("/api/") else request_locale(request))


def _respond(request: Request, kept: Kept, visit: Visit) -> Answer:
    answers: Answers = request.app.state.answers
    left = decimal(answers.left_of(kept), request_locale(request)).encode() if Gap.LEFT in kept.gaps else b""
    etag = _etag(request, kept, visit, left)
    headers = [*kept.headers, (b"etag", etag)] if etag else list(kept.headers)
    if visit.unread is not None and (count := unread_header(request, visit.unread)) is not None:
        headers.append(count)
    if etag and _same(request.headers.get("if-none-match", ""), etag.decode()):
        return NotModified(headers)
    values = {Gap.LEFT: left}
    if Gap.NOW in kept.gaps:
        values[Gap.NOW] = iso(datetime.now(UTC)).encode()
        values[Gap.KEEPING] = visit.keeping
    if Gap.INBOX in kept.gaps and visit.inbox:
        values[Gap.INBOX] = inbox_link(request_locale(request)).encode()
    if Gap.TOKEN in kept.gaps:
        values[Gap.TOKEN] = form_token(request).encode()
        if (cookie := binding_header(request)) is not None:
            headers.append(cookie)
    if kept.gaps & WHO:
        values[Gap.STRANGERS] = b"" if visit.account is False else HIDDEN
        values[Gap.ACCOUNTS] = b"" if visit.account else HIDDEN
        values[Gap.BUYERS] = HIDDEN if visit.account is False else b""
    if Gap.RELOAD in kept.gaps:
        values[Gap.RELOAD] = b"%d" % (max(0, ceil(kept.made_from.until_s - time.monotonic())) + 1)
    body = fill(kept, values) if kept.gaps else kept.parts[0]
    assert isinstance(body, bytes)
    return Answer(body, status=200, headers=headers)


class NotModified(Answer):
    """304: the copy that the browser has is still right."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(b"", status=304, headers=[pair for pair in headers if pair[0] != b"content-type"])
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]


def _etag(request: Request, kept: Kept, visit: Visit, left: bytes) -> bytes:
    """Weak, since a page's clock differs (RFC 9110, 8.8.3); empty where only a new answer will do."""
    if kept.ticking:
        return b""
    if visit.inbox and not visit.keeping and not kept.gaps & {Gap.TOKEN, Gap.LEFT, *WHO}:
        return b'W/"%s"' % kept.tag.encode()
    own = hashlib.blake2b(visit.keeping, digest_size=6, person=b"" if visit.inbox else b"no inbox")
    if Gap.TOKEN in kept.gaps:
        own.update(f"{binding_of(request)}\0{int(time.time()) // TOKEN_HOUR_S}".encode())
    if left:
        own.update(b"\0" + left)
    if kept.gaps & WHO:
        own.update(repr(visit.account).encode())
    return f'W/"{kept.tag}-{own.hexdigest()}"'.encode()


def _same(asked: str, etag: str) -> bool:
    """Whether If-None-Match names this tag, compared weakly (RFC 9110, 13.1.2)."""
    if not asked:
        return False
    own = etag.removeprefix("W/")
    return any(each.strip().removeprefix("W/") == own for each in asked.split(",")) or asked.strip() == "*"

"""Every failure becomes one of our problems, every problem one answer: a document for programs, a page for people."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from psycopg import DataError
from redis.exceptions import ConnectionError as ValkeyAway
from redis.exceptions import TimeoutError as ValkeySlow
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.platform.database import OUTAGE
from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.problems import (
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Overloaded,
    Problem,
    TooManyRequests,
    UnsupportedMedia,
)
from tidegate.platform.texts import text as _

log = structlog.get_logger("tidegate.errors")

Check = Callable[[Scope, Mapping[bytes, bytes]], None]
"""Looks at a request's scope and headers and raises a Problem, or lets it pass."""

FAILED_KEY = "tidegate.failed"
"""In the scope: the problem that a layer around the edge met, which the edge answers."""

ErrorPage = Callable[[Request, Problem, str], Response]
"""Makes the page that a person sees: request, problem, request id."""

BY_STATUS: dict[int, type[Problem]] = {
    400: MalformedBody,
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: UnsupportedMedia,
    422: InvalidRequest,
    429: TooManyRequests,
    503: Overloaded,
}

AWAY = (*OUTAGE, ValkeyAway, ValkeySlow)
"""What is raised while a server that we depend on is away."""

NO_BODY_HEADERS = {"vary": "Accept", "cache-control": "no-store"}

MAX_NAMED_ERRORS = 20
"""Most single mistakes that one answer names."""

PLAIN_WORDS = {
    "missing": "This is missing.",
    "extra_forbidden": "This field is not known.",
    "uuid_parsing": "This is not an id.",
    "uuid_type": "This is not an id.",
    "literal_error": "This is not one of the values that can be chosen.",
    "enum": "This is not one of the values that can be chosen.",
}
"""Where the validator's own words would repeat the input, or could be plainer."""


class ErrorAnswers:
    """Turns exceptions into answers; `page` makes those for people."""

    def __init__(self, page: ErrorPage | None = None) -> None:
        self._page = page

    def install(self, app: FastAPI) -> None:
        """Let the app answer its failures with these answers."""
        for kind in (HTTPException, RequestValidationError, Problem, DataError, ClientDisconnect, *AWAY, Exception):
            app.add_exception_handler(kind, self.handle)

    async def handle(self, request: Request, error: Exception) -> Response:
        """The answer to a failed request."""
        problem = problem_of(error)
        if isinstance(error, (*AWAY, DataError)):
            log.warning("request_failed", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
        exchange = exchange_of(request.scope)
        if isinstance(problem, NotFound) and exchange.hot_methods and isinstance(error, HTTPException):
            problem = MethodNotAllowed()
        response = self._render(request, problem, exchange.request_id)
        if isinstance(problem, MethodNotAllowed):
            response.headers["allow"] = ", ".join(sorted(_allowed(error) | exchange.hot_methods))
        return response

    def _render(self, request: Request, problem: Problem, request_id: str) -> Response:
        if not wants_page(request.scope):
            return problem_response(problem, request_id=request_id)
        response = self._page_or_plain(request, problem, request_id)
        _add_headers(response, problem)
        return response

    def _page_or_plain(self, request: Request, problem: Problem, request_id: str) -> Response:
        if self._page is not None:
            try:
                return self._page(request, problem, request_id)
            except Exception as error:  # an error page that fails must not hide the error
                log.error("error_page_failed", exc_info=error)
        title, detail = html.escape(problem.title), html.escape(problem.detail)
        return HTMLResponse(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            f"<h1>{title}</h1><p>{detail}</p><p>Request {html.escape(request_id)}</p>",
            status_code=problem.status,
        )


class ErrorBoundary:
    """Nothing passes: what the app did not answer itself is answered here, and bugs are logged, once.

    `checks` look at a request's head before anything is done for it.
    """

    def __init__(self, app: ASGIApp, *, answers: ErrorAnswers, checks: Sequence[Check] = ()) -> None:
        self._app = app
        self._answers = answers
        self._checks = tuple(checks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        exchange = exchange_of(scope)
        try:
            for check in self._checks:
                check(scope, exchange.headers)
            await self._app(scope, receive, send)
        except Exception as error:
            if isinstance(problem_of(error), InternalError):
                log.error("unhandled_error", route=exchange.route or None, exc_info=error)
            if not exchange.status:
                response = await self._answers.handle(Request(scope, receive), error)
                await response(scope, receive, send)
            elif not exchange.complete:
                # The status line has left: only a cut connection can still tell that this answer is not whole.
                raise ConnectionAbortedError("a response failed after it had started") from None


def raise_failed(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """A `Check`. Raises: the problem that a layer around the edge met."""
    if isinstance(problem := scope.get(FAILED_KEY), Problem):
        raise problem


def problem_of(error: Exception) -> Problem:
    """The problem that an exception stands for; bugs become InternalError."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _from_validation(error)
    if isinstance(error, HTTPException):
        fallback = InternalError if error.status_code >= 500 else MalformedBody
        return BY_STATUS.get(error.status_code, fallback)()
    if isinstance(error, AWAY):
        return Overloaded()
    if isinstance(error, DataError):
        return InvalidRequest(_("A value in this request cannot be stored. Nothing was changed."))
    if isinstance(error, ClientDisconnect):
        return MalformedBody()
    return InternalError()


def problem_response(problem: Problem, *, request_id: str = "") -> Response:
    """The problem as a document (RFC 9457)."""
    members = {"request_id": request_id} if request_id and problem.status >= 500 else {}
    response = Response(
        problem.encoded(**members),
        status_code=problem.status,
        media_type="application/problem+json",
    )
    _add_headers(response, problem)
    return response


def invalid_fields(errors: Sequence[tuple[str, str]], *, kind: type[InvalidRequest] = InvalidRequest) -> InvalidRequest:
    """The problem for fields that are wrong: pairs of a field's path (`lines[0].sku`) and what is wrong with it."""
    named = [{"field": field[:200], "message": message} for field, message in errors[:MAX_NAMED_ERRORS]]
    return kind(_("Some fields are missing or wrong. Nothing was changed."), errors=named)


def wants_page(scope: Scope) -> bool:
    """Whether a person is asking: a browser, outside the API."""
    if scope["path"].startswith("/api/"):
        return False
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _add_headers(response: Response, problem: Problem) -> None:
    response.headers["cache-control"] = NO_BODY_HEADERS["cache-control"]
    response.headers.append("vary", NO_BODY_HEADERS["vary"])
    if problem.retry_after_s is not None:
        response.headers["retry-after"] = str(problem.retry_after_s)
    if problem.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if problem.status in (413, 431):
        response.headers["connection"] = "close"  # the rest of the request is not worth reading


def _allowed(error: Exception) -> frozenset[str]:
    headers: Mapping[str, str] = (isinstance(error, HTTPException) and error.headers) or {}
    return frozenset(method.strip() for method in headers.get("Allow", "").split(",") if method.strip())


def _from_validation(error: RequestValidationError) -> Problem:
    errors: Sequence[Any] = error.errors()
    if any(item["type"] == "json_invalid" for item in errors):
        return MalformedBody("The body is not JSON. Nothing was changed.")
    if any(item["loc"] == ("body",) and item["type"] != "missing" for item in errors):
        return MalformedBody("The body is not the JSON object that this address takes. Nothing was changed.")
    return invalid_fields([(_field(item["loc"]), _message(item)) for item in errors])


def _field(location: Sequence[int | str]) -> str:
    """`("body", "lines", 0, "sku")` -> `lines[0].sku`."""
    text = ""
    for part in location[1:] or location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _message(item: Mapping[str, Any]) -> str:
    if item["type"] in PLAIN_WORDS:
        return PLAIN_WORDS[item["type"]]
    message = str(item["msg"]).removeprefix("Value error, ")
    return message if message.endswith(".") else message + "."

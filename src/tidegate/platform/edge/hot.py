"""Hot routes: plain handlers with msgspec bodies, served before FastAPI and still in its OpenAPI document.

A module's `http.py` declares them, and the site puts them first:

    IDEMPOTENCY_KEY = HeaderParameter("Idempotency-Key", "Any text of up to 255 characters, new for each purchase.")

    class HoldBody(msgspec.Struct, frozen=True):
        lines: Annotated[list[LineBody], msgspec.Meta(min_length=1, max_length=50)]
        drop: str | None = None

    @hot_route(
        "POST", "/api/v1/holds", body=HoldBody, returns=(201, HoldAnswer), problems=(SoldOut, NotOpen),
        headers=(IDEMPOTENCY_KEY,), signed_in=True, tag="checkout",
    )
    async def post_hold(request: Request, body: HoldBody) -> Response:
        \"\"\"Take stock out of sale for some minutes.\"\"\"
        shop: Shop = request.app.state.shop
        ...
        return answer(HoldAnswer(...), status=201)

    @hot_route("GET", "/api/v1/holds/{hold_id}", returns=(200, HoldAnswer), problems=(HoldExpired,), tag="checkout")
    async def get_hold(request: Request) -> Response:
        hold_id = request.path_params["hold_id"]  # a text, not yet an id
        ...

    ROUTES = (post_hold, get_hold)

Types are strict (no "5" for 5); unknown fields are ignored, so that clients may be newer than the shop.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Any, TypeVar, overload

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.platform.edge.errors import invalid_fields
from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.problems import InvalidRequest, MalformedBody, Problem, UnsupportedMedia

T = TypeVar("T")
BodyHandler = Callable[[Request, T], Awaitable[Response]]
PlainHandler = Callable[[Request], Awaitable[Response]]
KindOf = Callable[[str, str], type[InvalidRequest]]
"""What kind of problem a wrong field of a body is, by the field (`lines[0].sku`) and what is wrong with it."""

AT_PATH = re.compile(r" - at `(?P<key>key in )?\$(?P<path>[^`]*)`$")
MISSING_FIELD = re.compile(r"^Object missing required field `(?P<name>[^`]+)`")
OWN_WORDS = re.compile(r"^(Expected |Object missing required field|Object contains unknown field)")
"""Messages of msgspec that consist of our schema only; others repeat what was sent."""


@dataclass(frozen=True, slots=True)
class HeaderParameter:
    """A header that a route reads, for the document."""

    name: str
    description: str
    required: bool = False
    pattern: str = ""
    """Regular expression (ECMA-262) that its values fit, where there is one."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where an answer leads: an operation, and its parameters or body as runtime expressions (OpenAPI's links)."""

    operation: str
    description: str
    parameters: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The link object."""
        found: dict[str, Any] = {"operationId": self.operation, "description": self.description}
        if self.parameters:
            found["parameters"] = dict(self.parameters)
        if self.body:
            found["requestBody"] = dict(self.body)
        return found


@dataclass(frozen=True, slots=True)
class HotRoute:
    """One method at one address, and all that its documentation says."""

    method: str
    path: str
    endpoint: Callable[..., Awaitable[Response]]
    body: Any
    returns: tuple[int, Any]
    accepted: str
    problems: tuple[type[Problem], ...]
    headers: tuple[HeaderParameter, ...]
    signed_in: bool
    tag: str
    links: tuple[Link, ...]
    decoder: msgspec.json.Decoder[Any] | None
    kind_of: KindOf


class _Declare:
    """What `hot_route` returns: turns a handler into a HotRoute."""

    def __init__(self, **declared: Any) -> None:
        self._declared = declared

    def __call__(self, endpoint: Callable[..., Awaitable[Response]]) -> HotRoute:
        body = self._declared["body"]
        decoder = None if body is None else msgspec.json.Decoder(body)
        return HotRoute(endpoint=endpoint, decoder=decoder, **self._declared)


@overload
def hot_route(
    method: str,
    path: str,
    *,
    body: type[T],
    returns: tuple[int, Any],
    accepted: str = "",
    problems: Sequence[type[Problem]] = (),
    kind_of: KindOf = ...,
    headers: Sequence[HeaderParameter] = (),
    signed_in: bool = False,
    tag: str,
    links: Sequence[Link] = (),
) -> Callable[[BodyHandler[T]], HotRoute]: ...


@overload
def hot_route(
    method: str,
    path: str,
    *,
    returns: tuple[int, Any],
    accepted: str = "",
    problems: Sequence[type[Problem]] = (),
    headers: Sequence[HeaderParameter] = (),
    signed_in: bool = False,
    tag: str,
    links: Sequence[Link] = (),
) -> Callable[[PlainHandler], HotRoute]: ...


def hot_route(
    method: str,
    path: str,
    *,
    returns: tuple[int, Any],
    tag: str,
    body: Any = None,
    accepted: str = "",
    problems: Sequence[type[Problem]] = (),
    kind_of: KindOf = lambda field, words: InvalidRequest,
    headers: Sequence[HeaderParameter] = (),
    signed_in: bool = False,
    links: Sequence[Link] = (),
) -> Any:
    """Declare a hot route; the module's docstring shows how. `returns` is a status and a msgspec type or None.

    `accepted` says what a 202 with the same body means, where there is one; `kind_of` names what is wrong with a body.
    """
    return _Declare(
        method=method.upper(),
        path=path,
        body=body,
        returns=returns,
        accepted=accepted,
        problems=tuple(problems),
        kind_of=kind_of,
        headers=tuple(headers),
        signed_in=signed_in,
        tag=tag,
        links=tuple(links),
    )


class Answer(Response):
    """A response whose body and headers are complete, sent as they are. `headers` must be names in small letters."""

    def __init__(self, body: bytes, *, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status_code = status
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


JSON_HEADERS = ((b"content-type", b"application/json"),)


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; dataclasses, structs, UUIDs and times are written as msgspec writes them.

    Like every answer below /api/ it is not kept by caches unless `headers` say otherwise.
    """
    pairs: Sequence[tuple[bytes, bytes]] = JSON_HEADERS
    if headers:
        own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        pairs = own if any(name == b"content-type" for name, _ in own) else [*JSON_HEADERS, *own]
    return Answer(msgspec.json.encode(value), status=status, headers=pairs)


class _HeadersByName(Headers):
    """A request's headers, found without a search through all of them."""

    def __init__(self, raw: list[tuple[bytes, bytes]], first: Mapping[bytes, bytes]) -> None:
        self._list = raw
        self._first = first

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower().encode("latin-1")].decode("latin-1")

    def get(self, key: str, default: Any = None) -> Any:
        """The first header of this name."""
        value = self._first.get(key.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")


class HotRequest(Request):
    """A request as hot routes get it: the same to its handler, with less work behind it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self._headers = _HeadersByName(scope["headers"], exchange_of(scope).headers)

    async def body(self) -> bytes:
        """The whole body. Raises: ClientDisconnect."""
        if not hasattr(self, "_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._is_disconnected = True
                raise ClientDisconnect()
            whole = message.get("body", b"")
            if message.get("more_body", False):
                whole = b"".join([whole, *[part async for part in self.stream()]])
            self._stream_consumed = True
            self._body = whole
        return self._body


async def read_body(request: Request, decoder: msgspec.json.Decoder[T], *, kind_of: KindOf) -> T:
    """The body as `decoder`'s type. Raises: UnsupportedMedia, MalformedBody, InvalidRequest (with its fields)."""
    media = request.headers.get("content-type", "")
    if media != "application/json" and not _is_json(media):
        raise UnsupportedMedia("Send the body as application/json.")
    raw = await request.body()
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        field, words = explain(str(error))
        raise invalid_fields([(field, words)], kind=kind_of(field, words)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBody("The body is not JSON. Nothing was changed.") from None


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))


def explain(message: str) -> tuple[str, str]:
    """A sentence of msgspec as (field, what is wrong): ``Expected `int`, got `str` - at `$.lines[0].quantity` ``."""
    field = ""
    if (place := AT_PATH.search(message)) is not None:
        field = place["path"].lstrip(".").replace("[...]", "[]")
        message = message[: place.start()]
    if (missing := MISSING_FIELD.match(message)) is not None:
        return f"{field}.{missing['name']}".lstrip("."), "This is missing."
    if OWN_WORDS.match(message) is None:
        message = "This value cannot be used"
    return field, message + "."


class HotRoutes:
    """Serves hot routes itself and hands everything else on to `app`, whose state their handlers see."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[HotRoute]) -> None:
        self._app = app
        self._exact = {(route.method, route.path): route for route in routes if "{" not in route.path}
        self._shaped = [(_pattern(route.path), route) for route in routes if "{" in route.path]
        self._methods: dict[str, frozenset[str]] = {}
        for route in routes:
            self._methods[route.path] = self._methods.get(route.path, frozenset()) | {route.method}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        path: str = scope["path"]
        method: str = scope["method"]
        route = self._exact.get((method, path))
        params: dict[str, str] = {}
        if route is None:
            route, params = self._match_shape(scope, method, path)
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        scope["path_params"] = params
        exchange_of(scope).route = route.path
        request = HotRequest(scope, receive, send)
        if route.decoder is None:
            response = await route.endpoint(request)
        else:
            response = await route.endpoint(request, await read_body(request, route.decoder, kind_of=route.kind_of))
        await response(scope, receive, send)

    def _match_shape(self, scope: Scope, method: str, path: str) -> tuple[HotRoute | None, dict[str, str]]:
        """The route with parameters that fits; else notes which methods this address would take."""
        methods = self._methods.get(path, frozenset())
        for pattern, route in self._shaped:
            if (match := pattern.match(path)) is not None:
                if route.method == method:
                    return route, match.groupdict()
                methods |= {route.method}
        if methods:
            exchange_of(scope).hot_methods = methods
        return None, {}


def _pattern(path: str) -> Pattern[str]:
    return compile_path(path)[0]

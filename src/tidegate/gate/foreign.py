"""The gate in front of any site: ASGI and WSGI middleware that lets through whoever shows a pass, and sends the others
to the waiting room.

    guard = Guard(keys=partial(fetch_keys, "https://shop.example"), drop=DROP_ID, room="https://shop.example/drops/lamp")
    app = AsgiGuard(app, guard, paths=("/buy",))          # FastAPI, Starlette, Django (ASGI), ...
    app.wsgi_app = WsgiGuard(app.wsgi_app, guard, paths=("/buy",))     # Flask, Django (WSGI), ...

A pass is verified offline: the gate is asked for its public keys only, now and then. It comes in the header
`Tidegate-Pass`, or once in the address as the room sends people back (`?tidegate_pass=`); then it is put into a cookie
and taken out of the address. What it says is in `scope["tidegate.pass"]` or `environ["tidegate.pass"]`: that one is
spent once is the site's to enforce, by keeping `place_id` with what it sold, unique.

With `who`, which tells who is signed in, the room gives one place to each of the site's accounts, and a pass is good
for its own account only. With a `Desk` the site says what it has left and which passes were spent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tidegate.gate.contracts import Pass
from tidegate.gate.passes import HEADER, PassReader, key_of
from tidegate.gate.shop_words import REPORT, VISITOR, ShopKey
from tidegate.platform.ids import DropId

COOKIE = "tidegate_pass"
PARAMETER = "tidegate_pass"
RETURN_TO = "return_to"
VISITOR_PARAMETER = "visitor"
PASS_KEY = "tidegate.pass"  # noqa: S105 - a name, not a secret

KEYS_PATH = "/api/v1/gate/keys"
MAX_KEYS_BYTES = 100_000
POLICY_VIOLATION = 1008
"""Why a web socket is closed (RFC 6455, 7.4.1)."""

Keys = Callable[[], Mapping[str, str]]
"""Where public keys come from: by their ids, base64 for URLs."""

Start = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], Start], Iterable[bytes]]
Who = Callable[[dict[str, Any]], str | None]
"""Who is signed in, as the site names its accounts, by a request's `scope` or `environ`; None for strangers."""

AsgiApp = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def fetch_keys(gate: str, *, timeout_s: float = 3.0) -> dict[str, str]:
    """The public keys of the gate at an address such as `https://shop.example`. Raises: OSError, ValueError."""
    if not gate.startswith(("https://", "http://")):
        raise ValueError("the gate's address begins with https://")
    with urllib.request.urlopen(gate.rstrip("/") + KEYS_PATH, timeout=timeout_s) as answer:  # noqa: S310 - checked above
        document = json.loads(answer.read(MAX_KEYS_BYTES))
    return {str(each["kid"]): str(each["x"]) for each in document["keys"]}


@dataclass(slots=True)
class Guard:
    """Who may pass. `drop` is the drop's id, `room` the address of its waiting room.

    `keys` is asked again when a pass names an unknown key, and every `keep_s` seconds, so that a retired key is good no
    longer; at most every `again_s` seconds. While it fails, the keys that were known stay.

    `key` is what `tidegate room create` printed, with which the site vouches for whom `who` names. A pass is then good
    for the account only for which it was given.
    """

    keys: Keys
    drop: DropId
    room: str
    key: str = ""
    who: Who | None = None
    keep_s: float = 300.0
    again_s: float = 5.0
    now_s: Callable[[], float] = time.time
    _reader: PassReader = field(default_factory=lambda: PassReader({}))
    _known: frozenset[str] = frozenset()
    _asked_s: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _shop: ShopKey | None = None

    def __post_init__(self) -> None:
        """Raises: ValueError for a wrong key, or none where people are to be vouched for."""
        if self.key or self.who is not None:
            self._shop = ShopKey(self.key)

    def wants_keys(self, token: str) -> bool:
        """Whether `renew` should be called before `admit`; never for what is no pass, which is good with no key."""
        named = key_of(token)
        if named is None:
            return False
        age_s = time.monotonic() - self._asked_s
        return age_s >= self.keep_s or (age_s >= self.again_s and named not in self._known)

    def renew(self) -> None:
        """Ask for the keys; blocks for as long as `keys` does."""
        with self._lock:
            self._asked_s = time.monotonic()
            try:
                found = self.keys()
                public = {kid: Ed25519PublicKey.from_public_bytes(_raw(text)) for kid, text in found.items()}
            except (OSError, ValueError, KeyError, TypeError):
                return
            if public.keys() != self._known:
                self._known, self._reader = frozenset(public), PassReader(public)

    def asks(self, around: dict[str, Any]) -> str | None:
        """Who asks, by the request's `scope` or `environ`."""
        return None if self.who is None else self.who(around)

    def admit(self, token: str, who: str | None = None) -> Pass | None:
        """What the pass says, when it is good here and now, and `who` is whom it was given to."""
        held = self._reader.read(token)
        if held is None or held.drop_id != self.drop or held.ends_s <= self.now_s():
            return None
        if self.who is not None and (who is None or self._shop is None or self._shop.buyer_id(who) != held.buyer_id):
            return None
        return held

    def way_to_room(self, address: str, who: str | None = None) -> str:
        """The room's address, from which people come back to `address`; `who` they are is said under a pseudonym."""
        query = {RETURN_TO: address}
        if self._shop is not None and who is not None:
            query[VISITOR_PARAMETER] = self._shop.say(VISITOR, drop=self.drop, now_s=self.now_s(), who=who)
        return f"{self.room}{'&' if '?' in self.room else '?'}{urlencode(query, quote_via=quote, safe='')}"


@dataclass(slots=True)
class Desk:
    """Says to the gate at the address `gate` what the site has; `slug` is the room's, `key` the site's own.

    Call `report` about once a second while the room is open, from a thread or a job of the site.
    """

    gate: str
    slug: str
    drop: DropId
    key: str
    timeout_s: float = 5.0
    now_s: Callable[[], float] = time.time
    _shop: ShopKey = field(init=False)

    def __post_init__(self) -> None:
        """Raises: ValueError for a wrong key or address."""
        self._shop = ShopKey(self.key)
        if not self.gate.startswith(("https://", "http://")):
            raise ValueError("the gate's address begins with https://")

    def report(
        self,
        *,
        left: int,
        held: int = 0,
        sold: int = 0,
        spent: Mapping[Any, int] | None = None,
        p99_ms: float | None = None,
    ) -> list[str]:
        """Items that nobody has, those in baskets, those sold; `spent`: items by the `place_id` of passes that bought.

        Returns places that the gate does not know. Saying the same again does no harm, so a report that failed is
        repeated with the next. Raises: OSError when the gate does not answer or refuses.
        """
        body = {
            "left": left,
            "held": held,
            "sold": sold,
            "p99_ms": p99_ms,
            "spent": [{"place": str(place), "items": items} for place, items in (spent or {}).items()],
        }
        request = urllib.request.Request(  # noqa: S310 - checked above
            f"{self.gate.rstrip('/')}/api/v1/drops/{quote(self.slug)}/goods",
            data=json.dumps(body).encode(),
            method="PUT",
            headers={
                "content-type": "application/json",
                "authorization": f"Bearer {self._shop.say(REPORT, drop=self.drop, now_s=self.now_s())}",
            },
        )
        with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:  # noqa: S310 - checked above
            unknown: list[str] = json.loads(answer.read(MAX_KEYS_BYTES))["unknown"]
        return unknown


@dataclass(frozen=True, slots=True)
class _Visit:
    """A request as both kinds of middleware see it. `address` is the whole of it, `query` its raw query."""

    method: str
    path: str
    query: str
    address: str
    cookies: str
    header: str
    secure: bool
    who: str | None

    def token(self) -> tuple[str, bool]:
        """The pass that was sent, and whether it stands in the address."""
        named = [value for name, value in parse_qsl(self.query, keep_blank_values=True) if name == PARAMETER]
        if named:
            return named[0], True
        if self.header:
            return self.header, False
        try:
            morsel = SimpleCookie(self.cookies).get(COOKIE)
        except CookieError:
            morsel = None
        return (morsel.value if morsel else ""), False

    def without_token(self) -> str:
        """The path and the query without the pass."""
        kept = [(name, value) for name, value in parse_qsl(self.query, keep_blank_values=True) if name != PARAMETER]
        return quote(self.path) + (f"?{urlencode(kept)}" if kept else "")


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""


def _decide(guard: Guard, visit: _Visit) -> Pass | _Reply:
    """Let somebody through, or answer them."""
    token, in_address = visit.token()
    held = guard.admit(token, visit.who) if token else None
    if held is not None and not in_address:
        return held
    if held is not None and visit.method in ("GET", "HEAD"):
        age_s = max(int(held.ends_s - guard.now_s()), 0)
        secure = "; Secure" if visit.secure else ""
        cookie = f"{COOKIE}={token}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}"
        return _Reply(303, "See Other", [("location", _own(visit.without_token())), ("set-cookie", cookie), *UNKEPT])
    if held is not None:
        return held
    if visit.method in ("GET", "HEAD"):
        address = visit.address.partition("?")[0] + _query_of(visit.without_token())
        return _Reply(303, "See Other", [("location", guard.way_to_room(address, visit.who)), *UNKEPT])
    problem = {
        "type": "about:blank",
        "title": "Pass required",
        "status": 403,
        "detail": "Whoever comes here waits in a room first. Join it, and come back when it is your turn.",
        "room": guard.room,
    }
    headers = [("content-type", "application/problem+json"), *UNKEPT]
    return _Reply(403, "Forbidden", headers, json.dumps(problem).encode())


UNKEPT = [("cache-control", "no-store"), ("referrer-policy", "no-referrer")]


class AsgiGuard:
    """ASGI middleware: requests to `paths` and what lies below them need a pass; all do when none are named.

    So do web sockets. One without a pass is closed before it is accepted, to which servers answer 403.
    """

    def __init__(self, app: AsgiApp, guard: Guard, *, paths: Sequence[str] = ("/",)) -> None:
        self._app, self._guard, self._paths = app, guard, tuple(paths)

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Pass on, or answer."""
        if scope["type"] not in ("http", "websocket") or not _below(scope["path"], self._paths):
            await self._app(scope, receive, send)
            return
        visit = _asgi_visit(scope, self._guard.asks(scope))
        token, _ = visit.token()
        if self._guard.wants_keys(token):
            await asyncio.to_thread(self._guard.renew)
        socket = scope["type"] == "websocket"
        decided = self._guard.admit(token, visit.who) if socket else _decide(self._guard, visit)
        if isinstance(decided, Pass):
            await self._app({**scope, PASS_KEY: decided}, receive, send)
            return
        if decided is None:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "Pass required"})
            return
        headers = [(name.encode(), value.encode("latin-1")) for name, value in decided.headers]
        headers.append((b"content-length", str(len(decided.body)).encode()))
        await send({"type": "http.response.start", "status": decided.status, "headers": headers})
        await send({"type": "http.response.body", "body": decided.body})


class WsgiGuard:
    """WSGI middleware: the same for sites of the older kind."""

    def __init__(self, app: WsgiApp, guard: Guard, *, paths: Sequence[str] = ("/",)) -> None:
        self._app, self._guard, self._paths = app, guard, tuple(paths)

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        """Pass on, or answer."""
        if not _below(_wsgi_path(environ), self._paths):
            return self._app(environ, start_response)
        visit = _wsgi_visit(environ, self._guard.asks(environ))
        if self._guard.wants_keys(visit.token()[0]):
            self._guard.renew()
        decided = _decide(self._guard, visit)
        if isinstance(decided, Pass):
            environ[PASS_KEY] = decided
            return self._app(environ, start_response)
        headers = [*decided.headers, ("content-length", str(len(decided.body)))]
        start_response(f"{decided.status} {decided.reason}", headers)
        return [decided.body]


def _asgi_visit(scope: dict[str, Any], who: str | None) -> _Visit:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    scheme, path = scope.get("scheme", "http"), scope["path"]
    address = f"{scheme}://{headers.get('host', '')}{quote(path)}{'?' + query if query else ''}"
    return _Visit(
        method=scope.get("method", "GET"),  # a web socket has none
        path=path,
        query=query,
        address=address,
        cookies=headers.get("cookie", ""),
        header=headers.get(HEADER.lower(), ""),
        secure=scheme == "https",
        who=who,
    )


def _wsgi_visit(environ: dict[str, Any], who: str | None) -> _Visit:
    query = environ.get("QUERY_STRING", "")
    scheme = environ.get("wsgi.url_scheme", "http")
    path = _wsgi_path(environ)
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
    return _Visit(
        method=environ.get("REQUEST_METHOD", "GET"),
        path=path,
        query=query,
        address=f"{scheme}://{host}{quote(path)}{'?' + query if query else ''}",
        cookies=environ.get("HTTP_COOKIE", ""),
        header=environ.get("HTTP_TIDEGATE_PASS", ""),
        secure=scheme == "https",
        who=who,
    )


def _wsgi_path(environ: dict[str, Any]) -> str:
    spelled = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return str(spelled).encode("latin-1", "replace").decode("utf-8", "replace")


def _below(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _own(path: str) -> str:
    """A path of this site: one that begins with two slashes would lead to another."""
    return "/" + path.lstrip("/")


def _query_of(path: str) -> str:
    query = path.partition("?")[2]
    return f"?{query}" if query else ""


def _raw(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

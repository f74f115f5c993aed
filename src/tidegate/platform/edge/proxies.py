"""Behind a reverse proxy the client is who the proxy says, if we trust that proxy; otherwise who connected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.platform.problems import StartupError

MAX_HOPS = 20
"""Most entries of X-Forwarded-For that are looked at, from the nearest."""

TRUSTED_KEY = "tidegate.trusted_peer"
"""In the scope: whether the peer that connected is a trusted proxy."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class TrustedProxies:
    """Take the client's address and the scheme from X-Forwarded-For and -Proto, of configured networks only."""

    def __init__(self, app: ASGIApp, *, networks: Sequence[str]) -> None:
        self._app = app
        self._networks = _parse(networks)
        self._trusted = lru_cache(maxsize=4_096)(self._is_trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope.get("client") and self._trusted(scope["client"][0]):
            scope = dict(scope)
            scope[TRUSTED_KEY] = True
            self._apply(scope)
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope) -> None:
        chain: list[str] = []
        scheme = ""
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                chain += value.decode("latin-1").split(",")
            elif name == b"x-forwarded-proto":
                scheme = value.decode("latin-1").rsplit(",", 1)[-1].strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        client = self._first_stranger([hop.strip() for hop in chain[-MAX_HOPS:]])
        if client:
            scope["client"] = (client, 0)

    def _first_stranger(self, chain: list[str]) -> str:
        """The hop nearest to us that is no trusted proxy: everything beyond it is the client's own word."""
        known = ""
        for hop in reversed(chain):
            address = _address(hop)
            if not address:
                return known
            known = address
            if not self._trusted(address):
                return address
        return known

    def _is_trusted(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def incoming_request_id(scope: Scope) -> str | None:
    """The X-Request-ID that a trusted proxy sent, if it is well formed."""
    if not scope.get(TRUSTED_KEY):
        return None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode("ascii") if REQUEST_ID.fullmatch(value) else None
    return None


def _address(hop: str) -> str:
    """The bare IP address of a hop (`1.2.3.4`, `1.2.3.4:567`, `[::1]:567`), or nothing."""
    bare = hop.removeprefix("[").partition("]")[0] if hop.startswith("[") else hop
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return ""


def _parse(networks: Sequence[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(text.strip(), strict=False) for text in networks)
    except ValueError as error:
        raise StartupError(f"TIDEGATE_HTTP__TRUSTED_PROXIES: {error}") from None

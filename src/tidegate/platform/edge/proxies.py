"""Behind a reverse proxy the client is who the proxy says, if we trust that proxy; otherwise who connected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from socket import AF_INET, inet_pton

from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.platform.problems import StartupError

MAX_HOPS = 20
"""Most entries of X-Forwarded-For that are looked at, from the nearest."""

KNOWN_PEERS, KNOWN_CHAINS = 4_096, 16_384
"""Addresses, and values of X-Forwarded-For, whose meaning is remembered: clients come again."""

TRUSTED_KEY = "tidegate.trusted_peer"
"""In the scope: whether the peer that connected is a trusted proxy."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class ProxyList:
    """The networks of our own proxies, and whom they say that a request comes from."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Raises: StartupError for what is no network."""
        self._networks = _parse(networks)
        self._masks = [
            (int(each.netmask), int(each.network_address)) for each in self._networks if isinstance(each, IPv4Network)
        ]
        self.trusts = lru_cache(maxsize=KNOWN_PEERS)(self._trusts)
        self._client_of_chain = lru_cache(maxsize=KNOWN_CHAINS)(self._find_client)

    def client_of(self, chains: Sequence[bytes]) -> str:
        """The client's address by all X-Forwarded-For headers of a request from a trusted peer; "" if none is told."""
        return self._client_of_chain(b",".join(chains)) if chains else ""

    def _find_client(self, chain: bytes) -> str:
        """The hop nearest to us that is no trusted proxy: everything beyond it is the client's own word."""
        known = ""
        for hop in reversed(chain.decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            address = _address(hop.strip())
            if not address:
                return known
            known = address
            if not self.trusts(address):
                return address
        return known

    def _trusts(self, host: str) -> bool:
        """Whether somebody who connects from this address is a proxy of ours."""
        try:
            number = int.from_bytes(inet_pton(AF_INET, host))  # a fourth of what the general way costs
        except (OSError, ValueError):
            return self._trusts_any(host)
        return any(number & mask == network for mask, network in self._masks)

    def _trusts_any(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class TrustedProxies:
    """Take the client's address and the scheme from X-Forwarded-For and -Proto, of configured networks only."""

    def __init__(self, app: ASGIApp, *, networks: Sequence[str]) -> None:
        self._app = app
        self._proxies = ProxyList(networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope.get("client") and self._proxies.trusts(scope["client"][0]):
            scope = dict(scope)
            scope[TRUSTED_KEY] = True
            self._apply(scope)
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope) -> None:
        chains: list[bytes] = []
        scheme = ""
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                chains.append(value)
            elif name == b"x-forwarded-proto":
                scheme = value.decode("latin-1").rsplit(",", 1)[-1].strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        client = self._proxies.client_of(chains)
        if client:
            scope["client"] = (client, 0)


def incoming_request_id(scope: Scope) -> str | None:
    """The X-Request-ID that a trusted proxy sent, if it is well formed."""
    if not scope.get(TRUSTED_KEY):
        return None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return good_request_id(value)
    return None


def good_request_id(value: bytes) -> str | None:
    """A request id as a proxy may make one, or None."""
    return value.decode("ascii") if REQUEST_ID.fullmatch(value) else None


def _address(hop: str) -> str:
    """The bare IP address of a hop (`1.2.3.4`, `1.2.3.4:567`, `[::1]:567`), or nothing."""
    try:
        inet_pton(AF_INET, hop)
    except (OSError, ValueError):
        return _any_address(hop)
    return hop


def _any_address(hop: str) -> str:
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

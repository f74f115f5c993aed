"""Which hosts webhooks may be sent to: addresses on the public internet, and what the settings allow besides.

A host's name is resolved once before each round of calls. All its addresses must be public, and the calls then go to
just these addresses: a name that leads elsewhere a moment later (DNS rebinding) leads nobody anywhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final
from urllib.parse import urlsplit

from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_URL: Final = 500

HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
"""A host's name or address, in which no two programs see different ones."""

NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
"""Special-purpose networks (IANA's registries): private, loopback, link-local, carriers', multicast, tunnels."""

GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is public lies in here; IPv4 written as IPv6 does not."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and a port to its addresses. Raises: OSError."""


class AddressRefused(Exception):
    """The host is not on the public internet."""


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the internet could reach."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.version == 6 and parsed not in GLOBAL_UNICAST:
        return False
    return not any(parsed in network for network in NOT_PUBLIC)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the system knows them. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


async def find_addresses(url: str, *, allowed: Collection[str], resolve: Resolve, timeout_s: float) -> Sequence[str]:
    """The addresses that `url` may be called at, in order.

    Raises: AddressRefused when one of them is not public and the host is not `allowed`; OSError when there are none.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await resolve(host, port)
    except UnicodeError:
        raise OSError("this is no host's name") from None
    if not addresses:
        raise OSError("the host has no address")
    if host not in {each.lower() for each in allowed} and not all(is_public(each) for each in addresses):
        raise AddressRefused("the host is not on the public internet")
    return addresses


def checked_url(text: str) -> str:
    """An address that webhooks can be sent to, as it was typed. Raises: InvalidRequest."""
    url = text.strip()
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or port == 0
        or len(url) > MAX_URL
        or not url.isascii()
        or not url.isprintable()
        or not HOST.fullmatch(parts.hostname)
        or set(url) & set(' "<>\\^`{|}')
        or not url.startswith(("http://", "https://"))
    ):
        raise InvalidRequest(_("Type an address that begins with https:// and a host, in plain letters."), field="url")
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest(_("Leave out user and password: webhooks are signed instead."), field="url")
    if parts.fragment:
        raise InvalidRequest(_("Leave out what follows the #: it is never sent."), field="url")
    return url


async def check_reachable(url: str, *, allowed: Collection[str], resolve: Resolve, timeout_s: float) -> None:
    """Refuse an address that could not be called. Raises: InvalidRequest."""
    try:
        await find_addresses(url, allowed=allowed, resolve=resolve, timeout_s=timeout_s)
    except AddressRefused:
        raise InvalidRequest(
            _("This host is not on the public internet. Webhooks only go to hosts that anybody can reach."), field="url"
        ) from None
    except OSError:
        raise InvalidRequest(_("This host is not known. Check how its name is written."), field="url") from None

"""Which host names requests may carry: links, redirects and caches must never be made for somebody else's name."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Scope

from tidegate.platform.problems import UnknownHost
from tidegate.platform.settings import Settings

PROBE_PATHS = frozenset({"/livez", "/readyz"})
"""Asked by orchestrators under the address of the machine."""

MAX_KNOWN = 256
"""Host headers that were let pass, as they were written: most requests bring the same one."""


class HostList:
    """The allowed hosts: those of the settings, and the host of the shop's public address."""

    def __init__(self, settings: Settings) -> None:
        names = {name.strip().lower() for name in settings.http.allowed_hosts}
        names.add(host_name(urlsplit(settings.base_url).netloc))
        self._any = "*" in names
        self._exact = frozenset(name for name in names if not name.startswith("*"))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self._known: set[bytes] = set()

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raises: UnknownHost for a missing, doubled or foreign Host header."""
        if headers.get(b"host") in self._known and len(headers) == len(scope["headers"]):
            return
        if scope["path"] in PROBE_PATHS:
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self.is_allowed(hosts[0]):
            raise UnknownHost()

    def is_allowed(self, host: bytes) -> bool:
        """Whether a request may carry this Host header."""
        if host in self._known:
            return True
        name = host_name(host.decode("latin-1"))
        if not name or not (self._any or name in self._exact or name.endswith(self._suffixes)):
            return False
        if len(self._known) < MAX_KNOWN:
            self._known.add(host)
        return True


def host_name(authority: str) -> str:
    """`EXAMPLE.org:8000` -> `example.org`; IPv6 addresses keep their brackets; "" when there is a user part."""
    if "@" in authority or "/" in authority:
        return ""
    if authority.startswith("["):
        return authority.partition("]")[0].lower() + "]"
    return authority.partition(":")[0].rstrip(".").lower()

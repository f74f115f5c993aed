"""Cross-site request forgery: an unsafe request that a browser sends with its cookies must come from our own pages.

First line: what browsers say about the origin (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/, else Origin).
Second line: the token in every form (`tidegate.web.forms`).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Scope

from tidegate.platform.problems import CrossSite
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FORM_TYPES = (b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain")
"""What a foreign page can make a browser send without asking us first (CORS-safelisted request types)."""


BY_LINK = frozenset({"/unsubscribe"})
"""Paths whose requests act by a secret in their address and look at no cookie: mail programs post there (RFC 8058)."""


class OriginCheck:
    """Refuses unsafe requests that come, or may come, from another site's page."""

    def __init__(self, settings: Settings) -> None:
        parts = urlsplit(settings.base_url)
        self._own = f"{parts.scheme}://{parts.netloc}".lower()

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raises: CrossSite. A bearer token exempts: no foreign page can make a browser send one."""
        if scope["method"] in SAFE_METHODS or scope["path"] in BY_LINK:
            return
        if headers.get(b"authorization", b"")[:7].lower() == b"bearer ":
            return
        site = headers.get(b"sec-fetch-site")
        origin = headers.get(b"origin")
        if site is not None:
            allowed = site in (b"same-origin", b"none")
        elif origin is not None:
            allowed = self._is_own(origin.decode("latin-1").lower(), scope, headers)
        else:
            # No browser of this decade: fine for a program with a body of its own, not with a browser's cookies.
            allowed = b"cookie" not in headers and not headers.get(b"content-type", b"").lower().startswith(FORM_TYPES)
        if not allowed:
            raise CrossSite(
                _(
                    "This was sent from a page outside the shop, so nothing was done. "
                    "Open the shop itself and try again."
                )
            )

    def _is_own(self, origin: str, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        here = f"{scope['scheme']}://{headers.get(b'host', b'').decode('latin-1')}".lower()
        return origin in (self._own, here)

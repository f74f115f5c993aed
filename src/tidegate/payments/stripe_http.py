"""What Stripe's SDK calls through: aiohttp.

In httpx, which the SDK takes by itself, each call looks at all calls that wait, and at the socket of each idle
connection: with a thousand purchases under way that was a third of a process's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import stripe

from tidegate.platform.problems import StartupError

CONNECT_SHARE: Final = 0.4
"""Share of the time for a call in which one address must take the connection: leaves time to try again."""

AT_ONCE: Final = 32
"""Connections of a process: Stripe takes some 100 calls a second of a shop."""


class HttpClient(stripe.HTTPClient):
    """Calls of one API. What the environment says of certificates and proxies is read when it is made."""

    name = "aiohttp"

    def __init__(self, base: str, *, timeout_s: float) -> None:
        """`base` is where the API is. Raises: StartupError for a proxy of a kind that is not spoken here."""
        super().__init__()
        self._through = find_proxy(base)
        self._tls = httpx.create_ssl_context()
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=timeout_s * CONNECT_SHARE)
        self._opened: aiohttp.ClientSession | None = None

    async def request_async(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One request. Raises: stripe.APIConnectionError."""
        try:
            async with self._session().request(
                method, url, headers=headers, data=post_data or None, allow_redirects=False
            ) as answer:
                return await answer.read(), answer.status, answer.headers
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            again = not isinstance(error, TimeoutError)
            words = f"no answer: {type(error).__name__}"
            raise stripe.APIConnectionError(words, should_retry=again) from error  # type: ignore[no-untyped-call]

    async def sleep_async(self, secs: float) -> None:
        """Pause before another try."""
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    def _session(self) -> aiohttp.ClientSession:
        """The connections, which belong to the event loop that runs when the first call is made."""
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE, ssl=self._tls),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=self._through,
            )
        return self._opened


def find_proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`, asked for once: aiohttp reads a file at each call.

    Raises: StartupError when it speaks anything but HTTP.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named or proxy_bypass(parts.hostname or ""):
        return None
    proxy = named if "://" in named else f"http://{named}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise StartupError(
            f"The proxy that the environment names for {parts.scheme}://{parts.hostname} does not speak HTTP."
            " Name one that does in HTTPS_PROXY, or the host in NO_PROXY."
        )
    return proxy

"""A randomness beacon: a public address whose value changes, and that nobody can foretell.

The value that goes into a draw is the first one that differs from what the address showed when it was first asked after
the cut: then it was published after the last entry, and nobody could choose entries by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256

import httpx
import structlog

from tidegate.gate.rooms import MAX_BEACON
from tidegate.platform.no_answer import NO_HTTP_ANSWER

log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 64 * 1024

Fetch = Callable[[str], Awaitable[str | None]]
"""The value that an address shows now; None when there is none to be had."""


async def fetch_beacon(url: str, *, timeout_s: float) -> str | None:
    """The value that `url` shows now; None when it does not answer in time, or with nothing that can be used."""
    try:
        async with asyncio.timeout(timeout_s):
            raw = await _read(url, timeout_s=timeout_s)
    except (*NO_HTTP_ANSWER, httpx.InvalidURL, TimeoutError) as error:
        status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
        log.warning("beacon_unreachable", reason=type(error).__name__, status=status)
        return None
    value = value_of(raw)
    if value is None:
        log.warning("beacon_unusable", reason=_why_not(raw), bytes=len(raw))
    return value


def value_of(raw: bytes) -> str | None:
    """What an answer comes to: its text as one line, or `sha256:` and its hash where that is longer than MAX_BEACON.

    None when it is empty, longer than MAX_ANSWER_BYTES, or no text.
    """
    if _why_not(raw):
        return None
    text = _line(raw)
    return text if len(text) <= MAX_BEACON else f"sha256:{sha256(raw).hexdigest()}"


async def _read(url: str, *, timeout_s: float) -> bytes:
    """The answer, of which no more is read than shows that it is too long."""
    async with (
        httpx.AsyncClient(timeout=timeout_s, follow_redirects=False) as client,
        client.stream("GET", url, headers={"accept": "application/json, text/plain"}) as response,
    ):
        response.raise_for_status()
        raw = b""
        async for part in response.aiter_bytes(MAX_ANSWER_BYTES):
            raw += part
            if len(raw) > MAX_ANSWER_BYTES:
                break
        return raw


def _why_not(raw: bytes) -> str:
    """Why an answer gives no value; empty when it does."""
    if len(raw) > MAX_ANSWER_BYTES:
        return "too long"
    try:
        text = _line(raw)
    except UnicodeDecodeError:
        return "not UTF-8"
    if not text:
        return "empty"
    return "" if text.isprintable() else "not printable"


def _line(raw: bytes) -> str:
    return " ".join(raw.decode().split())

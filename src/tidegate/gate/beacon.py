"""A randomness beacon: a public address whose value changes, and that nobody can foretell.

The value that goes into a draw is the first one that differs from what the address showed at the lobby's end: then it
was published after the last entry, and nobody could choose entries by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import structlog

from tidegate.gate.rooms import MAX_BEACON
from tidegate.platform.ids import RoomId
from tidegate.platform.no_answer import NO_HTTP_ANSWER

log = structlog.get_logger(__name__)

Fetch = Callable[[str], Awaitable[str | None]]
"""The value that an address shows now; None when there is none to be had."""


async def fetch_beacon(url: str, *, timeout_s: float) -> str | None:
    """What `url` answers, as one line; None when it does not, in time, with 1 to MAX_BEACON printable characters."""
    try:
        async with (
            httpx.AsyncClient(timeout=timeout_s, follow_redirects=False) as client,
            client.stream("GET", url, headers={"accept": "application/json, text/plain"}) as response,
        ):
            response.raise_for_status()
            raw = b""
            async for part in response.aiter_bytes():
                raw += part
                if len(raw) > MAX_BEACON:
                    return None
    except (*NO_HTTP_ANSWER, httpx.InvalidURL) as error:
        log.warning("beacon_unreachable", reason=type(error).__name__)
        return None
    text = " ".join(raw.decode("utf-8", "replace").split())
    return text if 1 <= len(text) <= MAX_BEACON and text.isprintable() else None


class BeaconWatch:
    """What each room's beacon showed when it was first asked after the cut. One a process; bounded by the rooms."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._shown: dict[RoomId, str] = {}

    async def fresh_value(self, room_id: RoomId, url: str) -> str | None:
        """A value that was published after the first question for this room, or None while there is none."""
        value = await self._fetch(url)
        if value is None or self._shown.setdefault(room_id, value) == value:
            return None
        return value

    def forget_all_but(self, room_ids: set[RoomId]) -> None:
        """Forget rooms that wait for nothing any more."""
        self._shown = {room_id: value for room_id, value in self._shown.items() if room_id in room_ids}

"""How fast one client may ask: who asks oftener is told when to come back, loses nothing, and takes from nobody.

To say "too many requests" costs as much as the status itself, so it is also held back for `SLOW_S`: a client that waits
for its answers then asks once a second on each of its connections, whatever it means to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Mapping

from starlette.requests import Request

from tidegate.gate.running import Gate
from tidegate.platform.problems import TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.web import client_address, session_token

SLOW_S = 1.0
"""How long a refusal is held back."""

SLOWED_MOST = 1_000
"""Most refusals that one process holds back at once; further ones are told at once."""


async def keep_pace(request: Request) -> None:
    """Let a question for the status pass unless its session or its network asks too often. Raises: TooManyRequests."""
    gate: Gate = request.app.state.gate
    address, session = client_address(request), session_token(request)
    wait_s = gate.followers.wait_s(address=address, session=session, now_s=time.monotonic())
    if wait_s:
        await _refuse(gate, wait_s)


def may_follow(gate: Gate, address: str, headers: Mapping[bytes, bytes]) -> bool:
    """The same for the server's shelf, which answers by itself; who may not is refused on the long way."""
    session = None
    if b"cookie" in headers or b"authorization" in headers:
        session = session_token(Request({"type": "http", "headers": list(headers.items())}))
    return not gate.followers.wait_s(address=address, session=session, now_s=time.monotonic())


async def keep_session_pace(request: Request) -> None:
    """The same for a question about a place, by its session and before anybody looks that up."""
    session = session_token(request)
    if session is not None:
        await count(request.app.state.gate, session)


async def count(gate: Gate, who: Hashable) -> None:
    """Count somebody's question about a place. Raises: TooManyRequests, a little later, when it was one too many."""
    wait_s = gate.pace.wait_s(who, now_s=time.monotonic())
    if wait_s:
        await _refuse(gate, wait_s)


async def _refuse(gate: Gate, wait_s: int) -> None:
    if gate.slowed < SLOWED_MOST:
        gate.slowed += 1
        try:
            await asyncio.sleep(SLOW_S)
        finally:
            gate.slowed -= 1
    raise TooManyRequests(
        _(
            "You have asked too often. Your place is kept, and nothing was changed; ask again in %(wait_s)s seconds.",
            wait_s=wait_s,
        ),
        retry_after_s=wait_s,
    )

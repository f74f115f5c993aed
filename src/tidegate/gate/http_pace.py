"""How fast one client may ask: who asks oftener is told when to come back, loses nothing, and takes from nobody.

A refusal is held back for about `SLOW_S`: a client that waits for its answers then asks once a second on each of its
connections, whatever it means to do. Refusals of the status come from the server's shelf, out of memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Mapping

from starlette.requests import Request

from tidegate.gate.running import Gate
from tidegate.platform.edge.lean import Guard, spread
from tidegate.platform.problems import TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.web import client_address, session_token

SLOW_S = 1.0
"""How long a refusal is held back, in the mean."""

SLOWED_MOST = 1_000
"""Most refusals that one process holds back at once; further ones are told at once."""


async def keep_pace(request: Request) -> None:
    """Let a question for the status pass unless its session or its network asks too often. Raises: TooManyRequests."""
    gate: Gate = request.app.state.gate
    address, session = client_address(request), session_token(request)
    wait_s = gate.followers.wait_s(address=address, session=session, now_s=time.monotonic())
    if wait_s:
        await _refuse(gate, wait_s)


def pace_guard(gate: Gate) -> Guard:
    """The same for the server's shelf, which answers by itself."""

    def wait_s(address: str, headers: Mapping[bytes, bytes]) -> int:
        session = None
        if b"cookie" in headers or b"authorization" in headers:
            session = session_token(Request({"type": "http", "headers": list(headers.items())}))
        return gate.followers.wait_s(address=address, session=session, now_s=time.monotonic())

    return Guard(wait_s=wait_s, refusal=_too_often, held_s=SLOW_S, held_most=SLOWED_MOST)


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
            await asyncio.sleep(spread(SLOW_S))
        finally:
            gate.slowed -= 1
    raise _too_often(wait_s)


def _too_often(wait_s: int) -> TooManyRequests:
    return TooManyRequests(
        _(
            "You have asked too often. Your place is kept, and nothing was changed; ask again in %(wait_s)s seconds.",
            wait_s=wait_s,
        ),
        retry_after_s=wait_s,
    )

"""Waiting for conditions inside async tests."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable

POLL_S = 0.01


async def eventually(condition: Callable[[], object], *, timeout_s: float = 20.0) -> None:
    """Call `condition`, which may be async, until it answers something true. Fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {condition}"
        await asyncio.sleep(POLL_S)

"""A server that resets connections as they are made: every way in which httpx says so counts as no answer."""

from __future__ import annotations

import asyncio

import httpx
import uvloop

from tests.resets import resetting
from tidegate.platform.no_answer import NO_HTTP_ANSWER

ROUNDS, AT_ONCE = 15, 32


async def ask(port: int) -> list[BaseException | httpx.Response]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        said: list[BaseException | httpx.Response] = []
        for _ in range(ROUNDS):
            said += await asyncio.gather(*(client.post("/") for _ in range(AT_ONCE)), return_exceptions=True)
    return said


def test_a_reset_is_no_answer() -> None:
    with resetting() as port:
        said = uvloop.run(ask(port))
    assert len(said) == ROUNDS * AT_ONCE
    assert [each for each in said if not isinstance(each, NO_HTTP_ANSWER)] == []

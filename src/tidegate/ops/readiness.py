"""Asking a site whether it is ready, without an HTTP library: the supervisor stays small."""

from __future__ import annotations

import asyncio
import contextlib

ANSWER_TIMEOUT_S = 2.0
PATH = "/readyz"


async def is_ready(host: str, port: int) -> bool:
    """Whether `GET /readyz` answers 200."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(_reachable(host), port)
            try:
                writer.write(f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError):
        return False


def _reachable(host: str) -> str:
    """Where a server that listens on all addresses can be asked from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104

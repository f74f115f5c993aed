"""A server that resets connections as they are made: every way in which httpx says so counts as no answer."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import httpx
import uvloop

from tidegate.platform.no_answer import NO_HTTP_ANSWER

ROUNDS, AT_ONCE = 15, 32


def reset_all(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


async def ask(port: int) -> list[BaseException | httpx.Response]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        said: list[BaseException | httpx.Response] = []
        for _ in range(ROUNDS):
            said += await asyncio.gather(*(client.post("/") for _ in range(AT_ONCE)), return_exceptions=True)
    return said


def test_a_reset_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        threading.Thread(target=reset_all, args=(listener,), daemon=True).start()
        said = uvloop.run(ask(listener.getsockname()[1]))
        listener.shutdown(socket.SHUT_RDWR)
    assert len(said) == ROUNDS * AT_ONCE
    assert [each for each in said if not isinstance(each, NO_HTTP_ANSWER)] == []

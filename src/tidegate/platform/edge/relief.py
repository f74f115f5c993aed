"""Connections that wait for a process which does not come: the processes beside it take them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

LOOK_S = 0.1
"""How often a process looks, and so about how long a connection waits in the socket of one that died or hangs."""

AT_ONCE = 100
"""Connections taken from one socket at one look: a process that is only late keeps most of its own."""

MakeProtocol = Callable[[], asyncio.Protocol]


async def relieve(
    sockets: Sequence[socket.socket], *, make_protocol: MakeProtocol, has_room: Callable[[], bool]
) -> None:
    """Take what waits in other processes' listening sockets, until cancelled, while there is room for more.

    The kernel spreads new connections over all sockets of a port (SO_REUSEPORT), also over those whose process is being
    started anew, which takes seconds. `sockets` do not block; one on which nobody listens yet is passed over.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_S)
        for waiting in sockets:
            for _ in range(AT_ONCE):
                if not has_room() or (taken := _accept(waiting)) is None:
                    break
                try:
                    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    await loop.connect_accepted_socket(make_protocol, taken)
                except OSError:  # it hung up meanwhile
                    taken.close()


def _accept(waiting: socket.socket) -> socket.socket | None:
    try:
        taken, _ = waiting.accept()
    except OSError:  # none waits, that one hung up, or it does not listen
        return None
    taken.setblocking(False)
    return taken

"""Free ports that stay the same from one start to the next."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path

FIRST_PORT = 21_000
LAST_PORT = 31_999
"""Below what systems give to outgoing connections, so that a restarted server finds its port again."""
ATTEMPTS = 200


def port_is_free(port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` of `host` now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(*, avoid: Collection[int] = (), first: int = FIRST_PORT, last: int = LAST_PORT) -> int:
    """A free loopback port. Raises: OSError when none was found in a bounded number of attempts."""
    for _ in range(ATTEMPTS):
        port = random.randint(first, last)  # noqa: S311 - not a secret
        if port not in avoid and port_is_free(port):
            return port
    raise OSError(f"no free port between {first} and {last}")


def remembered_port(file: Path) -> int:
    """The port that `file` names if it is still free, else a new one that is written there."""
    try:
        port = int(file.read_text())
        if 0 < port < 65_536 and port_is_free(port):
            return port
    except (OSError, ValueError):
        pass
    port = free_port()
    file.write_text(f"{port}\n")
    return port

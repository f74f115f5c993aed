"""The sockets that site processes listen on: opened here, handed down, and kept open while a process is replaced."""

from __future__ import annotations

import errno
import socket
import sys

import psutil

from tidegate.platform.problems import StartupError

BACKLOG = 2_048
"""Connections that the kernel keeps for one slot while its process is busy or being replaced."""


def open_listeners(host: str, port: int, *, slots: int) -> list[socket.socket]:
    """One listening socket for each slot; the kernel spreads connections over them.

    Connections are queued from now on: a browser that comes while the shop starts waits instead of being refused.
    Where SO_REUSEPORT does not spread connections (macOS), all slots share one socket.

    Raises: StartupError when the address is taken or cannot be used.
    """
    family, address = _resolve(host, port)
    _refuse_taken(family, address, host=host, port=port)
    shared = not sys.platform.startswith("linux")
    try:
        sockets = [_listen(family, address, reuse_port=not shared) for _ in range(1 if shared else slots)]
    except OSError as error:
        raise _unusable(error, host=host, port=port) from None
    return sockets * slots if shared else sockets


def another_listener(host: str, port: int, beside: socket.socket) -> socket.socket:
    """One more socket on an address of ours, to which no connection comes until a process listens on it.

    Raises: StartupError.
    """
    if not sys.platform.startswith("linux"):
        return beside
    family, address = _resolve(host, port)
    try:
        return _bind(family, address, reuse_port=True)
    except OSError as error:
        raise _unusable(error, host=host, port=port) from None


def _resolve(host: str, port: int) -> tuple[int, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise StartupError(f"TIDEGATE_HOST={host} is no address of this machine") from None
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _refuse_taken(family: int, address: tuple[str, int], *, host: str, port: int) -> None:
    """A bind without SO_REUSEPORT: with it we would quietly share the port with another shop of the same user."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise _unusable(error, host=host, port=port) from None


def _listen(family: int, address: tuple[str, int], *, reuse_port: bool) -> socket.socket:
    listener = _bind(family, address, reuse_port=reuse_port)
    try:
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _bind(family: int, address: tuple[str, int], *, reuse_port: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _unusable(error: OSError, *, host: str, port: int) -> StartupError:
    if error.errno == errno.EADDRINUSE:
        return StartupError(f"port {port} of {host} is taken{_holder(port)}: stop that program or set TIDEGATE_PORT")
    return StartupError(f"cannot listen on port {port} of {host}: {error.strerror}")


def _holder(port: int) -> str:
    """Who listens there, as far as we may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""

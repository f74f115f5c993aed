"""The site's sockets: one per process on one port, and never quietly shared with somebody else."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from tidegate.ops.sockets import open_listeners
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.problems import StartupError


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def stranger(port: int) -> Iterator[socket.socket]:
    """Another program of ours that would share the port, as a second shop would."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield listener


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_taken_port_is_refused_even_if_it_could_be_shared(host: str, port: int) -> None:
    with pytest.raises(StartupError, match=rf"port {port} of {host} is taken.*TIDEGATE_PORT"):
        open_listeners(host, port, slots=2)


def test_the_holder_of_a_taken_port_is_named(stranger: socket.socket, port: int) -> None:
    with pytest.raises(StartupError, match=r"by .*python.* \(process \d+\)"):
        open_listeners("127.0.0.1", port, slots=1)


def test_a_port_with_old_connections_is_free(port: int) -> None:
    for _ in range(2):
        listeners = open_listeners("127.0.0.1", port, slots=2)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for one in [*listeners, *clients]:
            one.close()


def test_connections_wait_in_the_slots_of_processes_that_do_not_run_yet(port: int) -> None:
    listeners = open_listeners("127.0.0.1", port, slots=2)
    with closing(listeners[0]), closing(listeners[1]):
        clients = [socket.create_connection(("127.0.0.1", port), timeout=2) for _ in range(40)]
        taken = [sum(1 for _ in accept_all(listener)) for listener in listeners]
        for client in clients:
            client.close()
    assert sum(taken) == 40
    if sys.platform.startswith("linux"):
        assert min(taken) > 0, "the kernel should spread connections"


def test_a_host_that_is_not_ours_is_one_clear_line(port: int) -> None:
    with pytest.raises(StartupError, match=r"TIDEGATE_HOST=no\.such\.host\.invalid"):
        open_listeners("no.such.host.invalid", port, slots=1)
    with pytest.raises(StartupError, match="cannot listen"):
        open_listeners("192.0.2.1", port, slots=1)


def accept_all(listener: socket.socket) -> Iterator[None]:
    while True:
        try:
            conn, _ = listener.accept()
        except BlockingIOError:
            return
        conn.close()
        yield

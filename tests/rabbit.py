"""A RabbitMQ node of its own for tests: Debian's, on free ports, in a temporary folder, stopped by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import wait_until
from tidegate.platform.embedded.ports import free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The program itself: what Debian puts on the path changes user and folder."""

START_S = 60.0
STOP_S = 20.0


def is_installed() -> bool:
    """Whether there is a RabbitMQ to start."""
    return SERVER.exists() and shutil.which("epmd") is not None


@dataclass(slots=True)
class Rabbit:
    """A node with a port mapper of its own; neither outlives `stop`."""

    home: Path
    port: int = field(default_factory=free_port)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What `TIDEGATE_BROKER_URL` says of it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start it, with what it kept from the last time, and wait until it takes connections."""
        mapper_port = free_port(avoid=[self.port])
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(mapper_port),
            "RABBITMQ_NODENAME": f"tidegate-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port(avoid=[self.port, mapper_port])),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        }
        (self.home / "plugins").write_text("[].")
        (self.home / "rabbitmq.conf").write_text("")
        log = self.home / "rabbit.log"
        for command in (["epmd", "-port", str(mapper_port), "-address", "127.0.0.1"], [str(SERVER)]):
            with log.open("ab") as out:
                self._started.append(
                    subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
                )
        wait_until(self._answers, timeout_s=START_S, what=f"a RabbitMQ; see {log}")

    def stop(self) -> None:
        """Stop it in order; what is durable stays for the next start."""
        for process in reversed(self._started):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._started.clear()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False

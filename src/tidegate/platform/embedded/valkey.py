"""The embedded Valkey: cache and broker on a loopback port with a password. It may lose everything at any time."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tidegate.platform.embedded.binaries import valkey_program
from tidegate.platform.embedded.children import Program
from tidegate.platform.embedded.configuration import valkey_configuration
from tidegate.platform.embedded.ports import remembered_port
from tidegate.platform.settings import CacheSettings

PING_TIMEOUT_S = 0.5


@dataclass(slots=True)
class EmbeddedValkey:
    """One server. Call `prepare` once, then start `program()`, again after each death: the port stays the same."""

    folder: Path
    password: str
    limits: CacheSettings
    port: int = field(default=0, init=False)

    def prepare(self) -> None:
        """Choose the port and write the configuration; the password is in that file only, never on a command line.

        Raises: StartupError when there is no Valkey to run.
        """
        valkey_program()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.port = remembered_port(self.folder / "port")
        text = valkey_configuration(
            port=self.port, password=self.password, folder=self.folder, max_memory_mb=self.limits.embedded_max_memory_mb
        )
        descriptor = os.open(self.configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(text)

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.folder / "valkey.conf"

    def program(self) -> Program:
        """The server."""
        return Program(argv=(str(valkey_program()), str(self.configuration)), folder=self.folder)

    def is_ready(self) -> bool:
        """Whether the server answers, and knows our password."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=PING_TIMEOUT_S) as conn:
                conn.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while len(answer) < len(b"+OK\r\n+PONG\r\n"):
                    part = conn.recv(64)
                    if not part:
                        break
                    answer += part
                return answer == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False

    def url(self, database: int = 0) -> str:
        """Where the server answers; contains the password. The scheme is `redis`: kombu knows no `valkey`."""
        return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{database}"

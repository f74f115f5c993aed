"""The embedded PostgreSQL: a real server in TIDEGATE_HOME/postgres, started directly and owned by its supervisor."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil

from tidegate.platform.embedded.accounts import postgres_account
from tidegate.platform.embedded.binaries import major_version, postgres_programs
from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.embedded.configuration import postgres_access, postgres_configuration
from tidegate.platform.embedded.orphans import clear_data_folder, processes_in
from tidegate.platform.embedded.ports import port_is_free, remembered_port
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import DatabaseSettings

ROLE = "tidegate"
DATABASE = "tidegate"
LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel's own limit is 107 on Linux and 103 on macOS."""
INITIALISE_TIMEOUT_S = 120


@dataclass(slots=True)
class EmbeddedPostgres:
    """One server. Methods block; call `prepare` once, then start `program()`, again after each death."""

    folder: Path
    password: str
    limits: DatabaseSettings
    durable: bool = True
    port: int = field(default=0, init=False)
    socket_folder: Path = field(default=Path(), init=False)
    account: str = field(default="", init=False)

    @property
    def data(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.folder / "data"

    def prepare(self) -> None:
        """Make the cluster at the first start and write the configuration.

        Raises: StartupError when the data folder is of another version, in use, or cannot be made.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        programs = postgres_programs()
        self._check_version(programs / "postgres")
        self.clear()
        self.account = postgres_account(self.folder, data=self.data, postgres=programs / "postgres")
        if not self.data.exists():
            self._initialise(programs)
        self.port = remembered_port(self.folder / "port")
        self.socket_folder = _socket_folder(self.folder, account=self.account)
        self.clear()

    def clear(self) -> None:
        """Before each start: wait for what is left of the last server, and write the configuration anew.

        Raises: StartupError when it does not leave.
        """
        clear_data_folder(self.data)
        if not self.port:
            return
        for leftover in self.socket_folder.glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)
        text = postgres_configuration(
            socket_folder=self.socket_folder,
            hba_file=self.folder / "pg_hba.conf",
            port=self.port,
            listen=port_is_free(self.port),
            max_connections=self.limits.embedded_max_connections,
            memory_share=self.limits.embedded_memory_share,
            durable=self.durable,
        )
        (self.folder / "tidegate.conf").write_text(text)
        (self.folder / "pg_hba.conf").write_text(postgres_access())

    def program(self) -> Program:
        """The server. SIGINT is its fast shutdown: sessions end, then a checkpoint."""
        return Program(
            argv=(
                str(postgres_programs() / "postgres"),
                "-D",
                str(self.data),
                "-c",
                f"config_file={self.folder / 'tidegate.conf'}",
            ),
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            account=self.account,
            folder=self.folder,
        )

    def is_ready(self) -> bool:
        """Whether the server that was started after `clear` takes connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def kill(self) -> None:
        """End what is left at once; backends are in process groups of their own."""
        for process in processes_in(self.data):
            with contextlib.suppress(psutil.NoSuchProcess):  # it went by itself meanwhile
                process.kill()

    def forget_socket(self) -> None:
        """Remove the socket folder after a stop if it is outside of TIDEGATE_HOME."""
        if self.socket_folder.is_absolute() and self.folder not in self.socket_folder.parents:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
            (self.folder / "socket-folder").unlink(missing_ok=True)

    def url(self, database: str = DATABASE) -> str:
        """Where the server answers, through its Unix socket; contains the password."""
        return (
            f"postgresql://{ROLE}:{quote(self.password, safe='')}@/{quote(database, safe='')}"
            f"?host={quote(str(self.socket_folder), safe='')}&port={self.port}"
        )

    def _check_version(self, postgres: Path) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        ours = major_version(postgres)
        if found != str(ours):
            raise StartupError(
                f"{self.data} was made by PostgreSQL {found}, this is PostgreSQL {ours}: "
                "use pg_dump and pg_restore of both versions, or another TIDEGATE_HOME"
            )

    def _initialise(self, programs: Path) -> None:
        """Make the cluster, our role and our database beside their final place, then move them there in one step."""
        for leftover in self.folder.glob("data.new.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix="data.new.", dir=self.folder))
        if ":" in self.account:
            uid, gid = (int(part) for part in self.account.split(":"))
            os.chown(draft, uid, gid)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        self._run((str(programs / "initdb"), "-D", str(draft), "--username=postgres", "--auth=reject", *locale), "")
        # The superuser has no password and so cannot log in at all: the shop's role is enough for the shop, as it is
        # with a managed server. Its password is random, so hashing it thousands of times would only slow connections.
        password = self.password.replace("'", "''")
        self._run(
            (str(programs / "postgres"), "--single", "-D", str(draft), "postgres"),
            "SET scram_iterations = 1\n"
            f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{password}'\n"
            f"GRANT pg_read_all_data, pg_monitor TO {ROLE} WITH ADMIN OPTION\n"
            f"CREATE DATABASE {DATABASE} OWNER {ROLE}\n",
        )
        draft.rename(self.data)
        _sync_folder(self.folder)

    def _run(self, argv: tuple[str, ...], said: str) -> None:
        program = Program(argv=argv, account=self.account, folder=self.folder, death_signal=signal.SIGTERM)
        done = subprocess.run(
            launch_command(program),
            input=said,
            capture_output=True,
            text=True,
            timeout=INITIALISE_TIMEOUT_S,
            check=False,
        )
        complaints = [line for line in done.stderr.splitlines() if "ERROR" in line or "FATAL" in line]
        if done.returncode != 0 or complaints:
            reason = (complaints or done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
            raise StartupError(f"cannot make a database in {self.folder}: {reason}")


def _socket_folder(folder: Path, *, account: str) -> Path:
    """A private folder for the socket: below `folder`, or in the system's temporary folder where that is too long."""
    inside = folder / "socket"
    if _fits(inside):
        inside.mkdir(mode=0o700, exist_ok=True)
        chosen = inside
    else:
        note = folder / "socket-folder"
        known = Path(note.read_text()) if note.exists() else None
        chosen = known if known is not None and _is_private(known) else Path(tempfile.mkdtemp(prefix="tidegate-"))
        note.write_text(str(chosen))
    if ":" in account:
        uid, gid = (int(part) for part in account.split(":"))
        os.chown(chosen, uid, gid)
    return chosen


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / ".s.PGSQL.65535.lock")) <= LONGEST_SOCKET_PATH


def _is_private(folder: Path) -> bool:
    """Whether `folder` is a real folder that nobody else can enter: temporary folders are everybody's."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and status.st_mode & 0o077 == 0 and _is_ours(status.st_uid)


def _is_ours(uid: int) -> bool:
    return os.geteuid() in (0, uid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

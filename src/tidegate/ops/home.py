"""TIDEGATE_HOME: one supervisor at a time, in a format that this version knows."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tidegate.platform.problems import StartupError

FORMAT = 1
"""Of the files in TIDEGATE_HOME as a whole; the database inside has revisions of its own."""


@dataclass(frozen=True, slots=True)
class Home:
    """A data folder that is ours until the end of the block; `was_killed` tells that its last owner was."""

    path: Path
    was_killed: bool

    @property
    def run(self) -> Path:
        """What belongs to the processes of now."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One file for each child."""
        return self.path / "log"

    @property
    def endpoints(self) -> Path:
        """What other commands need to know of the running shop."""
        return self.run / "endpoints.json"


@contextmanager
def claimed_home(folder: Path) -> Iterator[Home]:
    """Hold the lock on `folder` for the length of the block, made if it is missing.

    The lock is the kernel's and ends with this process however it ends. Its file names the owner's process id; what is
    left in it by the next claim shows that the owner was killed.

    Raises: StartupError when the folder is in use, cannot be written or is of another format.
    """
    path = folder.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"cannot write to TIDEGATE_HOME {path}: {error.strerror}") from None
    try:
        _lock(descriptor, path)
        owner = os.read(descriptor, 32)
        _write_owner(descriptor, str(os.getpid()), path)
        home = Home(path, was_killed=bool(owner.strip()))
        try:
            _check_format(home)
            _make_folders(home)
            yield home
        except StartupError:
            _forget_owner(descriptor, path)
            raise
        _forget_owner(descriptor, path)
    finally:
        os.close(descriptor)


def _forget_owner(descriptor: int, path: Path) -> None:
    with suppress(StartupError):
        _write_owner(descriptor, "", path)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise StartupError(
            f"a shop runs on TIDEGATE_HOME {path} already (process {owner or 'unknown'}): stop it or use another folder"
        ) from None
    except OSError as error:
        raise StartupError(f"cannot lock TIDEGATE_HOME {path}: {error.strerror}") from None


def _write_owner(descriptor: int, owner: str, path: Path) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
    except OSError as error:
        raise StartupError(f"cannot write to TIDEGATE_HOME {path}: {error.strerror}") from None


def _make_folders(home: Home) -> None:
    """The folders of a shop; endpoints of a supervisor that was killed lead nowhere and go."""
    try:
        for folder in (home.run, home.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        home.endpoints.unlink(missing_ok=True)
    except OSError as error:
        raise StartupError(f"cannot write to TIDEGATE_HOME {home.path}: {error.strerror}") from None


def _check_format(home: Home) -> None:
    file = home.path / "FORMAT"
    try:
        text = file.read_text().strip() if file.exists() else ""
        if not text:
            text = str(FORMAT)
            file.write_text(f"{text}\n")
    except OSError as error:
        raise StartupError(f"cannot write to TIDEGATE_HOME {home.path}: {error.strerror}") from None
    if text != str(FORMAT):
        age = "an older" if text.isdigit() and int(text) < FORMAT else "a newer"
        raise StartupError(
            f"TIDEGATE_HOME {home.path} was made by {age} Tidegate (format {text[:20]}, this one knows {FORMAT}): "
            "use that version or another folder"
        )
    if (home.path / "postgres" / "data").exists() and not (home.path / "secrets.json").exists():
        raise StartupError(f"{home.path} holds a database but no secrets.json: restore that file from a backup")

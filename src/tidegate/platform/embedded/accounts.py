"""Which account PostgreSQL runs under: it refuses to be root."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.problems import StartupError

PROBE_TIMEOUT_S = 20


def postgres_account(folder: Path, *, data: Path, postgres: Path) -> str:
    """An account that can run `postgres` in `folder`, as the launcher names it, with `folder` given to it.

    As root: a user namespace, in which the files stay root's; where the kernel refuses that, or the files are
    somebody else's already, another user who owns `folder` alone. As an ordinary user: that user.

    Raises: StartupError when nothing works.
    """
    complaint = ""
    for account in _candidates(data):
        if ":" in account:
            _give(folder, account)
        probe = Program(argv=(str(postgres), "--version"), account=account, folder=folder)
        tried = subprocess.run(
            launch_command(probe), capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
        if tried.returncode == 0:
            return account
        complaint = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"exit code {tried.returncode}"
    raise StartupError(f"PostgreSQL cannot run in {folder}: {complaint}; start as an ordinary user")


def _candidates(data: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        yield "" if _has_name(os.geteuid()) else "namespace"
        return
    owner = data.stat() if data.exists() else None
    if owner is not None and owner.st_uid != 0:
        yield f"{owner.st_uid}:{owner.st_gid}"
        return
    yield "namespace"
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return
    yield f"{nobody.pw_uid}:{nobody.pw_gid}"


def _has_name(uid: int) -> bool:
    """Whether the system knows this user: initdb looks it up and fails otherwise."""
    try:
        return bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _give(folder: Path, account: str) -> None:
    """Make `account` the owner of `folder` and everything below it."""
    uid, gid = (int(part) for part in account.split(":"))
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        if (status.st_uid, status.st_gid) != (uid, gid):
            os.chown(path, uid, gid, follow_symlinks=False)

"""What rehearsals that were killed have left on the disk: their shops' folders, in which nobody runs any more."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

PREFIX = "tidegate-rehearsal-"


def remove_leavings(folder: Path) -> None:
    """Remove the shops of killed rehearsals of ours below a folder; one that runs holds the lock of its home."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if left.stat().st_uid == os.getuid() and not left.is_symlink():
                _remove(left)


def _remove(left: Path) -> None:
    """Raises: OSError when it runs, or is just being made and has no lock yet."""
    descriptor = os.open(left / "home" / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left, ignore_errors=True)
    finally:
        os.close(descriptor)

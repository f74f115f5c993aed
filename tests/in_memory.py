"""Temporary files of tests in memory, where the machine has plenty of it.

Tests make some hundred thousand small files, most of them PostgreSQL's, and remove them again: on a disk that is the
larger part of what they wait for.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import psutil

GB = 1024**3
MEMORY_FILES = Path("/dev/shm")
LEAST_ROOM_BYTES = 8 * GB
LEAST_MEMORY_BYTES = 10 * GB
"""What must be free; three workers at once hold a third of it."""


def keep_temporary_files_in_memory() -> None:
    """Let this process and its children have their temporary files in memory if it can hold them.

    A TMPDIR that is set already stays.
    """
    if "TMPDIR" in os.environ or not _has_room():
        return
    folder = MEMORY_FILES / f"tidegate-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # it is looked up anew


def _has_room() -> bool:
    if not os.access(MEMORY_FILES, os.W_OK | os.X_OK):
        return False
    mounted = os.statvfs(MEMORY_FILES)
    programs_run = not mounted.f_flag & os.ST_NOEXEC
    room_bytes = mounted.f_bavail * mounted.f_frsize
    return programs_run and room_bytes >= LEAST_ROOM_BYTES and psutil.virtual_memory().available >= LEAST_MEMORY_BYTES

"""The children's output: one file each in TIDEGATE_HOME/log, bounded in size, written without us in between."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

LARGEST_LOG_BYTES = 10 * 1024 * 1024
"""A file that grows beyond this becomes NAME.log.1; the one before that is dropped."""

TRIM_EVERY_S = 10.0
FOLLOW_EVERY_S = 0.2
FOLLOW_BYTES = 64 * 1024


def open_log(file: Path) -> int:
    """A descriptor that appends to `file`, for a child to write to."""
    trim(file)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def trim(file: Path) -> None:
    """Keep `file` within its bound. Writers append, so they go on at the start of the emptied file."""
    try:
        if file.stat().st_size > LARGEST_LOG_BYTES:
            shutil.copyfile(file, file.with_name(file.name + ".1"))
            os.truncate(file, 0)
    except OSError:
        return


async def keep_trimmed(folder: Path) -> None:
    """Trim all logs in `folder` from time to time, until cancelled."""
    while True:
        await asyncio.sleep(TRIM_EVERY_S)
        await asyncio.to_thread(_trim_all, folder)


async def follow(folder: Path, write: Callable[[str], None]) -> None:
    """Repeat on the terminal what is written to the logs in `folder` from now on, until cancelled."""
    positions = {file: _size(file) for file in _logs(folder)}
    while True:
        for file in _logs(folder):
            positions[file] = _repeat(file, positions.get(file, 0), write)
        await asyncio.sleep(FOLLOW_EVERY_S)


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def _trim_all(folder: Path) -> None:
    for file in _logs(folder):
        trim(file)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _repeat(file: Path, position: int, write: Callable[[str], None]) -> int:
    """Write whole lines after `position`; answer where to go on."""
    size = _size(file)
    if size <= position:
        return size  # nothing new, or trimmed meanwhile
    try:
        with file.open("rb") as log:
            log.seek(position)
            part = log.read(FOLLOW_BYTES)
    except OSError:
        return position
    whole = part[: part.rfind(b"\n") + 1] or (part if len(part) == FOLLOW_BYTES else b"")
    for line in whole.decode(errors="replace").splitlines():
        write(f"{file.stem} | {line}")
    return position + len(whole)

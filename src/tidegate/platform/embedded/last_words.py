"""Why a process ended, from the end of its log."""

from __future__ import annotations

from pathlib import Path

EXCERPT_BYTES = 16 * 1024
LONGEST = 500
"""Characters of the one line that people are shown."""


def last_words(file: Path) -> str:
    """The line near the end of a log that says why, or the last one."""
    try:
        with file.open("rb") as log:
            log.seek(max(file.stat().st_size - EXCERPT_BYTES, 0))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()][-40:]
    except OSError:
        lines = []
    telling = [line for line in lines if line.startswith("tidegate: ") or "FATAL:" in line or "PANIC:" in line]
    return (telling or lines or ["it said nothing"])[-1].removeprefix("tidegate: ")[:LONGEST]

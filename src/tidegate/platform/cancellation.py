"""Who was cancelled: this task, or only what it waits for."""

from __future__ import annotations

import asyncio


def is_cancelled() -> bool:
    """Whether somebody cancelled this task; false when a CancelledError only leaked out of what it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

"""`tidegate up --reload`: our own processes are started again when the package's sources change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from tidegate.platform.problems import StartupError

SOURCES = Path(__file__).parent.parent
SUFFIXES = (".py", ".html", ".txt", ".css", ".js", ".sql")


def check_reload() -> None:
    """Raises: StartupError when the tool that watches files is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise StartupError("--reload needs the package watchfiles: install the development dependencies") from None


async def watch_sources(restart: Callable[[str], Awaitable[None]]) -> None:
    """Call `restart` with the name of a changed file, again and again, until cancelled."""
    from watchfiles import awatch

    async for changes in awatch(SOURCES, watch_filter=lambda _, path: path.endswith(SUFFIXES), step=100):
        await restart(Path(sorted(path for _, path in changes)[0]).name)

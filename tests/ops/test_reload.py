"""`tidegate up --reload`: a change of the sources is noticed, other files are not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tidegate.ops import reload


async def test_a_changed_source_restarts_and_a_log_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "SOURCES", tmp_path)
    seen: list[str] = []

    async def restart(file: str) -> None:
        seen.append(file)

    reload.check_reload()
    task = asyncio.create_task(reload.watch_sources(restart))
    try:
        async with asyncio.timeout(20):
            number = 0
            while not seen:  # the watcher takes a moment to begin
                number += 1
                (tmp_path / "some.log").write_text(str(number))
                (tmp_path / "page.html").write_text(str(number))
                await asyncio.sleep(0.1)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert set(seen) == {"page.html"}

"""The children's logs: bounded in size, and repeated on the terminal when asked for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tidegate.ops import logs


def test_a_log_that_grew_too_large_is_emptied_under_its_writer(tmp_path: Path) -> None:
    file = tmp_path / "one.log"
    descriptor = logs.open_log(file)
    try:
        os.write(descriptor, b"x" * (logs.LARGEST_LOG_BYTES + 1))
        logs.trim(file)
        os.write(descriptor, b"after\n")
    finally:
        os.close(descriptor)
    assert file.read_text() == "after\n"
    assert (tmp_path / "one.log.1").stat().st_size == logs.LARGEST_LOG_BYTES + 1


async def test_following_repeats_whole_new_lines_of_old_and_new_files(tmp_path: Path) -> None:
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    old.write_text("before\n")
    seen: list[str] = []
    task = asyncio.create_task(logs.follow(tmp_path, seen.append))
    await asyncio.sleep(0)
    with old.open("a") as file:
        file.write("one\ntw")
    new.write_text("three\n")
    async with asyncio.timeout(5):
        while len(seen) < 2:
            await asyncio.sleep(0.01)
        with old.open("a") as file:
            file.write("o\n")
        while len(seen) < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sorted(seen) == ["new | three", "old | one", "old | two"]

"""Files that people upload: a port small enough for a folder or an object store, and the folder.

A name is a path of plain parts such as `ab/abcd-640.webp`. What is stored under a name never changes, so a file may be
kept by any cache, and writing it twice is the same as once.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

NAME = re.compile(r"[a-z0-9]{2}/[a-z0-9][a-z0-9.-]{0,120}")
SHARDS = tuple(f"{number:02x}" for number in range(256))
"""The first parts of names that begin with a digest."""
DRAFT = ".draft-"
"""How a file is called while it is written; what begins like this is not a stored file."""


class FileStore(Protocol):
    """Where uploaded files lie."""

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Store files by name, each whole or not at all; returns when they would survive a crash."""

    async def get(self, name: str) -> bytes | None:
        """What is stored under a name, or None."""

    async def delete(self, names: Sequence[str]) -> None:
        """Forget files; those that are not there are none the less gone."""

    async def names(self, shard: str, *, older_than_s: float, limit: int) -> list[str]:
        """Names below the first part `shard`, of files that were stored before a time (seconds since 1970)."""


class LocalFiles:
    """Files in a folder of this machine, or of a volume that several machines share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Written beside, brought to the disk and renamed, so that no reader sees half a file."""
        await asyncio.to_thread(self._put, files)

    async def get(self, name: str) -> bytes | None:
        """Read at once: stored files are small."""
        return await asyncio.to_thread(self._get, name)

    async def delete(self, names: Sequence[str]) -> None:
        """Unlink."""
        await asyncio.to_thread(self._delete, names)

    async def names(self, shard: str, *, older_than_s: float, limit: int) -> list[str]:
        """In the order of the folder. Old leftovers of writes that were cut off go."""
        return await asyncio.to_thread(self._names, shard, older_than_s, limit)

    def _put(self, files: Mapping[str, bytes]) -> None:
        folders = set()
        for name, content in files.items():
            path = self._path(name)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = path.with_name(f"{DRAFT}{secrets.token_hex(8)}")
            try:
                with draft.open("xb") as out:
                    out.write(content)
                    out.flush()
                    os.fsync(out.fileno())
                draft.replace(path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            folders |= {path.parent, path.parent.parent}
        for folder in folders:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _get(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def _names(self, shard: str, older_than_s: float, limit: int) -> list[str]:
        found: list[str] = []
        with suppress(FileNotFoundError), os.scandir(self._folder / shard) as entries:
            for each in entries:
                if len(found) >= limit or not each.is_file() or each.stat().st_mtime >= older_than_s:
                    continue
                if each.name.startswith(DRAFT):
                    Path(each.path).unlink(missing_ok=True)
                elif NAME.fullmatch(name := f"{shard}/{each.name}"):
                    found.append(name)
        return found

    def _path(self, name: str) -> Path:
        assert NAME.fullmatch(name), f"no name of a stored file: {name!r}"
        return self._folder / name

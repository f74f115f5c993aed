"""Compiled Python of a shop's processes, kept in TIDEGATE_HOME where it may not lie beside the sources.

Without it (PYTHONDONTWRITEBYTECODE in containers, packages installed by root) each process compiles everything that it
imports at each start: seconds instead of tenths.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_environment(home: Path) -> dict[str, str]:
    """What children are told, with the folder made; empty when Python keeps compiled files by itself."""
    folder = _folder(home)
    if sys.pycache_prefix != str(folder):
        if not _needed():
            return {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            return {}
    if not _is_ours_alone(folder):
        return {}
    return {"PYTHONPYCACHEPREFIX": str(folder), "PYTHONDONTWRITEBYTECODE": ""}


def use_cache(home: Path) -> None:
    """Let this process import from the cache of `home`, if there is one and it is needed."""
    folder = _folder(home)
    if _needed() and _is_ours_alone(folder):
        sys.pycache_prefix = str(folder)
        sys.dont_write_bytecode = False


def _folder(home: Path) -> Path:
    return home.absolute() / "cache" / "python"


def _needed() -> bool:
    """Whether Python would not keep what it compiles of this package."""
    beside_us = os.access(Path(__file__).parent, os.W_OK)
    return sys.dont_write_bytecode or not (sys.pycache_prefix or beside_us)


def _is_ours_alone(folder: Path) -> bool:
    """Code is run from there: nobody else may be able to put some in."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and status.st_uid == os.geteuid() and status.st_mode & 0o022 == 0

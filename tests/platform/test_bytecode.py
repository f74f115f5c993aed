"""Compiled Python in TIDEGATE_HOME: used where it is needed, and only if nobody else could have put code in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tidegate.platform.bytecode import cache_environment, use_cache


@pytest.fixture(autouse=True)
def _unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", None)


def test_children_keep_what_they_compile_and_the_next_start_finds_it(tmp_path: Path) -> None:
    told = cache_environment(tmp_path)
    folder = tmp_path / "cache" / "python"
    assert told == {"PYTHONPYCACHEPREFIX": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    assert folder.stat().st_mode & 0o077 == 0
    use_cache(tmp_path)
    assert (sys.pycache_prefix, sys.dont_write_bytecode) == (str(folder), False)
    assert cache_environment(tmp_path) == told


def test_nothing_is_made_where_no_shop_was_started(tmp_path: Path) -> None:
    use_cache(tmp_path)
    assert sys.pycache_prefix is None
    assert not list(tmp_path.iterdir())


def test_python_that_keeps_its_own_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", "/elsewhere")
    assert cache_environment(tmp_path) == {}


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_cache_that_others_can_write_to_is_not_run(tmp_path: Path, mode: int) -> None:
    cache_environment(tmp_path)
    (tmp_path / "cache" / "python").chmod(mode)
    use_cache(tmp_path)
    assert sys.pycache_prefix is None
    assert cache_environment(tmp_path) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_cache_of_somebody_else_is_not_run(tmp_path: Path) -> None:
    cache_environment(tmp_path)
    os.chown(tmp_path / "cache" / "python", 65534, 65534)
    use_cache(tmp_path)
    assert sys.pycache_prefix is None

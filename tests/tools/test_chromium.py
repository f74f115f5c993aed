"""`make test` sees to a Chromium where it may, and never fails for lack of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Mac's applications are found outside of PATH")


def put(folder: Path, name: str, script: str = "exit 0") -> None:
    """A program of that name."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def see_to_chromium(folder: Path) -> str:
    """What tools/chromium.sh prints when `folder` is all there is on PATH."""
    script = ROOT / "tools" / "chromium.sh"
    done = subprocess.run(
        ["/bin/sh", script], env={"PATH": str(folder)}, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def test_one_that_is_there_is_taken(tmp_path: Path) -> None:
    put(tmp_path, "google-chrome")
    assert see_to_chromium(tmp_path) == ""


def apt(tmp_path: Path, *packages: str) -> None:
    """An apt-get that has these packages."""
    put(tmp_path, "env", 'shift; exec "$@"')
    known = "|".join(packages)
    put(
        tmp_path,
        "apt-get",
        f"""PATH=/usr/bin:/bin
[ "$1" = install ] || exit 0
for package in "$@"; do :; done
case "$package" in {known}) : >{tmp_path}/$package; chmod +x {tmp_path}/$package ;; *) exit 100 ;; esac""",
    )


def test_root_installs_the_lighter_one(tmp_path: Path) -> None:
    put(tmp_path, "id", "echo 0")
    put(tmp_path, "chromium")
    apt(tmp_path, "chromium-headless-shell", "chromium")
    assert see_to_chromium(tmp_path).startswith("Installing a browser")
    assert (tmp_path / "chromium-headless-shell").exists()
    assert see_to_chromium(tmp_path) == "", "it is there"


def test_where_there_is_no_lighter_one_root_installs_the_other(tmp_path: Path) -> None:
    put(tmp_path, "id", "echo 0")
    apt(tmp_path, "chromium")
    assert see_to_chromium(tmp_path).count("Installing a browser") == 2
    assert (tmp_path / "chromium").exists()


def test_who_is_not_root_gets_nothing_beside_a_browser(tmp_path: Path) -> None:
    put(tmp_path, "id", "echo 1000")
    put(tmp_path, "sudo", 'shift; exec "$@"')
    put(tmp_path, "true")
    put(tmp_path, "chromium")
    apt(tmp_path, "chromium-headless-shell")
    assert see_to_chromium(tmp_path) == ""
    assert not (tmp_path / "chromium-headless-shell").exists()


def test_without_leave_to_install_it_is_named(tmp_path: Path) -> None:
    put(tmp_path, "id", "echo 1000")
    put(tmp_path, "sudo", "exit 1")
    put(tmp_path, "apt-get", "echo must not run; exit 1")
    said = see_to_chromium(tmp_path)
    assert said.count("\n") == 1
    assert "install the package chromium" in said


def test_a_failed_installation_is_no_failed_test_run(tmp_path: Path) -> None:
    put(tmp_path, "id", "echo 0")
    apt(tmp_path, "nothing")
    assert "browser tests are skipped" in see_to_chromium(tmp_path)

"""TIDEGATE_HOME: one owner at a time, a known format, one clear line for everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Shop
from tidegate.ops.home import claimed_home
from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.problems import StartupError


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with claimed_home(tmp_path / "a" / "home") as home:
        assert home.path.stat().st_mode & 0o777 == 0o700
        assert not home.was_killed


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with (
        claimed_home(tmp_path),
        pytest.raises(StartupError, match=rf"runs on .* already \(process {os.getpid()}\)"),
        claimed_home(tmp_path),
    ):
        raise AssertionError("claimed twice")
    with claimed_home(tmp_path) as home:
        assert not home.was_killed


def test_a_failed_start_is_no_kill(tmp_path: Path) -> None:
    with pytest.raises(StartupError), claimed_home(tmp_path):
        raise StartupError("the moon is missing")
    with claimed_home(tmp_path) as home:
        assert not home.was_killed


def test_the_next_owner_learns_that_the_last_one_was_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tidegate.ops.home import claimed_home\n"
        "with claimed_home(Path(sys.argv[1])) as home: home.endpoints.write_text('{}'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    with claimed_home(tmp_path) as home:
        assert home.was_killed
        assert not home.endpoints.exists(), "endpoints of a killed supervisor lead nowhere"


@pytest.mark.parametrize(
    ("found", "said"), [("2\n", "by a newer Tidegate"), ("0\n", "by an older Tidegate"), ("x", "by a newer Tidegate")]
)
def test_a_folder_of_another_format_is_left_alone(tmp_path: Path, found: str, said: str) -> None:
    (tmp_path / "FORMAT").write_text(found)
    with pytest.raises(StartupError, match=said), claimed_home(tmp_path):
        raise AssertionError("claimed")
    assert (tmp_path / "FORMAT").read_text() == found


def test_a_database_without_its_secrets_is_not_given_new_ones(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(StartupError, match=r"no secrets\.json"), claimed_home(tmp_path):
        raise AssertionError("claimed")


@pytest.fixture
def unusable(tmp_path: Path) -> Iterator[dict[str, Path]]:
    (tmp_path / "file").write_text("")
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    yield {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "home", "closed": closed}
    closed.chmod(0o700)


@pytest.mark.parametrize("what", ["a file", "below a file"])
def test_a_home_that_is_no_folder_is_one_clear_line(unusable: dict[str, Path], what: str) -> None:
    done = Shop(unusable[what]).run("up")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tidegate: cannot write to TIDEGATE_HOME {unusable[what]}: ")
    assert done.stderr.count("\n") == 1


def test_an_unwritable_folder_is_one_clear_line(unusable: dict[str, Path]) -> None:
    program = Program(
        argv=(sys.executable, "-m", "tidegate", "up"), account="namespace" if os.geteuid() == 0 else ""
    )  # root in a namespace of its own has no more rights than the folder's owner
    done = subprocess.run(
        launch_command(program),
        env=Shop(unusable["closed"]).env(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"tidegate: cannot write to TIDEGATE_HOME {unusable['closed']}: Permission denied\n"

"""`make` finds a Python or says in one line what is missing, and renews `.venv` only for a reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tools import environment


def find_python(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of environment.sh, with `folder/bin` first on PATH, where a found Python is only shown.

    The system's own is `folder/bin/system`, if there is one.
    """
    (folder / "tools").mkdir(exist_ok=True)
    shutil.copy(ROOT / "tools" / "environment.sh", folder / "tools")
    command = ["/bin/sh", str(folder / "tools" / "environment.sh")]
    surroundings = {"PATH": f"{folder / 'bin'}:{os.defpath}", "SYSTEM_PYTHON": str(folder / "bin" / "system")}
    surroundings |= variables
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)


def put_python(folder: Path, name: str, *, new_enough: bool, optimised: bool = True, installs: bool = True) -> None:
    """A program that passes for a Python: tells what it is when asked, else its name."""
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"*version_info*) exit {int(not new_enough)} ;;\n"
        f"*--enable-optimizations*) exit {int(not optimised)} ;;\n"
        f"*ensurepip* | *pip*) exit {int(not installs)} ;;\n"
        "esac\n"
        f'echo ran {name} "$@"\n'
    )
    file.chmod(0o755)


NAMES = ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python")


def test_the_first_python_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    for name in NAMES:
        put_python(tmp_path, name, new_enough=name in {"python3.12", "python3.11"})
    assert find_python(tmp_path).stdout == "ran python3.12 -m tools.environment\n"


@pytest.mark.parametrize(
    ("optimised", "installs", "taken"), [(False, True, "system"), (True, True, "python3"), (False, False, "python3")]
)
def test_the_systems_own_python_stands_in_for_one_that_was_not_optimised(
    tmp_path: Path, optimised: bool, installs: bool, taken: str
) -> None:
    put_python(tmp_path, "python3", new_enough=True, optimised=optimised)
    put_python(tmp_path, "system", new_enough=True, optimised=False, installs=installs)
    assert find_python(tmp_path).stdout == f"ran {taken} -m tools.environment\n"


def test_old_pythons_only_is_one_clear_line(tmp_path: Path) -> None:
    for name in NAMES:
        put_python(tmp_path, name, new_enough=False)
    done = find_python(tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs Python >= 3.11" in done.stderr


def test_a_python_that_was_asked_for_is_not_replaced_by_another(tmp_path: Path) -> None:
    for name in NAMES:
        put_python(tmp_path, name, new_enough=True)
    put_python(tmp_path, "mine", new_enough=False)
    put_python(tmp_path, "system", new_enough=True)
    done = find_python(tmp_path, PYTHON=str(tmp_path / "bin" / "mine"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_python_that_was_asked_for_is_taken_as_it_is(tmp_path: Path) -> None:
    put_python(tmp_path, "mine", new_enough=True, optimised=False)
    put_python(tmp_path, "system", new_enough=True)
    done = find_python(tmp_path, PYTHON=str(tmp_path / "bin" / "mine"))
    assert done.stdout == "ran mine -m tools.environment\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with an environment that is up to date; what uv is told is written into `calls`."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "dev.txt").write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname='a'\n[build-system]\n[dependency-groups]\n[tool.ruff]\n")
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/calls\n[ "$1" = venv ] && mkdir .venv\nexit 0\n')
    uv.chmod(0o755)
    venv_python = tmp_path / ".venv" / "bin" / "python"
    venv_python.parent.mkdir(parents=True)
    venv_python.symlink_to(sys.executable)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "VENV_PYTHON", venv_python)
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "stamp.json")
    monkeypatch.setattr(environment, "LOCK", tmp_path / "requirements" / "dev.txt")
    monkeypatch.setattr(environment, "find_uv", lambda: uv)
    environment.STAMP.write_text(json.dumps(environment.inputs()))
    return tmp_path


def calls(project: Path) -> list[str]:
    """What uv was told."""
    return (project / "calls").read_text().splitlines() if (project / "calls").exists() else []


def test_nothing_is_done_when_nothing_changed(project: Path) -> None:
    (project / "pyproject.toml").write_text((project / "pyproject.toml").read_text() + "line-length = 100\n")
    assert environment.main([]) == 0
    assert calls(project) == []


def test_a_new_lock_is_installed_once(project: Path) -> None:
    (project / "requirements" / "dev.txt").write_text("a==2\n")
    assert environment.main([]) == 0
    assert calls(project) == ["pip sync", "pip install"]
    assert environment.main([]) == 0
    assert len(calls(project)) == 2


def test_a_python_that_is_gone_makes_a_new_environment(project: Path) -> None:
    environment.VENV_PYTHON.unlink()
    assert environment.main([]) == 0
    assert calls(project)[0].startswith("venv")


def test_a_copied_tree_makes_its_own_environment(project: Path) -> None:
    environment.STAMP.write_text(json.dumps(environment.inputs() | {"root": "/elsewhere"}))
    assert environment.main([]) == 0
    assert calls(project)[0].startswith("venv")


def test_a_failed_install_is_told_and_tried_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "requirements" / "dev.txt").write_text("a==2\n")
    working = (project / "uv").read_text()
    (project / "uv").write_text("#!/bin/sh\nexit 1\n")
    assert environment.main([]) == 2
    assert capsys.readouterr().err == "the packages could not be installed: see above\n"
    (project / "uv").write_text(working)
    assert environment.main([]) == 0
    assert calls(project) == ["pip sync", "pip install"]

"""Keep `.venv` in step with the locks: `make setup`, and quietly before every other target.

Runs on the standard library alone. uv does the installing; when there is none on PATH, it is installed from its own
hashed lock into `.uv/` of the repository. A stamp in `.venv` tells what it was made from, so that nothing is done when
nothing has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "tidegate-stamp.json"
OWN_UV = ROOT / ".uv"
LOCK = ROOT / "requirements" / "dev.txt"
UV_LOCK = ROOT / "requirements" / "uv.txt"
INSTALLED_FROM = ("project", "build-system", "dependency-groups")


class SetupError(Exception):
    """What the person at the terminal has to mend, in one line."""


def inputs() -> dict[str, str]:
    """What `.venv` is made from. The folder counts too: scripts carry its path, so a copied tree needs its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [LOCK.read_text(), json.dumps([project[table] for table in INSTALLED_FROM], sort_keys=True)]
    return {"root": str(ROOT), "digest": hashlib.sha256("\0".join(parts).encode()).hexdigest()}


def recorded() -> dict[str, str]:
    """What `.venv` was made from; empty when it is unfinished or absent."""
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def works(python: Path) -> bool:
    """Whether `python` still starts (an upgrade of the system may take it away) and is new enough."""
    test = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-c", test], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(*command: str | Path, fail: str) -> None:
    """Run `command` with its output shown. Raises SetupError saying `fail`."""
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    try:
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    except OSError as error:
        raise SetupError(f"{fail} ({error})") from None
    if code != 0:
        raise SetupError(fail)


def quiet(*command: str | Path) -> bool:
    """Whether `command` succeeds; its output is not shown."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def base_python() -> str:
    """The interpreter that environments are made from, never one inside an environment."""
    return getattr(sys, "_base_executable", None) or sys.executable


def own_uv() -> Path:
    """The pinned uv in `.uv/`, installed when it is missing or of another version.

    Raises: SetupError when this Python has neither venv with pip nor pip.
    """
    uv, stamp, wanted = OWN_UV / "bin" / "uv", OWN_UV / "stamp", UV_LOCK.read_text()
    if stamp.exists() and stamp.read_text() == wanted and quiet(uv, "--version"):
        return uv
    print("Installing uv into .uv/ ...", flush=True)
    shutil.rmtree(OWN_UV, ignore_errors=True)
    hashed = ("install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", UV_LOCK)
    if quiet(base_python(), "-m", "venv", OWN_UV):
        run(OWN_UV / "bin" / "python", "-m", "pip", *hashed, fail="uv could not be installed: see above")
    elif quiet(base_python(), "-m", "pip", "--version"):
        shutil.rmtree(OWN_UV, ignore_errors=True)  # Debian's Python without python3-venv leaves half an environment
        run(base_python(), "-m", "pip", *hashed, "--target", OWN_UV, fail="uv could not be installed: see above")
    else:
        raise SetupError(f"{base_python()} has neither venv nor pip: install python3-venv, or uv, and try again")
    stamp.write_text(wanted)
    return uv


def find_uv() -> Path:
    """The uv on PATH where it runs, else our own."""
    found = shutil.which("uv")
    return Path(found) if found and quiet(found, "--version") else own_uv()


def refresh() -> None:
    """Make or mend `.venv`."""
    uv = find_uv()
    if not works(VENV_PYTHON) or recorded().get("root", str(ROOT)) != str(ROOT):
        print("Making .venv ...", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        run(uv, "venv", "--quiet", "--python", base_python(), VENV, fail=".venv could not be made: see above")
    STAMP.unlink(missing_ok=True)
    print("Installing the locked packages into .venv ...", flush=True)
    into = ("--quiet", "--python", VENV_PYTHON)
    run(uv, "pip", "sync", *into, "--require-hashes", LOCK, fail="the packages could not be installed: see above")
    own = ("--no-deps", "--no-build-isolation", "--editable", ".")
    run(uv, "pip", "install", *into, *own, fail="Tidegate could not be installed into .venv: see above")
    STAMP.write_text(json.dumps(inputs()))


def main(arguments: list[str]) -> int:
    """Bring `.venv` up to date, one process at a time; `--lock` resolves the locks anew first."""
    folder = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        if arguments[:1] == ["--lock"]:
            run(base_python(), "-m", "tools.lock", own_uv(), *arguments[1:], fail="no lock was written: see above")
        if recorded() != inputs() or not works(VENV_PYTHON):
            refresh()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        os.close(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

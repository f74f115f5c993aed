"""The locks hold what pyproject.toml asks for, with hashes and without addresses, the same versions in each."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.sources import ROOT
from tools.lock import group

LOCKS = ("runtime", "dev", "uv")
ENTRY = re.compile(r"^([a-zA-Z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locked(text: str) -> dict[str, Version]:
    """Version of each package in a lock."""
    return {canonicalize_name(name): Version(version) for name, version in ENTRY.findall(text)}


def without_hash(text: str) -> list[str]:
    """Packages that a lock pins without a hash."""
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [entry.split("==")[0].strip() for entry in entries if "==" in entry and "--hash=sha256:" not in entry]


def unmet(requirements: list[str], lock: dict[str, Version]) -> list[str]:
    """Requirements that a lock lacks or pins to a version that they do not allow."""
    wanted = map(Requirement, requirements)
    return [
        str(one) for one in wanted if (v := lock.get(canonicalize_name(one.name))) is None or v not in one.specifier
    ]


def lock_text(name: str) -> str:
    """A lock as it stands in the repository."""
    return (ROOT / "requirements" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_no_addresses(name: str) -> None:
    assert without_hash(lock_text(name)) == []
    assert re.findall(r"\S+://\S*|^--?\w\S*", lock_text(name), re.MULTILINE) == []
    assert " @ " not in lock_text(name)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = project["project"]["dependencies"]
    assert unmet(runtime, locked(lock_text("runtime"))) == [], "run make lock"
    developing = runtime + group(project["dependency-groups"], "dev") + project["build-system"]["requires"]
    assert unmet(developing, locked(lock_text("dev"))) == [], "run make lock"


def test_the_developers_lock_is_the_shops_lock_and_more() -> None:
    runtime, dev = locked(lock_text("runtime")), locked(lock_text("dev"))
    assert runtime.items() <= dev.items(), "run make lock"


def test_it_fires_on_a_lock_that_is_out_of_step() -> None:
    text = "# made\na==1.0 \\\n    --hash=sha256:00\nb==2.0 ; python_version < '4'\nc==3\n"
    assert without_hash(text) == ["b", "c"]
    assert unmet(["a>=1", "b>=2.1", "d"], locked(text)) == ["b>=2.1", "d"]

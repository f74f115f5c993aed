"""Pin every dependency with hashes and without addresses: `make lock` writes requirements/*.txt.

`uv pip compile` refuses dependency groups of a project that it does not manage, so the groups are read here.
Arguments are handed on, for instance `--upgrade` or `--upgrade-package fastapi`.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
OLDEST_PYTHON = "3.11"


def group(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Requirements of a dependency group (PEP 735), with the groups that it includes."""
    found: list[str] = []
    for entry in groups[name]:
        found += [entry] if isinstance(entry, str) else group(groups, entry["include-group"])
    return found


def write_lock(uv: str, name: str, *, requirements: list[str], options: list[str]) -> None:
    """Resolve `requirements` for every platform and every Python from the oldest on into requirements/NAME.txt."""
    command = [uv, "pip", "compile", "-", "--quiet", "--universal", "--generate-hashes", "--no-annotate"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--python-version", OLDEST_PYTHON]
    command += ["--custom-compile-command", "make lock", "--output-file", str(LOCKS / f"{name}.txt"), *options]
    subprocess.run(command, cwd=ROOT, input="\n".join(requirements), text=True, check=True)
    lock = (LOCKS / f"{name}.txt").read_text()
    if "://" in lock:
        sys.exit(f"requirements/{name}.txt holds an address: a lock must install from any mirror")


def main(uv: str, options: list[str]) -> None:
    """Write the locks: what the shop needs, what its developers need on top, and the installer itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = project["project"]["dependencies"]
    write_lock(uv, "runtime", requirements=runtime, options=options)
    same_versions = ["--constraints", str(LOCKS / "runtime.txt")]
    write_lock(
        uv, "dev", requirements=runtime + group(project["dependency-groups"], "dev"), options=same_versions + options
    )
    write_lock(uv, "uv", requirements=["uv"], options=options)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""Everything that a machine can hold against the code: `make check`. The last line says which checks failed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MIGRATIONS = "src/tidegate/migrations/sql/*.sql"

CHECKS: dict[str, list[str | Path]] = {
    "format (ruff)": [BIN / "ruff", "format", "--check", "--quiet", "."],
    "lint (ruff)": [BIN / "ruff", "check", "--quiet", "."],
    "types (mypy)": [BIN / "mypy", "--no-error-summary"],
    "imports (import-linter)": [BIN / "lint-imports", "--no-logo"],
    "migrations (squawk)": [BIN / "squawk", MIGRATIONS],
    "settings' reference": [sys.executable, "-m", "tools.settings_reference", "--check"],
}


def passes(name: str, command: list[str | Path]) -> bool:
    """Run one check; its output is shown only when it fails."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"{name:<25}{verdict:>7}{time.monotonic() - started:8.1f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def main() -> int:
    """Run all checks. Exit code 1 when one failed."""
    failed = [name for name, command in CHECKS.items() if not passes(name, command)]
    if failed:
        print(f"make check failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What squawk is told to overlook is seen to elsewhere, and the rest it does find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import MIGRATIONS, PACKAGE, ROOT

SQUAWK = Path(sys.executable).parent / "squawk"


def findings(*targets: Path) -> subprocess.CompletedProcess[str]:
    """squawk with the project's configuration."""
    command: list[str | Path] = [SQUAWK, "--reporter", "gcc", "--config", ROOT / ".squawk.toml", *targets]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_migration_is_clean() -> None:
    done = findings(*sorted(MIGRATIONS.glob("*.sql")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("CREATE INDEX orders_state ON checkout.orders (state);", "require-concurrent-index-creation"),
        ("ALTER TABLE checkout.orders ADD COLUMN note text NOT NULL;", "adding-required-field"),
        ("ALTER TABLE checkout.orders DROP COLUMN note;", "ban-drop-column"),
        ("ALTER TABLE checkout.orders RENAME COLUMN a TO b;", "renaming-column"),
        (
            "ALTER TABLE checkout.orders ADD CONSTRAINT a CHECK (b > 0);",
            "constraint-missing-not-valid",
        ),
    ],
)
def test_squawk_fires_on_what_would_stop_a_shop(sql: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "0099_checkout.sql").write_text(sql + "\n")
    done = findings(tmp_path / "0099_checkout.sql")
    assert done.returncode != 0
    assert rule in done.stdout


def test_every_revision_runs_its_file_under_a_lock_timeout() -> None:
    statements = (PACKAGE / "migrations" / "statements.py").read_text()
    assert "SET LOCAL lock_timeout" in statements
    run = {file: file.read_text() for file in (PACKAGE / "migrations" / "versions").glob("[0-9]*.py")}
    assert run
    for file, source in run.items():
        assert "run_sql(" in source, f"{file.name} must run its SQL through statements.run_sql"
        assert "op.execute" not in source, f"{file.name} must run its SQL through statements.run_sql"


def test_every_file_of_sql_is_run_by_a_revision() -> None:
    sources = "".join(file.read_text() for file in (PACKAGE / "migrations" / "versions").glob("[0-9]*.py"))
    assert [file.name for file in MIGRATIONS.glob("*.sql") if file.name not in sources] == []

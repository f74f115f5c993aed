"""Whole rehearsals that go wrong: an engine that sells too much, something broken meanwhile, an end by SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers import COMPILED_PYTHON, is_gone, wait_until
from tests.sizes import at_full_size
from tidegate import inventory
from tidegate.platform.problems import StartupError
from tidegate.rehearse.leavings import PREFIX, remove_leavings
from tidegate.rehearse.stage import forget_another_shop

RUSH = """
title = "A rush"
says = "Ten pieces for sixty people."
lasts_s = 30

[sale]
units = 10
opens_after_s = 2
room = "none"

[arrivals]
shoppers = 60
within_s = 1.5

[mix]
buyer = 1

[habits]
think_s = [0.01, 0.05]

[objectives]
sold_share = 1.0

[[faults]]
dependency = "valkey"
fault = "reset"
at_s = 0.5
lasts_s = 1
"""

OF_A_REAL_SHOP = {
    "TIDEGATE_DATABASE_URL": "postgresql://shop@127.0.0.1:1/shop",
    "tidegate_valkey_url": "redis://127.0.0.1:1",
    "TIDEGATE_MAIL__SMTP_URL": "smtp://127.0.0.1:1",
    "TIDEGATE_PAYMENTS": '{"stripe_secret_key": "sk_test_1"}',
}


@at_full_size  # what a verdict says of oversold stock is for test_rules.py, too
@pytest.mark.timeout(180)
def test_an_engine_that_skips_the_stock_check_ends_red_and_the_verdict_says_why(tmp_path: Path) -> None:
    (tmp_path / "rush.toml").write_text(RUSH)
    played = subprocess.run(
        [sys.executable, "-m", "tidegate", "rehearse", str(tmp_path / "rush.toml"), "--out", str(tmp_path)],
        env={**os.environ, **OF_A_REAL_SHOP, **COMPILED_PYTHON, "TIDEGATE_REHEARSE_BROKEN": "stock-check"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert played.returncode == 1, played.stderr
    report = json.loads((tmp_path / "rush.json").read_text())
    assert report["sold"] > 10
    assert "The sale would not survive" in played.stdout
    assert f"nothing is oversold (OVERSOLD: {report['sold']} of 10 units)" in played.stdout
    assert report["books"], "the books say it, too"
    # Valkey's ways were reset meanwhile, and the report tells that nobody had to notice.
    (fault,) = report["faults"]
    assert (fault["dependency"], fault["fault"]) == ("valkey", "reset")
    assert fault["recovered_s"] is not None
    assert [each["can"] for each in fault["tried"] if each["took_s"] is None] == []
    assert 'class="chart-band"' in (tmp_path / "rush.html").read_text()


def test_no_other_shop_can_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_REHEARSE_BROKEN", "stock-check")
    assert not inventory.skip_stock_check_if_asked(demo=True, home=tmp_path), "no rehearsal started it"
    inventory.mark_as_thrown_away(tmp_path)
    assert not inventory.skip_stock_check_if_asked(demo=False, home=tmp_path)
    monkeypatch.setenv("TIDEGATE_REHEARSE_BROKEN", "")
    assert not inventory.skip_stock_check_if_asked(demo=True, home=tmp_path)
    monkeypatch.setenv("TIDEGATE_REHEARSE_BROKEN", "everything")
    with pytest.raises(StartupError, match="stock-check"):
        inventory.breaking_asked_for()


def test_a_rehearsal_never_has_the_servers_of_another_shop() -> None:
    environment = OF_A_REAL_SHOP | {"TIDEGATE_OVERLOAD__MOST": "64", "PATH": "/bin"}
    forget_another_shop(environment)
    assert environment == {"TIDEGATE_OVERLOAD__MOST": "64", "PATH": "/bin"}


@pytest.mark.timeout(150)
def test_a_rehearsal_that_is_killed_leaves_no_shop_behind(tmp_path: Path) -> None:
    rehearsal = subprocess.Popen(
        [sys.executable, "-m", "tidegate", "rehearse", "gateway-down", "--out", str(tmp_path)],
        env={**os.environ, **COMPILED_PYTHON, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: {"postgres", "valkey-server"} <= set(of(tmp_path).values()), timeout_s=110)
        left = list(of(tmp_path))
    finally:
        os.kill(rehearsal.pid, signal.SIGKILL)
        rehearsal.wait()
    assert len(left) > 4
    wait_until(lambda: all(is_gone(each) for each in (*left, *of(tmp_path))), timeout_s=30, what="an end of its shop")
    assert list(tmp_path.glob(f"{PREFIX}*"))
    remove_leavings(tmp_path)  # as the next rehearsal does
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def of(folder: Path) -> dict[psutil.Process, str]:
    """Everything that runs for a rehearsal whose shop lives below a folder, its proxies too, and what it is called."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            below = process.cwd().startswith(f"{folder}/") or f"{folder}/" in " ".join(process.cmdline())
            if below or process.environ().get("TIDEGATE_HOME", "").startswith(f"{folder}/"):
                found[process] = process.name()
        except (psutil.Error, OSError):
            continue
    return found

"""Whole rehearsals with real processes, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers import Shop
from tidegate.platform.embedded.ports import free_port

SMALL = ("--shoppers", "60", "--units", "12", "--seed", "7", "--connections", "16")


def rehearse(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidegate", "rehearse", *options, "--out", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timeout(150)
def test_a_sale_is_played_on_a_shop_of_its_own_and_survives(tmp_path: Path) -> None:
    played = rehearse("smoke", *SMALL, folder=tmp_path)
    assert played.returncode in (0, 1), played.stderr
    report = json.loads((tmp_path / "smoke.json").read_text())
    assert (report["sold"], report["lost"], report["books"]) == (12, 0, [])
    assert report["told"]["ends"]["bought"] == 12 == len(report["told"]["orders"])
    assert sum(report["told"]["ends"].values()) == 60
    assert report["told"]["problems"].get("internal-error") is None
    held = {
        verdict["asks"]: verdict["holds"] for verdict in report["verdicts"] if "answered within" not in verdict["asks"]
    }
    assert len(held) == 5
    assert all(held.values()), held
    page = (tmp_path / "smoke.html").read_text()
    assert "60 shoppers came for 12 units, 12 bought" in page
    assert page.count("<figure") == 11
    assert "<script" not in page
    assert "src=" not in page, "it needs nothing else"


def test_guests_come_to_a_shop_that_runs(shop: Shop, tmp_path: Path) -> None:
    made = shop.run(
        "drop", "create", "for-a-crowd", "--sku", "22114", "--stock", "5", "--opens-at", "now", "--per-buyer", "1"
    )
    assert made.returncode == 0, made.stderr
    target = ("--target", shop.base_url, "--drop", "for-a-crowd")
    played = rehearse("sellout-race", "--shoppers", "20", "--connections", "8", *target, folder=tmp_path)
    assert played.returncode in (0, 1), played.stderr
    report = json.loads((tmp_path / "sellout-race.json").read_text())
    assert report["told"]["ends"] == {"bought": 5, "sold out": 15}
    assert report["books"] is report["sold"] is None
    again = rehearse("sellout-race", *target, folder=tmp_path)
    assert (again.returncode, "sold out" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nothing"], "there is no scenario"),
        (["smoke", "--target", "http://127.0.0.1:{port}"], "belong together"),
        (["smoke", "--target", "http://127.0.0.1:{port}", "--drop", "x"], "does not answer"),
        (["smoke", "--target", "http://198.51.100.7", "--drop", "x"], "--i-own-this-target"),
        (["smoke", "--target", "ftp://127.0.0.1", "--drop", "x"], "the address of a shop"),
        (["smoke", "--target", "http://127.0.0.1:99999", "--drop", "x"], "no address"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(options: Sequence[str], says: str, tmp_path: Path) -> None:
    port = str(free_port())
    refused = rehearse(*(option.replace("{port}", port) for option in options), folder=tmp_path)
    assert refused.returncode == 2
    assert says in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    assert list(tmp_path.iterdir()) == []

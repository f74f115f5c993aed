"""Whole rehearsals with real processes, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Shop
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.problems import StartupError
from tidegate.rehearse import watching
from tidegate.rehearse.cli import rehearse_command
from tidegate.rehearse.rules import CROWD, OTHERS
from tidegate.rehearse.running import Rehearsal, rehearse_as_guests
from tidegate.rehearse.scenario import load_scenario

SMALL = ("--shoppers", "60", "--units", "12", "--seed", "7", "--connections", "16")


def rehearse(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidegate", "rehearse", *options, "--out", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=140, check=False)


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
    assert report["scenario"]["sale"]["units"] == 5, "what the shop has, whatever the scenario says"
    page = (tmp_path / "sellout-race.html").read_text()
    assert "20 people without a waiting room press the button for 5 pieces" in page
    assert "20 shoppers came for 5 units, 5 bought" in page
    with pytest.raises(StartupError, match="sold out"):
        rehearse_as_guests(rehearsal(), target=shop.base_url, drop="for-a-crowd")


async def test_nobody_comes_before_the_shop_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.001)
    busy = [{"worker": 0.9, CROWD: 0.0}, {"site": 0.3, "worker": 0.2}, {"site": 0.1, CROWD: 1.0, OTHERS: 1.0}, {}]
    looks = iter(busy)
    await watching.quiet(lambda: (next(looks), {}))
    assert list(looks) == [{}]
    monkeypatch.setattr(watching, "QUIET_WITHIN_S", 0.01)
    await watching.quiet(lambda: ({"site": 1.0}, {}))


def rehearsal() -> Rehearsal:
    return Rehearsal(name="smoke", scenario=load_scenario("smoke"), seed=1)


def test_what_cannot_be_played_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = rehearse("nothing", folder=tmp_path)
    assert refused.returncode == 2
    assert "there is no scenario" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StartupError, match="belong together"):
        rehearse_command("smoke", target="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("http://127.0.0.1:{port}", "does not answer"),
        ("http://198.51.100.7", "--i-own-this-target"),
        ("ftp://127.0.0.1", "the address of a shop"),
        ("http://127.0.0.1:8000/shop", "the address of a shop"),
        ("http://127.0.0.1:99999", "no address"),
    ],
)
def test_what_is_no_target_is_refused(target: str, says: str) -> None:
    with pytest.raises(StartupError, match=says):
        rehearse_as_guests(rehearsal(), target=target.replace("{port}", str(free_port())), drop="x")

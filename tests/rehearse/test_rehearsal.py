"""Whole rehearsals with real processes, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from tests.servers import Shop, wait_until
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.problems import StartupError
from tidegate.rehearse import watching
from tidegate.rehearse.cli import _say, rehearse_command
from tidegate.rehearse.faults import Can
from tidegate.rehearse.rules import CROWD, OTHERS
from tidegate.rehearse.running import Rehearsal, rehearse_as_guests
from tidegate.rehearse.scenario import load_scenario

BRIEF = """
title = "Brief"
says = "{shoppers} people and {units} pieces, while things break."
lasts_s = 90

[sale]
units = 12
opens_after_s = 6
room = "draw"
let_in_per_min = 60

[arrivals]
shoppers = 60
within_s = 5

[mix]
buyer = 75
browser = 10
panicker = 5
two_tabs = 5
quitter = 5

[habits]
think_s = [0.2, 1.0]
patience_s = 80
sign_in_links = 0.05

[objectives]
sold_share = 1.0
failed_share = 0.0
lost_requests = 60
page_p99_ms = 60000
join_p99_ms = 60000
purchase_p99_ms = 60000

[[faults]]
dependency = "site"
fault = "kill"
at_s = 8
lasts_s = 1

[[faults]]
dependency = "worker"
fault = "pause"
lasts_s = 1

[[faults]]
dependency = "gateway"
fault = "slow"
lasts_s = 1
"""

IMPOSSIBLE = """
title = "Impossible"
says = "{shoppers} people without a waiting room for {units} pieces, in no time at all."
lasts_s = 60

[sale]
units = 5
opens_after_s = 1
room = "none"

[arrivals]
shoppers = 20
within_s = 1

[mix]
buyer = 1

[habits]
think_s = [0.01, 0.05]

[objectives]
page_p99_ms = 0.001
"""


def rehearse(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidegate", "rehearse", *options, "--out", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=140, check=False)


@pytest.mark.timeout(150)
def test_a_sale_is_played_on_a_shop_of_its_own_and_survives_what_breaks_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "brief.toml").write_text(BRIEF)
    played = rehearse(str(tmp_path / "brief.toml"), "--seed", "7", "--connections", "16", folder=tmp_path)
    report = json.loads((tmp_path / "brief.json").read_text())
    assert played.returncode == 0, [each for each in report["verdicts"] if not each["holds"]]
    assert "The sale would survive" in played.stdout
    assert (report["sold"], report["lost"], report["books"]) == (12, 0, [])
    assert report["told"]["ends"]["bought"] == 12 == len(report["told"]["orders"])
    assert sum(report["told"]["ends"].values()) == 60
    assert report["told"]["problems"].get("internal-error") is None
    assert len(report["verdicts"]) == 11
    faults = report["faults"]
    assert [(each["dependency"], each["fault"]) for each in faults] == [
        ("site", "kill"), ("worker", "pause"), ("gateway", "slow"),
    ]  # fmt: skip
    assert {each["can"] for fault in faults for each in fault["tried"] if each["took_s"] is not None} == {*Can}
    assert all(fault["recovered_s"] is not None for fault in faults)
    timeline = report["told"]["timeline"]
    assert sum(each["let_in"] for each in timeline) >= 12
    measured = [second["cpu"] for second in timeline if second["cpu"]]  # the last second may end before its measurement
    assert len(measured) >= len(timeline) - 1
    assert all(cpu["site"] > 0 for cpu in measured[-5:]), "the one that was started anew, too"
    page = (tmp_path / "brief.html").read_text()
    assert "60 shoppers came for 12 units, 12 bought" in page
    assert page.count("<figure") == 13
    assert page.count('class="chart-band"') == 3 * 13
    assert "<script" not in page
    assert "src=" not in page, "it needs nothing else"


def test_guests_come_to_a_shop_that_runs(shop: Shop, tmp_path: Path) -> None:
    made = shop.run("drop", "create", "for-a-crowd", "--sku", "22114", "--stock", "5", "--opens-at", "now", "--guests")
    assert made.returncode == 0, made.stderr
    (tmp_path / "impossible.toml").write_text(IMPOSSIBLE)
    target = ("--target", shop.base_url, "--drop", "for-a-crowd")
    played = rehearse(str(tmp_path / "impossible.toml"), "--connections", "8", *target, folder=tmp_path)
    report = json.loads((tmp_path / "impossible.json").read_text())
    assert played.returncode == 1, "for those who let a program look"
    assert "The sale would not survive" in played.stdout
    assert report["told"]["ends"] == {"bought": 5, "sold out": 15}
    assert report["books"] is report["sold"] is None
    assert report["scenario"]["sale"]["units"] == 5, "what the shop has, whatever the scenario says"
    page = (tmp_path / "impossible.html").read_text()
    assert "20 people without a waiting room for 5 pieces" in page
    assert "20 shoppers came for 5 units, 5 bought" in page
    # what is kept of a drop is a second old at most
    wait_until(lambda: httpx.get(f"{shop.base_url}/api/v1/drops/for-a-crowd").json()["phase"] == "sold_out")
    with pytest.raises(StartupError, match="sold out"):
        rehearse_as_guests(rehearsal(), target=shop.base_url, drop="for-a-crowd")


def test_a_line_on_a_terminal_leaves_nothing_of_the_one_before() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=20)
    _say(console, "a line that is longer than the terminal", end="\r")
    _say(console, "short", end="\n")
    first, second = out.getvalue().split("\r")
    assert (first, second) == ("a line that is long", "short".ljust(19) + "\n")


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
    with pytest.raises(StartupError, match="no report can be written"):
        rehearse_command("smoke", out=Path(__file__))
    with pytest.raises(StartupError, match="--fit chooses"):
        rehearse_command("smoke", fit=True, units=5)
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

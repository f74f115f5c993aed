"""What a rehearsal tells of costs, and what is foretold from them."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tidegate.entrypoints.commands import make_app
from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Arrivals, Report, Sale, Scenario, Second, Told
from tidegate.rehearse.findings import with_findings
from tidegate.rehearse.learnt import Costs, learn, spans, was_full, why_no_costs
from tidegate.rehearse.measures import StepSecond
from tidegate.rehearse.planning import Limits, Machine, Prices, check, plan
from tidegate.rehearse.planning import Sale as PlannedSale

TRUE_S = {"page": 0.002, "status": 0.000_05, "join": 0.000_5, "place": 0.000_3, "purchase": 0.001_5}
"""What a request costs the site in the rehearsals that are made up here; PostgreSQL works half as long."""


def rehearsal(*, shoppers: int = 5_000, units: int = 500, seconds: int = 60, seed: int = 1) -> Report:
    """A report as a rehearsal would write it: people come in the first half, and buy in the second."""
    dice, timeline = random.Random(seed), []
    half = seconds // 2
    for at in range(seconds):
        early = at < half
        arrived = shoppers // half if early else 0
        waiting = min(arrived * at, shoppers) if early else shoppers
        steps = {
            "page": arrived * 2,
            "join": arrived,
            "status": round(waiting * 0.2 * dice.uniform(0.8, 1.2)),
            "place": 0 if early else units // half,
            "purchase": 0 if early else units // half,
        }
        site = 0.02 + sum(TRUE_S[step] * count for step, count in steps.items()) * dice.uniform(0.97, 1.03)
        timeline.append(
            Second(
                at=float(at + 1),
                arrived=arrived,
                answered=sum(steps.values()),
                bought=steps["purchase"],
                failed=0,
                inside=waiting,
                waiting=waiting,
                sockets=10,
                in_flight=1,
                p50_ms=1.0,
                p99_ms=2.0,
                purchase_p99_ms=3.0,
                left=units,
                cpu={"site": site, "postgres": site / 2, "worker": 0.01, "crowd": 0.5},
                memory_mb={"site": 120.0},
                steps={step: StepSecond(count, 1.0, 1.0) for step, count in steps.items() if count},
            )
        )
    bought = sum(second.bought for second in timeline)
    told = Told(
        began_at=0.0, seconds=float(seconds), shoppers=shoppers,
        requests=sum(second.answered for second in timeline), ends={}, funnel={"bought": bought}, latencies={},
        problems={}, timeline=tuple(timeline), orders=(), most_inside=shoppers, most_sockets=10, most_in_flight=1,
        late_p99_ms=1.0, cpu_us_per_request=40.0, bytes_per_shopper=700,
    )  # fmt: skip
    scenario = Scenario(
        title="Drop", says="", lasts_s=float(seconds), sale=Sale(units=units, opens_after_s=float(half)),
        arrivals=Arrivals(shoppers=shoppers, within_s=float(half)), mix={},
    )  # fmt: skip
    report = Report(
        name="drop", scenario=scenario, seed=1, target="", told=told, sold=bought, books=(), lost=0, verdicts=(),
        advice=(), version="1",
    )  # fmt: skip
    found = with_findings(report, processes={"site": 2, "postgres": 1, "worker": 1})
    return msgspec.structs.replace(found, cores=64)


def test_costs_are_found_again_and_add_up() -> None:
    report = rehearsal()
    costs = learn(report)
    assert costs.cpu_s["site"]["page"] == pytest.approx(TRUE_S["page"], rel=0.5)
    used = sum(second.cpu["site"] for second in report.told.timeline)
    site = costs.cpu_s["site"]
    explained = sum(site[step] * told.count for second in report.told.timeline for step, told in second.steps.items())
    assert explained + costs.idle["site"] * len(report.told.timeline) == pytest.approx(used)
    assert "crowd" not in costs.cpu_s
    assert costs.per_sold == {"purchase": 1.0, "place": 1.0, "hold": 0.0, "pay": 0.0, "order": 0.0}
    assert costs.per_shopper["page"] == pytest.approx(2.0, rel=0.1)


COSTS: Costs = learn(rehearsal())


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(10, 7_200), st.integers(1, 64))
def test_more_people_never_need_less(shoppers: int, stock: int, within_s: int, cores: int) -> None:
    small = plan(COSTS, PlannedSale(shoppers, stock, within_s), Limits(cores, 15, 5_000))
    large = plan(COSTS, PlannedSale(2 * shoppers, 2 * stock, within_s), Limits(cores, 15, 5_000))
    assert large.total_cores >= small.total_cores
    assert all(large.processes[part] >= count >= 1 for part, count in small.processes.items())
    assert large.suffices <= small.suffices
    assert small.suffices == (small.outgrown_at >= shoppers) or abs(small.outgrown_at - shoppers) <= 1
    assert small.longest_wait_s >= small.wait_s > 0


def test_prices_take_the_cheapest_machines_that_are_enough() -> None:
    prices = Prices("EUR", (Machine("small", 2, 0.10), Machine("large", 16, 0.50)), hours=1.0)
    sale = PlannedSale(500_000, 20_000, 60.0)
    planned = plan(COSTS, sale, Limits(2, 15, 5_000), prices=prices)
    assert not planned.suffices and planned.rented is not None
    assert planned.rented.name == "large"
    assert planned.rented.count * 16 >= planned.total_cores > (planned.rented.count - 1) * 16
    hours = 1.0 + 60 / 3_600
    assert planned.rented.per_1000_orders == pytest.approx(planned.rented.count * 0.50 * hours / 20, abs=1e-3)


def test_another_size_is_foretold() -> None:
    for small, large in ((5_000, 15_000), (15_000, 5_000)):
        costs = learn(rehearsal(shoppers=small, units=small // 10))
        checked = check(costs, rehearsal(shoppers=large, units=large // 10, seed=2), polls_per_s=1e9)
        assert {each.name for each in checked.figures if abs(each.error) > 0.1} == set(), checked
        assert (checked.slowness, checked.full) == (None, False)


def test_a_room_asks_a_larger_crowd_to_ask_less_often() -> None:
    sale = PlannedSale(500_000, 500, 30.0)
    free, bound = (plan(COSTS, sale, Limits(64, 15, per_s)) for per_s in (1e9, 5_000.0))
    assert free.cores["gate"] - bound.cores["gate"] > 90_000 * TRUE_S["status"] / 2
    assert bound.sockets == 75_000


def test_more_orders_a_second_need_more_in_the_time_in_which_people_buy() -> None:
    slow, fast = (plan(COSTS, PlannedSale(5_000, stock, 30.0), Limits(64, 15, 5_000)) for stock in (30_000, 60_000))
    assert sum(fast.cores.values()) - sum(slow.cores.values()) == pytest.approx(
        1_000 * COSTS.of_order(list(COSTS.cpu_s)), rel=0.1
    )


def test_what_requests_do_not_explain_shrinks_with_them_and_does_not_grow() -> None:
    report = rehearsal()
    timeline = tuple(
        msgspec.structs.replace(second, cpu={**second.cpu, "site": second.cpu["site"] + 1.5})
        for second in report.told.timeline
    )
    costs = dataclasses.replace(COSTS, spans=spans(timeline))
    few, same, many = (
        sum(plan(costs, PlannedSale(people, people // 10, 30.0), Limits(2, 15, 1e9)).cores.values())
        for people in (50, 5_000, 50_000)
    )
    assert few < 0.2
    without = plan(COSTS, PlannedSale(50_000, 5_000, 30.0), Limits(2, 15, 1e9))
    assert many - sum(without.cores.values()) == pytest.approx(1.5, abs=0.1)
    assert same == pytest.approx(max(sum(span.cores.values()) for span in costs.spans), rel=0.05)
    assert plan(costs, PlannedSale(5_000, 500, 30.0), Limits(2, 15, 1e9)).outgrown_at > 0


def at_speed(report: Report, times: float) -> Report:
    """The same on a machine on which everything takes so many times as long."""
    timeline = tuple(
        msgspec.structs.replace(
            second, cpu={kind: times * used for kind, used in second.cpu.items()}, work_us=1_000.0 * times
        )
        for second in report.told.timeline
    )
    slower = msgspec.structs.replace(report, told=msgspec.structs.replace(report.told, timeline=timeline))
    return msgspec.structs.replace(with_findings(slower, processes=report.processes), cores=report.cores)


def test_a_slower_machine_is_told_apart_from_dearer_requests() -> None:
    checked = check(learn(at_speed(rehearsal(), 1.0)), at_speed(rehearsal(seed=2), 1.6), polls_per_s=1e9)
    assert checked.slowness == 1.6
    assert {each.name for each in checked.figures if abs(each.error) > 0.1} == set(), checked


def test_a_machine_that_was_full_is_said_to_be() -> None:
    report = rehearsal()
    assert not was_full(msgspec.structs.replace(report, cores=64))
    full = msgspec.structs.replace(report, cores=1)
    assert was_full(full)
    assert check(COSTS, full, polls_per_s=1e9).full
    told = plan(learn(full), PlannedSale(5_000, 500, 30.0), Limits(2, 15, 5_000)).assumptions
    assert any(each.startswith("all cores were in use in the rehearsal") for each in told)


def run(*words: str) -> Result:
    return CliRunner().invoke(make_app(["plan"]), ["plan", *words])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "home"))
    asked = ("--shoppers", "500_000", "--stock", "20,000", "--within", "10m")
    assert "there is no rehearsal to learn from" in str(run(*asked).exception)
    reports = tmp_path / "rehearsals"
    reports.mkdir()
    small, large = reports / "small.json", tmp_path / "large.json"
    small.write_bytes(msgspec.json.encode(rehearsal()))
    large.write_bytes(msgspec.json.encode(rehearsal(shoppers=15_000, units=1_500)))
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "EUR"\n[[machine]]\nname = "m"\ncores = 8\nper_hour = 0.4\n')
    told = run(*asked, "--prices", str(prices))
    assert told.exit_code == 1, told.output
    assert "is not enough for 500,000 shoppers and 20,000 pieces within 600 s" in told.output
    assert "EUR per 1,000 orders on" in told.output and "It is assumed that" in told.output
    document = msgspec.json.decode(run("--shoppers", "20", "--stock", "2", "--within", "1h", "--json").output)
    assert (document["suffices"], document["learnt_from"]) == (True, "rehearsals/small.json")
    checked = msgspec.json.decode(run("--check", str(large), "--json").output)
    assert {each["name"] for each in checked["figures"]} >= {"requests", "CPU s of all"}
    assert "foretold" in run("--check", str(large)).output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--stock", "5", "--within", "1m"), "--shoppers '' is no number"),
        (("--shoppers", "many", "--stock", "5", "--within", "1m"), "--shoppers 'many' is no number"),
        (("--shoppers", "0", "--stock", "5", "--within", "1m"), "--shoppers '0' is no number"),
        (("--shoppers", "5", "--stock", "-5", "--within", "1m"), "--stock '-5' is no number"),
        (("--shoppers", "5", "--stock", "5", "--within", "soon"), "--within 'soon' is no time"),
        (("--shoppers", "5", "--stock", "5", "--within", "0m"), "--within '0m' is no time"),
        (("--shoppers", "5", "--stock", "5", "--within", "1m", "--from", "none.json"), "none.json cannot be read"),
        (("--shoppers", "5", "--stock", "5", "--within", "1m", "--prices", "wrong.toml"), "is no list of prices"),
        (("--check", "wrong.toml"), "is no report of a rehearsal"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rehearsals").mkdir()
    (tmp_path / "rehearsals" / "drop.json").write_bytes(msgspec.json.encode(rehearsal()))
    (tmp_path / "wrong.toml").write_text('currency = "EUR"\nmachines = 3\n')
    found = run(*words).exception
    assert isinstance(found, StartupError)
    assert says in str(found) and "\n" not in str(found)


def test_a_report_without_costs_says_why() -> None:
    report = rehearsal()
    assert "without --target" in why_no_costs(msgspec.structs.replace(report, processes={}))
    assert "older version" in why_no_costs(msgspec.structs.replace(report, costs=()))
    sold_nothing = msgspec.structs.replace(report.told, funnel={"bought": 0})
    assert "nobody bought" in why_no_costs(msgspec.structs.replace(report, told=sold_nothing))
    assert why_no_costs(report) == ""

"""When people come, who they are, and what an outcome is worth."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rehearse.makers import scenario, second, told
from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Arrivals, Curve, End, Kind, Latency, Objectives, Scenario, SignIn, Step, Told
from tidegate.rehearse.histogram import Histogram
from tidegate.rehearse.rules import (
    arrival_times,
    chance,
    check_scenario,
    description,
    expected_steps,
    judge,
    pick_kind,
    sentence,
    sign_ins,
)
from tidegate.rehearse.scenario import FOLDER, Sizes, load_scenario, scenario_names


@given(st.lists(st.floats(0, 100_000, allow_nan=False), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_told_to_within_a_thirtieth(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(int(share * len(values) + 0.999_999), 1) - 1]
    assert exact * 1e3 * (1 - 1 / 30) - 0.01 <= histogram.quantile_ms(share) <= exact * 1e3 * (1 + 1 / 30) + 0.01


def test_a_histogram_forgets_all_and_tells_of_nothing() -> None:
    histogram = Histogram()
    histogram.record(1.0)
    histogram.clear()
    assert (histogram.count, histogram.quantile_ms(0.99)) == (0, 0.0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(any), st.integers(0, 1_000))
def test_people_come_along_a_trace_in_its_proportions(counts: list[int], seed: int) -> None:
    arrivals = Arrivals(shoppers=400, within_s=20.0, curve=Curve.TRACE, counts=tuple(counts))
    times = list(arrival_times(arrivals, opens_after_s=1.0, draw=random.Random(seed).random))
    assert times == sorted(times)
    piece_s = 20.0 / len(counts)
    came = [0] * len(counts)
    for at in times:
        came[min(int(at / piece_s), len(counts) - 1)] += 1
    assert sum(came) == 400
    for count, here in zip(counts, came, strict=True):
        share = count / sum(counts)
        assert here == pytest.approx(400 * share, abs=6 * (400 * share * (1 - share)) ** 0.5 + 2), "six sigma"


def test_a_trace_is_read_from_a_file_beside_the_scenario(tmp_path: Path) -> None:
    text = (FOLDER / "smoke.toml").read_text().replace('curve = "step"', 'curve = "trace"\ntrace = "mine.csv"')
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "mine.csv").write_text("# from our own log\nminute,requests\n2026-01-01 10:00,0\n2026-01-01 10:01,7\n")
    assert load_scenario(str(tmp_path / "mine.toml")).arrivals.counts == (0, 7)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("a,1\nb,x\n", "does not end in a count"),
        ("minute,requests\n", "lines with counts, please"),
        ("a,0\n", "a trace in which somebody comes"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_trace_is_refused_in_one_line(lines: str | None, says: str, tmp_path: Path) -> None:
    text = (FOLDER / "smoke.toml").read_text().replace('curve = "step"', 'curve = "trace"\ntrace = "mine.csv"')
    (tmp_path / "mine.toml").write_text(text)
    if lines is not None:
        (tmp_path / "mine.csv").write_text(lines)
    with pytest.raises(StartupError, match=says) as refused:
        load_scenario(str(tmp_path / "mine.toml"))
    assert "\n" not in str(refused.value)


def test_some_sign_in_first_and_the_same_seed_picks_the_same_ones() -> None:
    wanted = scenario(shoppers=4_000)
    habits = msgspec.structs.replace(wanted.habits, sign_in_links=0.1, sign_in_passwords=0.02)
    wanted = msgspec.structs.replace(wanted, habits=habits)
    picked = sign_ins(wanted, seed=3)
    assert picked == sign_ins(wanted, seed=3) != sign_ins(wanted, seed=4)
    ways = list(picked.values())
    assert ways.count(SignIn.LINK) == pytest.approx(400, rel=0.2)
    assert ways.count(SignIn.PASSWORD) == pytest.approx(80, rel=0.4)
    assert sign_ins(scenario(), seed=3) == {}


@pytest.mark.parametrize(("grown_mb", "holds"), [(20.0, True), (80.0, False)])
def test_a_process_that_grows_is_seen(grown_mb: float, holds: bool) -> None:
    timeline = [
        msgspec.structs.replace(
            second(float(n), steps={}, cpu={}), memory_mb={"site": 100.0 + grown_mb * n / 60, "crowd": 50.0 * n}
        )
        for n in range(60)
    ]
    visit = told(ends={}, latencies={}, timeline=timeline)
    verdicts = judge(objectives(memory_growth_mb=50.0), visit, units=1, sold=None, broken=None, lost=None)
    assert [(verdict.found.split()[0], verdict.holds) for verdict in verdicts] == [("site", holds)]


@pytest.mark.parametrize("curve", [curve for curve in Curve if curve is not Curve.TRACE])
def test_everybody_comes_in_time_and_the_same_seed_brings_the_same_crowd(curve: Curve) -> None:
    arrivals = Arrivals(shoppers=2_000, within_s=10.0, curve=curve)
    times = [list(arrival_times(arrivals, opens_after_s=4.0, draw=random.Random(5).random)) for _ in range(2)]
    assert times[0] == times[1] == sorted(times[0])
    assert len(times[0]) == 2_000
    assert min(times[0]) >= 0
    assert max(times[0]) <= 11.0
    early, rush = sum(at < 5 for at in times[0]), sum(4 <= at < 5 for at in times[0])
    expected = {Curve.STEP: (1_000, 200), Curve.RAMP: (500, 180), Curve.SPIKE: (1_500, 1_100)}[curve]
    assert (early, rush) == pytest.approx(expected, rel=0.15)


def test_kinds_come_by_their_weights() -> None:
    mix = {Kind.BUYER: 3, Kind.BOT: 1, Kind.QUITTER: 0}
    kinds = [pick_kind(mix, chance(seed, number, 0)) for seed in range(4) for number in range(1_000)]
    assert kinds.count(Kind.BUYER) == pytest.approx(3_000, rel=0.05)
    assert Kind.QUITTER not in kinds


def test_chance_is_spread_evenly_over_shoppers_and_their_decisions() -> None:
    drawn = [chance(7, number, turn) for number in range(200) for turn in range(50)]
    assert len(set(drawn)) == len(drawn)
    assert [sum(n / 10 <= each < (n + 1) / 10 for each in drawn) for n in range(10)] == pytest.approx(
        [1_000] * 10, rel=0.12
    )


def test_every_scenario_that_is_shipped_can_be_played() -> None:
    names = scenario_names()
    assert {"smoke", "drop", "sellout-race", "browse-storm", "overload", "flash-crowd", "soak"} <= set(names)
    for name in names:
        assert check_scenario(load_scenario(name)) is None


@pytest.mark.parametrize(
    ("line", "instead", "says"),
    [
        ("buyer = 70", "ghost = 70", "ghost"),
        ("units = 60", "units = 0", "sale.units"),
        ('room = "draw"', 'room = "lounge"', "draw, arrival, none"),
        ("opens_after_s = 6", "opens_after_s = 600", "lasts_s"),
        ("shoppers = 300", "shoppers = 0", "arrivals.shoppers"),
        ("think_s = [0.2, 1.0]", "think_s = [3, 1]", "the least comes first"),
        ("sold_share = 1.0", "sold = 1.0", "sold"),
        ("within_s = 8", "within_s = 8 seconds", "line"),
        ("within_s = 8", "", "within_s"),
    ],
)
def test_a_scenario_that_cannot_be_played_is_refused_in_one_line(
    line: str, instead: str, says: str, tmp_path: Path
) -> None:
    text = (FOLDER / "smoke.toml").read_text()
    assert line in text
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(line, instead))
    with pytest.raises(StartupError) as refused:
        load_scenario(str(file))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_scenario_needs_somebody_to_come() -> None:
    assert "nobody comes" in (check_scenario(scenario(mix={Kind.BUYER: 0})) or "")


def test_an_unknown_scenario_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(StartupError, match="smoke"):
        load_scenario("unheard-of")


def objectives(**asked: object) -> Objectives:
    return msgspec.convert(asked, Objectives)


@pytest.mark.parametrize(
    ("asked", "found", "broken_rule"),
    [
        ({"sold_share": 1.0}, {"sold": 99}, "of the stock is sold"),
        ({"failed_share": 0.001}, {"ends": {End.FAILED: 1, End.BOUGHT: 99}}, "meet a failure"),
        ({"impatient_share": 0.001}, {"ends": {End.IMPATIENT: 1, End.BOUGHT: 99}}, "wait too long"),
        ({"lost_requests": 2}, {"problems": {"connection lost": 3}}, "cut off"),
        ({"status_p99_ms": 5.0}, {}, "(status)"),
        ({}, {"sold": 101}, "oversold"),
        ({}, {"lost": 1}, "told of is there"),
        ({}, {"broken": ("stock_adds_up",)}, "books"),
    ],
)
def test_each_objective_can_be_missed(asked: dict[str, object], found: dict[str, object], broken_rule: str) -> None:
    outcome: dict[str, Any] = {"sold": 100, "lost": 0, "broken": (), "ends": {End.BOUGHT: 100}} | found
    visit = told(
        ends=outcome.pop("ends"),
        latencies={"status": Latency(10, 1.0, 2.0, 6.0, 7.0, 8.0)},
        problems=outcome.pop("problems", {}),
    )
    verdicts = judge(objectives(**asked), visit, units=100, **outcome)
    assert [verdict.asks for verdict in verdicts if not verdict.holds] == [
        next(verdict.asks for verdict in verdicts if broken_rule in verdict.asks)
    ]
    assert "would not survive" in sentence(verdicts, visit, units=100)


def test_what_nobody_was_served_is_not_fast() -> None:
    exactly = told(ends={}, latencies={"status": Latency(10, 1.0, 2.0, 6.0, 7.0, 8.0)})
    nothing = told(ends={}, latencies={})

    def found(visit: Told, *expected: Step) -> list[tuple[str, bool]]:
        verdicts = judge(
            objectives(status_p99_ms=6.0), visit, units=1, sold=None, broken=None, lost=None, expected=expected
        )
        return [(verdict.found, verdict.holds) for verdict in verdicts]

    assert found(exactly, Step.STATUS) == found(exactly) == [("6 ms", True)]
    assert found(nothing, Step.STATUS) == [("none was served", False)]
    assert found(nothing, Step.PAGE) == []


def test_what_a_scenario_s_shoppers_must_get_to() -> None:
    in_rooms = {Step.PAGE, Step.STATUS, Step.JOIN, Step.PLACE, Step.PURCHASE}
    assert expected_steps(load_scenario("drop")) == in_rooms
    assert expected_steps(load_scenario("soak")) == {Step.PAGE, Step.PURCHASE, Step.HOLD, Step.PAY}
    assert expected_steps(load_scenario("drop", Sizes(shoppers=5))) == set(), "so few may all turn away"


def test_a_shop_of_somebody_elses_is_not_judged_by_its_books() -> None:
    verdicts = judge(Objectives(), told(ends={}, latencies={}), units=1, sold=None, broken=None, lost=None)
    assert verdicts == ()


def test_scenarios_keep_what_is_not_changed() -> None:
    base: Scenario = load_scenario("drop")
    small = load_scenario("drop", Sizes(7, 3))
    assert (small.arrivals.shoppers, small.sale.units) == (7, 3)
    assert (small.arrivals.within_s, small.sale.room, small.mix) == (base.arrivals.within_s, "draw", base.mix)
    short = load_scenario("soak", Sizes(within_s=180.0))
    assert (short.arrivals.shoppers, short.arrivals.within_s, short.lasts_s) == (36_000, 180.0, 280.0)


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_tells_the_numbers_that_are_played(name: str) -> None:
    own = load_scenario(name)
    says, of_own = description(load_scenario(name, Sizes(1_234, 567, 89.0))), description(own)
    assert "{" not in says
    for number, played in ((own.arrivals.shoppers, 1_234), (own.sale.units, 567), (own.arrivals.within_s, 89)):
        assert (f"{number:,.0f}" in of_own.split()) == (f"{played:,}" in says.split())

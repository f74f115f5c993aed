"""Two rehearsals beside each other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import typer

from tests.rehearse.makers import report, second, told
from tidegate.platform.problems import StartupError
from tidegate.rehearse.cli import FAILED, compare_command
from tidegate.rehearse.comparing import compare, summary
from tidegate.rehearse.contracts import Latency, Report, Verdict
from tidegate.rehearse.report import write_report


def run(*, p99_ms: float = 100.0, holds: bool = True, seed: int = 1) -> Report:
    latency = Latency(100, 10.0, 50.0, p99_ms, 2 * p99_ms, 3 * p99_ms)
    visit = told(ends={"bought": 5}, latencies={"join": latency})
    return report(visit, verdicts=(Verdict("the books add up", "they do" if holds else "no", holds),), seed=seed)


@pytest.mark.parametrize(
    ("after", "worse", "better"),
    [
        (run(), [], []),
        (run(p99_ms=120.0), [], []),
        (run(p99_ms=140.0), ["join p99"], []),
        (run(p99_ms=60.0), [], ["join p99"]),
        (run(holds=False), ["the books add up"], []),
        (run(holds=False, p99_ms=500.0), ["the books add up", "join p99"], []),
    ],
)
def test_what_changed_by_more_than_the_tolerance_is_told(after: Report, worse: list[str], better: list[str]) -> None:
    found = compare(run(), after, tolerance=0.25)
    assert [row.what for row in found.worse] == worse
    assert [row.what for row in found.better] == better
    back = compare(after, run(), tolerance=0.25)
    assert [row.what for row in back.better] == worse, "and the other way round"


def test_small_differences_are_none_however_large_their_share() -> None:
    assert compare(run(p99_ms=1.0), run(p99_ms=5.0), tolerance=0.0).worse == ()


def test_what_makes_two_runs_hard_to_compare_is_said() -> None:
    assert compare(run(), run(seed=2), tolerance=0.25).notes == (
        "The seeds differ: other people came, in the same numbers.",
    )
    late = msgspec.structs.replace(run(), told=msgspec.structs.replace(run().told, late_p99_ms=90.0))
    assert "late by 90 ms" in compare(run(), late, tolerance=0.25).notes[0]
    fast, slow = (at_speed(work_us) for work_us in (800.0, 1_200.0))
    assert "took 1.50 times as long in the second" in compare(fast, slow, tolerance=0.25).notes[0]
    assert compare(fast, fast, tolerance=0.25).notes == compare(run(), slow, tolerance=0.25).notes == ()


def at_speed(work_us: float) -> Report:
    busy = [msgspec.structs.replace(second(at, steps={}, cpu={"site": 1.0}), work_us=work_us) for at in (1.0, 2.0)]
    return msgspec.structs.replace(run(), told=told(ends={"bought": 5}, latencies=run().told.latencies, timeline=busy))


def test_two_files_are_compared_as_it_is_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, first = write_report(run(), tmp_path / "a")
    _, second = write_report(run(p99_ms=400.0), tmp_path / "b")
    compare_command(first, first, out=tmp_path)
    assert "as good as the first" in capsys.readouterr().out
    with pytest.raises(typer.Exit) as ended:
        compare_command(first, second, out=tmp_path)
    assert ended.value.exit_code == FAILED
    assert summary(compare(run(), run(p99_ms=400.0), tolerance=0.25)) in capsys.readouterr().out
    page = (tmp_path / "compare.html").read_text()
    assert "join p99" in page
    assert "+300%" in page
    assert "<script" not in page
    assert "src=" not in page, "it needs nothing else"


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no JSON"])
def test_what_is_no_report_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    file.write_text(text)
    for path in (file, tmp_path / "none.json"):
        with pytest.raises(StartupError) as refused:
            compare_command(path, path, out=tmp_path)
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)

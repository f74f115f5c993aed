"""What is broken on purpose: the matrix, its timetable, what is judged and shown of it, and the ways that break."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from tests.rehearse.makers import scenario, told
from tests.waiting import eventually
from tidegate.platform.broken_network import Break
from tidegate.platform.problems import StartupError
from tidegate.rehearse.cli import rehearse_command
from tidegate.rehearse.contracts import Objectives, Report, Verdict
from tidegate.rehearse.detours import open_detours
from tidegate.rehearse.fault_verdicts import judge_faults, with_faults
from tidegate.rehearse.faults import (
    Can,
    Dependency,
    Fault,
    Happening,
    Matrix,
    Played,
    Tried,
    check_timetable,
    length_s,
    load_matrix,
    usual_timetable,
)
from tidegate.rehearse.report import render_report
from tidegate.rehearse.rules import sentence
from tidegate.rehearse.scenario import load_scenario

pytestmark = pytest.mark.anyio

SERVERS = (Dependency.POSTGRES, Dependency.VALKEY, Dependency.GATEWAY, Dependency.SMTP)
TO_SERVERS = {Fault.KILL, Fault.PAUSE, Fault.SLOW, Fault.RESET, Fault.BLACK_HOLE}


def played(*, worked: bool = True, must: bool = True, recovered_s: float | None = 1.5) -> Played:
    return Played(
        dependency=Dependency.VALKEY,
        fault=Fault.BLACK_HOLE,
        began_s=10.0,
        ended_s=13.0,
        tried=(Tried(Can.JOIN, must, 0.25 if worked else None, "after 0.2 s" if worked else "503 overloaded"),),
        recovered_s=recovered_s,
        recovers_within_s=15.0,
        missing=() if recovered_s is not None else ("join (503 overloaded)",),
    )


def test_the_matrix_says_of_every_dependency_what_each_fault_may_cost() -> None:
    matrix = load_matrix()
    said = [(row.dependency, fault) for row in matrix.row for fault in row.faults]
    assert len(said) == len(set(said))
    expected = {(server, fault) for server in SERVERS for fault in TO_SERVERS}
    expected |= {(kind, fault) for kind in (Dependency.SITE, Dependency.WORKER) for fault in (Fault.KILL, Fault.PAUSE)}
    assert set(said) == expected
    timetable = usual_timetable(matrix)
    assert [(each.dependency, each.fault) for each in timetable] == said
    assert check_timetable(timetable) is None


def test_the_longest_day_still_shows_the_catalogue() -> None:
    matrix = load_matrix()
    for fault in TO_SERVERS:
        row = matrix.find(Dependency.POSTGRES, fault)
        assert row is not None
        assert {Can.BROWSE, Can.STATUS} <= set(row.must)
    assert Matrix(()).find(Dependency.POSTGRES, Fault.KILL) is None


@pytest.mark.parametrize(
    ("dependency", "fault"),
    [("site", "slow"), ("worker", "reset"), ("valkey", "restart"), ("smtp", "send"), ("notify", "kill")],
)
def test_what_cannot_happen_is_no_timetable(dependency: str, fault: str) -> None:
    assert check_timetable([Happening(Dependency(dependency), Fault(fault))]) is not None


def test_a_timetable_has_an_end() -> None:
    kill = Happening(Dependency.VALKEY, Fault.KILL)
    assert check_timetable([kill] * 200) is None
    assert check_timetable([kill] * 201) == "faults: at most 200 of them, please"


@pytest.mark.parametrize("name", ["gateway-down", "notify-storm", "rolling-restart"])
def test_scenarios_with_faults_are_shipped(name: str) -> None:
    wanted = load_scenario(name)
    assert wanted.faults
    assert wanted.lasts_s > length_s(wanted.faults)


def test_a_sale_with_faults_goes_on_until_they_are_over() -> None:
    timetable = usual_timetable(load_matrix())
    objectives = Objectives(sold_share=1.0, failed_share=0.0, page_p99_ms=5.0)
    wanted = with_faults(msgspec.structs.replace(scenario(units=600), objectives=objectives), timetable)
    over_s = length_s(timetable)
    assert wanted.sale.let_in_per_min is not None
    sold_s = wanted.sale.units / wanted.sale.let_in_per_min * 60
    assert 0.9 * (over_s - wanted.sale.opens_after_s) <= sold_s <= over_s < wanted.lasts_s
    assert (wanted.objectives.sold_share, wanted.objectives.page_p99_ms) == (1.0, None)
    assert with_faults(scenario(room="none"), timetable).sale.let_in_per_min is None


def test_faults_are_judged_by_what_shoppers_could_do() -> None:
    assert judge_faults(()) == ()
    assert [each.holds for each in judge_faults([played(), played(worked=False, must=False)])] == [True, True]
    hurt, mended = judge_faults([played(), played(worked=False, recovered_s=None)])
    assert (hurt.holds, hurt.found) == (False, "valkey black hole: no join")
    assert (mended.holds, mended.found) == (False, "valkey black hole: join (503 overloaded)")


def test_the_report_shows_what_was_broken_and_what_did_not_work() -> None:
    visit = told(ends={"bought": 5}, latencies={})
    report = Report(
        name="x",
        scenario=scenario(),
        seed=1,
        target="",
        told=visit,
        sold=5,
        books=(),
        lost=0,
        verdicts=(),
        advice=(),
        version="0",
        faults=(played(), played(worked=False, recovered_s=None)),
    )
    page = render_report(report)
    assert "valkey black hole" in page
    assert '<td class="fault-works">0.2 s</td>' in page
    assert page.count('class="chart-band"') >= 2, "though everybody had left by then"
    assert "<strong>Broken</strong>: 503 overloaded" in page
    assert "Not within 15 s" in page
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report).faults == report.faults


def test_the_verdict_says_why() -> None:
    visit = told(ends={"bought": 12}, latencies={})
    verdicts = [Verdict("nothing is oversold", "OVERSOLD: 12 of 10 units", holds=False)]
    assert sentence(verdicts, visit, units=10).endswith(
        "1 of 1 objectives does not hold: nothing is oversold (OVERSOLD: 12 of 10 units)."
    )


def test_faults_are_never_for_a_shop_that_runs_already() -> None:
    with pytest.raises(StartupError, match="starts itself"):
        rehearse_command("smoke", faults=True, target="http://127.0.0.1:1", drop="x")
    with pytest.raises(StartupError, match="starts itself"):
        rehearse_command("gateway-down", target="http://127.0.0.1:1", drop="x")


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says back what it is told."""

    async def say_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(line)
        writer.close()

    server = await asyncio.start_server(say_back, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_ways_are_slow_broken_and_silent_as_they_are_told(tmp_path: Path) -> None:
    note = tmp_path / "detours.json"
    async with echo() as port:
        with open_detours(["smtp"], note=note) as detours:
            with pytest.raises(OSError):  # noqa: PT011 - reset, or closed before a byte: nobody has said where it is
                await said_back(detours.ports["smtp"])
            note.write_bytes(msgspec.json.encode({"smtp": f"smtp://127.0.0.1:{port}"}))
            assert await said_back(detours.ports["smtp"]) < 1.0
            await detours.break_all("smtp", Break.SLOW, delay_s=0.5)
            assert await said_back(detours.ports["smtp"], timeout_s=10.0) >= 1.0
            await detours.break_all("smtp", Break.RESET)
            with pytest.raises(OSError):  # noqa: PT011
                await said_back(detours.ports["smtp"])
            await detours.break_all("smtp", Break.BLACK_HOLE)
            with pytest.raises(TimeoutError):
                await said_back(detours.ports["smtp"], timeout_s=0.3)
            await detours.break_all("smtp", Break.NONE)
            assert await said_back(detours.ports["smtp"]) < 1.0
        await eventually(lambda: refuses(detours.ports["smtp"]))


async def said_back(port: int, *, timeout_s: float = 2.0) -> float:
    """Seconds until a line came back. Raises: OSError when the connection ends first."""
    began_s = time.monotonic()
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"hello\n")
            if await reader.readline() != b"hello\n":
                raise ConnectionResetError
        finally:
            writer.transport.abort()
    return time.monotonic() - began_s


async def refuses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.transport.abort()
    return False

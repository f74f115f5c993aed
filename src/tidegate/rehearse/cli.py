"""`tidegate rehearse`: will the sale survive?"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Report, Second

FAILED = 1
"""Exit code when an objective does not hold."""

MOST_SEED = 1 << 31


def rehearse_command(
    scenario: Annotated[str, typer.Argument(help="A scenario that is shipped (smoke, drop, ...), or a TOML file.")],
    *,
    shoppers: Annotated[int | None, typer.Option(min=1, help="How many come, not the scenario's number.")] = None,
    units: Annotated[int | None, typer.Option(min=1, help="How much is sold, not the scenario's number.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same crowd.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("rehearsals"),
    connections: Annotated[int, typer.Option(min=1, max=20_000, help="Sockets that the crowd shares.")] = 256,
    target: Annotated[
        str, typer.Option(help="A shop that runs already; guests buy its goods. Else one is started for it.")
    ] = "",
    drop: Annotated[str, typer.Option(help="With --target: the drop that they come for.")] = "",
    faults: Annotated[
        bool, typer.Option("--faults", help="Break everything that the shop depends on, in turn, while they are there.")
    ] = False,
    owned: Annotated[bool, typer.Option("--i-own-this-target", help="The target may be on another machine.")] = False,
) -> None:
    """Let a simulated crowd play a sale, and report whether the shop survives it.

    Without --target a shop of its own is started, sold out and thrown away. Exit code: 0 when every objective holds,
    1 when one does not, 2 when the rehearsal could not be played.
    """
    from tidegate.rehearse.fault_verdicts import with_faults
    from tidegate.rehearse.faults import load_matrix, usual_timetable
    from tidegate.rehearse.report import write_report
    from tidegate.rehearse.rules import sentence
    from tidegate.rehearse.running import Rehearsal, rehearse_as_guests, rehearse_at_home
    from tidegate.rehearse.scenario import load_scenario

    if bool(target) != bool(drop):
        raise StartupError("--target and --drop belong together: a running shop, and the drop that the crowd comes for")
    wanted = load_scenario(scenario, shoppers=shoppers, units=units)
    if (faults or wanted.faults) and target:
        raise StartupError("faults are for a shop that the rehearsal starts itself: leave --target and --drop out")
    if faults:
        wanted = with_faults(wanted, usual_timetable(load_matrix()))
    chosen = secrets.randbelow(MOST_SEED) if seed is None else seed
    console = Console(stderr=True)
    console.print(f"{wanted.title}: {wanted.arrivals.shoppers:,} shoppers, seed {chosen}", highlight=False)
    rehearsal = Rehearsal(
        name=Path(scenario).stem,
        scenario=wanted,
        seed=chosen,
        connections=connections,
        on_second=lambda second: _show(console, second),
        on_fault=lambda name: console.print(f"       {name}", highlight=False, soft_wrap=True),
    )
    if target:
        report = rehearse_as_guests(rehearsal, target=target, drop=drop, owned=owned)
    else:
        report = rehearse_at_home(rehearsal)
    page, _ = write_report(report, out)
    _print(report)
    typer.echo(sentence(report.verdicts, report.told, units=wanted.sale.units))
    typer.echo(f"The report: {page}")
    if not report.passed:
        raise typer.Exit(FAILED)


def _show(console: Console, second: Second) -> None:
    """A line every five seconds; on a terminal, the same line every second."""
    if console.is_terminal or round(second.at) % 5 == 0:
        p99 = "-" if second.p99_ms is None else f"{second.p99_ms:,.0f} ms"
        left = "" if second.left is None else f", {second.left:,} left"
        line = (
            f"{second.at:5.0f} s  {second.inside:,} inside, {second.waiting:,} waiting, {second.answered:,} answers/s,"
            f" {second.bought:,} orders/s, p99 {p99}{left}"
        )
        console.print(line, end="\r" if console.is_terminal else "\n", highlight=False)


def _print(report: Report) -> None:
    for verdict in report.verdicts:
        typer.echo(f"{'holds ' if verdict.holds else 'BROKEN'}  {verdict.asks}: {verdict.found}")
    for each in report.advice:
        typer.echo(f"advice  {each}")

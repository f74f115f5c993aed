"""`tidegate rehearse`: will the sale survive?"""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Report, Scenario, Second
from tidegate.rehearse.plan_cli import plan_command, seconds_of

if TYPE_CHECKING:
    from tidegate.rehearse.progress import Progress
    from tidegate.rehearse.running import Rehearsal
    from tidegate.rehearse.scenario import Sizes

__all__ = ["plan_command", "rehearse_app"]


class Commands(TyperGroup):
    """`compare`, or else a scenario is played: `tidegate rehearse smoke` needs no word for it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The same with the command that is left out."""
        return super().parse_args(ctx, args if args[:1] == ["compare"] else ["play", *args])


rehearse_app = typer.Typer(cls=Commands)

FAILED = 1
"""Exit code when an objective does not hold."""

MOST_SEED = 1 << 31
MOST_PEOPLE, MOST_UNITS = 2_000_000, 1_000_000


@rehearse_app.command("compare")
def compare_command(
    before: Annotated[Path, typer.Argument(help="The JSON file of the first rehearsal.")],
    after: Annotated[Path, typer.Argument(help="The JSON file of the second one.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the page.")] = Path("rehearsals"),
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Share by which a latency may differ and counts as the same.")
    ] = 0.25,
) -> None:
    """Compare two rehearsals: what became better, what became worse.

    Exit code: 0 when no objective and no step became worse, 1 when one did, 2 when a file is no report.
    """
    from tidegate.rehearse.compare_report import write_comparison
    from tidegate.rehearse.comparing import compare, summary
    from tidegate.rehearse.reading import read_report
    from tidegate.rehearse.report import prepare_folder

    first, second = read_report(before), read_report(after)
    prepare_folder(out)
    found = compare(first, second, tolerance=tolerance)
    page = write_comparison(first, second, found, out)
    table = Table("", "First", "Second", "Change", "Verdict", box=None, pad_edge=False)
    for row in (*found.objectives, *found.steps, *found.figures):
        table.add_row(row.what, row.before, row.after, row.change, row.turn.value)
    Console().print(table)
    for note in found.notes:
        typer.echo(f"note  {note}")
    typer.echo(summary(found))
    typer.echo(f"The comparison: {page}")
    if found.worse:
        raise typer.Exit(FAILED)


@rehearse_app.command("play")
def rehearse_command(
    scenario: Annotated[str, typer.Argument(help="A scenario that is shipped (smoke, drop, ...), or a TOML file.")],
    *,
    shoppers: Annotated[
        int | None, typer.Option(min=1, max=MOST_PEOPLE, help="How many come, not the scenario's number.")
    ] = None,
    units: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_UNITS, help="How much is sold, not the scenario's number; a --target sells what it has."
        ),
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="As many as this machine can serve, which is measured first.")
    ] = False,
    within: Annotated[
        str, typer.Option(metavar="TIME", help="In what time they come, not the scenario's: 90s, 10m, 2h.")
    ] = "",
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
    from tidegate.platform.settings import current_settings
    from tidegate.rehearse.progress import told_to_staff
    from tidegate.rehearse.report import prepare_folder, write_report
    from tidegate.rehearse.rules import sentence
    from tidegate.rehearse.running import Rehearsal
    from tidegate.rehearse.scenario import Sizes

    if bool(target) != bool(drop):
        raise StartupError("--target and --drop belong together: a running shop, and the drop that the crowd comes for")
    sizes = Sizes(shoppers, units, seconds_of(within, option="--within") if within else None)
    if fit:
        sizes = _fitting(scenario, sizes, at_home=not target)
    wanted = _wanted(scenario, sizes, faults=faults, at_home=not target)
    prepare_folder(out)
    chosen = secrets.randbelow(MOST_SEED) if seed is None else seed
    console = Console(stderr=True)
    console.print(f"{wanted.title}: {wanted.arrivals.shoppers:,} shoppers, seed {chosen}", highlight=False)
    with told_to_staff(current_settings().home.absolute(), wanted, target=target) as progress:
        rehearsal = Rehearsal(
            name=Path(scenario).stem,
            scenario=wanted,
            seed=chosen,
            connections=connections,
            on_second=partial(_tell, console, progress),
            on_fault=lambda name: _say(console, f"       {name}", end="\n"),
        )
        report = _play(rehearsal, target=target, drop=drop, owned=owned)
        progress.keep(report)
    page, _ = write_report(report, out)
    _print(report)
    typer.echo(sentence(report.verdicts, report.told, units=report.scenario.sale.units))
    typer.echo(f"The report: {page}")
    if not report.passed:
        raise typer.Exit(FAILED)


def _play(rehearsal: Rehearsal, *, target: str, drop: str, owned: bool) -> Report:
    from tidegate.rehearse.running import rehearse_as_guests, rehearse_at_home

    if target:
        return rehearse_as_guests(rehearsal, target=target, drop=drop, owned=owned)
    return rehearse_at_home(rehearsal)


def _fitting(scenario: str, sizes: Sizes, *, at_home: bool) -> Sizes:
    """The sizes for this machine, which is told of. Raises: StartupError."""
    from tidegate.rehearse.fitting import measure_machine, sizes_for
    from tidegate.rehearse.scenario import load_scenario

    if sizes.shoppers or sizes.units or not at_home:
        raise StartupError("--fit chooses how many come to a shop of its own: leave --shoppers, --units, --target out")
    usual = load_scenario(scenario, sizes)
    machine = measure_machine()
    found = sizes_for(usual, machine)
    says = (
        f"{machine.cores} cores, a piece of work in {machine.work_us:,.0f} us: {found.shoppers:,} for {found.units:,}"
    )
    typer.echo(says, err=True)
    return replace(found, within_s=sizes.within_s)


def _wanted(scenario: str, sizes: Sizes, *, faults: bool, at_home: bool) -> Scenario:
    """What is to be played. Raises: StartupError."""
    from tidegate.rehearse.fault_verdicts import with_faults
    from tidegate.rehearse.faults import load_matrix, usual_timetable
    from tidegate.rehearse.scenario import load_scenario

    wanted = load_scenario(scenario, sizes)
    if (faults or wanted.faults) and not at_home:
        raise StartupError("faults are for a shop that the rehearsal starts itself: leave --target and --drop out")
    return with_faults(wanted, usual_timetable(load_matrix())) if faults else wanted


def _tell(console: Console, progress: Progress, second: Second) -> None:
    _show(console, second)
    progress(second)


def _show(console: Console, second: Second) -> None:
    """A line every five seconds; on a terminal, the same line every second."""
    if console.is_terminal or round(second.at) % 5 == 0:
        p99 = "-" if second.p99_ms is None else f"{second.p99_ms:,.0f} ms"
        left = "" if second.left is None else f", {second.left:,} left"
        line = (
            f"{second.at:5.0f} s  {second.inside:,} inside, {second.waiting:,} waiting, {second.in_flight:,} asking "
            f"over {second.sockets:,} sockets, {second.answered:,} answers/s, {second.bought:,} orders/s, "
            f"p99 {p99}{left}"
        )
        _say(console, line, end="\r" if console.is_terminal else "\n")


def _say(console: Console, line: str, *, end: str) -> None:
    """A line; on a terminal over what stood there, and no longer than it is wide."""
    if console.is_terminal:
        line = line[: console.width - 1].ljust(console.width - 1)
    console.print(line, end=end, highlight=False, soft_wrap=True)


def _print(report: Report) -> None:
    for verdict in report.verdicts:
        typer.echo(f"{'holds ' if verdict.holds else 'BROKEN'}  {verdict.asks}: {verdict.found}")
    for each in report.advice:
        typer.echo(f"advice  {each}")

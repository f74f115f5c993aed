"""`tidegate plan`: is this machine enough for the sale, when is it not, and what is needed then?"""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tidegate.platform.problems import StartupError

if TYPE_CHECKING:
    from tidegate.rehearse.planning import Check

UNITS_S = {"s": 1, "m": 60, "h": 3_600}
MOST_PEOPLE = 1_000_000_000
MOST_WITHIN_S = 7 * 86_400


def plan_command(
    *,
    shoppers: Annotated[str, typer.Option(metavar="N", help="How many come: 500_000.")] = "",
    stock: Annotated[str, typer.Option(metavar="N", help="How much is sold: 20_000.")] = "",
    within: Annotated[
        str, typer.Option(metavar="TIME", help="In what time they come and it is sold: 90s, 10m, 2h.")
    ] = "",
    report: Annotated[
        Path | None,
        typer.Option("--from", help="JSON of a rehearsal; without it the newest in rehearsals/ that tells costs."),
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="TOML file with machines and what they cost.")] = None,
    other: Annotated[
        Path | None,
        typer.Option("--check", help="JSON of a rehearsal of another size: say how well it is foretold, no more."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say from the costs of a rehearsal what a larger sale will need; an extrapolation, with what it assumes.

    Exit code: 0 when this machine is enough, 1 when it is not, 2 when nothing could be said.
    """
    from tidegate.platform.settings import load_settings
    from tidegate.rehearse.learnt import learn, why_no_costs
    from tidegate.rehearse.planning import Limits, Prices, Sale, check, plan
    from tidegate.rehearse.reading import read_data, read_report

    file = report or _newest(Path("rehearsals"))
    learnt_from = read_report(file)
    if why := why_no_costs(learnt_from):
        raise StartupError(f"{file} tells no costs: {why}")
    costs = learn(learnt_from)
    settings = load_settings()
    limits = Limits(os.cpu_count() or 1, settings.http.keep_alive_s, settings.gate.poll_rush_per_s)
    if other is not None:
        real = read_report(other)
        if why := why_no_costs(real):
            raise StartupError(f"{other} cannot be compared: {why}")
        _show_check(check(costs, real, polls_per_s=limits.polls_per_s), file, other, as_json=as_json)
        return
    sale = Sale(_number(shoppers, "--shoppers"), _number(stock, "--stock"), seconds_of(within, option="--within"))
    told = read_data(prices, Prices, "no list of prices") if prices else None
    planned = plan(costs, sale, limits, prices=told)
    document = asdict(planned) | {"learnt_from": str(file)}
    if as_json:
        typer.echo(msgspec.json.encode(document).decode())
    else:
        _show(document)
    if not planned.suffices:
        raise typer.Exit(1)


def _newest(folder: Path) -> Path:
    """The last report that was written of those that tell costs. Raises: StartupError."""
    from tidegate.rehearse.learnt import why_no_costs
    from tidegate.rehearse.reading import read_report

    files = sorted(folder.glob("*.json"), key=lambda each: -each.stat().st_mtime) if folder.is_dir() else []
    reasons: list[str] = []
    for file in files:
        try:
            why = why_no_costs(read_report(file))
        except StartupError as error:
            why = str(error)
        if not why:
            return file
        reasons.append(f"{file}: {why}")
    newest = f" ({reasons[0]})" if reasons else ""
    raise StartupError(
        f"there is no rehearsal to learn from{newest}: run `tidegate rehearse drop` first, or name one with --from"
    )


def _number(text: str, option: str) -> int:
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12 and 1 <= int(digits) <= MOST_PEOPLE):
        raise StartupError(f"{option} {text!r} is no number from 1 to {MOST_PEOPLE:,}: write {option} 20_000")
    return int(digits)


def seconds_of(text: str, *, option: str) -> float:
    """Seconds of a time as people write it on the command line. Raises: StartupError."""
    match = re.fullmatch(r"([0-9]{1,7})(s|m|h)", text)
    if match is None or not 0 < int(match[1]) * UNITS_S[match[2]] <= MOST_WITHIN_S:
        raise StartupError(f"{option} {text!r} is no time of up to a week: write 90s, 10m or 2h")
    return float(int(match[1]) * UNITS_S[match[2]])


def _show(told: dict[str, Any]) -> None:
    sale, say = told["sale"], typer.echo
    verdict = "is enough" if told["suffices"] else "is not enough"
    say(
        f"This machine ({told['cores_here']} cores) {verdict} for {sale['shoppers']:,} shoppers and {sale['stock']:,}"
        f" pieces within {sale['within_s']:,.0f} s; it is outgrown at about {told['outgrown_at']:,} shoppers."
    )
    say(f"What gives way first: {told['gives_way']}.")
    say("")
    say(f"{'needed in all':<22} {told['total_cores']:,.1f} cores, without the crowd's own")
    for part, cores in told["cores"].items():
        count = told["processes"].get(part)
        number = f", {count} process{'es' if count != 1 else ''}" if count else f", {told['database_cores']} of its own"
        say(f"{part:<22} {cores:,.2f} cores in the busiest time{number}")
    say(f"{'database connections':<22} {told['connections']:,} at most")
    say(f"{'open sockets':<22} {told['sockets']:,} where browsers arrive")
    say(
        f"{'orders here':<22} {told['orders_per_s']:,.0f}/s; one product allows at least {told['hot_row_per_s']:,.0f}/s"
    )
    say(f"{'waiting here':<22} {told['wait_s']:,.0f} s in the middle, {told['longest_wait_s']:,.0f} s at most")
    if rented := told["rented"]:
        say(
            f"{'cost':<22} {rented['per_1000_orders']:,.4f} {rented['currency']} per 1,000 orders on"
            f" {rented['count']} x {rented['name']}"
        )
    say("")
    say(f"Extrapolated from {told['learnt_from']}. It is assumed that")
    for each in told["assumptions"]:
        say(f"- {each}.")


def _show_check(found: Check, file: Path, real: Path, *, as_json: bool) -> None:
    if as_json:
        rows = [asdict(each) | {"error": round(each.error, 4)} for each in found.figures]
        told = {"slowness": found.slowness, "full": found.full, "figures": rows}
        typer.echo(msgspec.json.encode({"learnt_from": str(file), "real": str(real), **told}).decode())
        return
    typer.echo(f"{real} as {file} foretells it:")
    for each in found.figures:
        typer.echo(
            f"{each.name:<28} foretold {each.foretold:>12,.1f}  measured {each.measured:>12,.1f}  {each.error:+.0%}"
        )
    if found.slowness is None:
        typer.echo("How fast the machine was is not known of both: CPU times are compared as they are.")
    else:
        typer.echo(f"The same work took {found.slowness:.2f} times as long there, and so do the CPU times foretold.")
    if found.full:
        typer.echo("All cores were in use there: more than they were cannot be measured, whatever was asked for.")

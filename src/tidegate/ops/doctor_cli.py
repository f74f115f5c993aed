"""`tidegate doctor` on the terminal."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.ops.findings import Finding, Level
from tidegate.ops.merchant_cli import AsJson, print_json
from tidegate.platform.settings import load_settings

EXIT_CODES = {Level.OK: 0, Level.UNSAFE: 1, Level.BROKEN: 2}
STYLES = {Level.OK: "green", Level.UNSAFE: "yellow", Level.BROKEN: "bold red"}


def doctor_command(
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the payment provider.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check what the shop stands on, and say what is unsafe for production.

    Nothing is changed, and the one call to the payment provider reads a balance. Exit code: 0 when all is well, 1 when
    something is unsafe for production, 2 when something is broken.
    """
    from tidegate.ops.doctor import examine, worst  # what it looks at takes a while to import

    findings = asyncio.run(examine(load_settings(), online=not offline))
    level = worst(findings)
    if as_json:
        document = [
            {"name": one.name, "level": one.level.value, "says": one.says, "advice": one.advice} for one in findings
        ]
        print_json({"level": level.value, "findings": document})
    else:
        _print(findings, level)
    raise typer.Exit(EXIT_CODES[level])


def _print(findings: list[Finding], level: Level) -> None:
    console = Console()
    if console.is_terminal:
        table = Table("", "what", "found", "what to do", box=None, pad_edge=False, header_style="bold")
        for one in findings:
            table.add_row(Text(one.level.value, STYLES[one.level]), Text(one.name), Text(one.says), Text(one.advice))
        console.print(table)
    else:
        for one in findings:
            advice = f"; {one.advice}" if one.advice else ""
            typer.echo(f"{one.level.value:<7} {one.name:<14} {one.says}{advice}")
    bad = {each: sum(one.level is each for one in findings) for each in (Level.UNSAFE, Level.BROKEN)}
    if level is Level.OK:
        typer.echo("All is well.")
    else:
        typer.echo(f"{bad[Level.BROKEN]} broken, {bad[Level.UNSAFE]} unsafe for production.")

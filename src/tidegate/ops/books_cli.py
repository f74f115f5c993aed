"""`tidegate books`: do stock, orders and money add up?"""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from tidegate.ops.contracts import Books, Checked
from tidegate.ops.merchant_cli import AsJson, print_json, with_database

BROKEN = 1
"""Exit code when a rule does not hold."""


def books_command(as_json: AsJson = False) -> None:
    """Check that the shop's accounts add up: stock, holds, limits, orders, charges, refunds, events, keys.

    All rules are checked in one snapshot of the database, also while the shop sells; nothing is written. Exit code:
    0 when every rule holds, 1 when one is broken (the rows that break it are shown by their ids), 2 when the books
    could not be checked.
    """
    from tidegate.ops.books import check_books  # the modules that it asks take a while to import

    books = with_database(check_books)
    if as_json:
        print_json(_document(books))
    else:
        _print_books(books)
    if books.broken:
        raise typer.Exit(BROKEN)


def _print_books(books: Books) -> None:
    console = Console()
    if console.is_terminal:
        console.print(_table(books))
    else:
        for result in books.results:
            typer.echo(f"{_verdict(result):<12} {result.name:<26} {result.says}")
    for result in books.broken:
        typer.echo(f"{result.name}: {result.says}")
        for row in result.rows:
            typer.echo("  " + "  ".join(f"{name}={value}" for name, value in zip(result.columns, row, strict=True)))
        if result.offences > len(result.rows):
            typer.echo(f"  and {result.offences - len(result.rows):,} more")
    outcome = f"{len(books.broken)} of {len(books.results)} rules broken" if books.broken else "the books add up"
    typer.echo(f"{outcome} ({len(books.results)} rules, {books.seconds:.1f} s)")


def _table(books: Books) -> Table:
    table = Table("rule", "what must be true", "", "seconds", box=None, pad_edge=False)
    for result in books.results:
        style = "bold red" if result.offences else "green"
        table.add_row(result.name, result.says, f"[{style}]{_verdict(result)}[/]", f"{result.seconds:.2f}")
    return table


def _verdict(result: Checked) -> str:
    return f"{result.offences:,} broken" if result.offences else "ok"


def _document(books: Books) -> dict[str, Any]:
    return {
        "clean": not books.broken,
        "checked_at": books.checked_at.isoformat(),
        "seconds": round(books.seconds, 3),
        "rules": [
            {
                "rule": result.name,
                "says": result.says,
                "offences": result.offences,
                "seconds": round(result.seconds, 3),
                "rows": [dict(zip(result.columns, row, strict=True)) for row in result.rows],
            }
            for result in books.results
        ],
    }

"""What `tidegate up` prints: one line for what happens, one table when the shop is open."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from datetime import datetime

from tidegate.ops.children import ChildSpec
from tidegate.ops.contracts import Prepared, RunningProcess


def say(line: str) -> None:
    """One line on the terminal. A reader that went away is no reason to stop a shop."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def say_event(line: str) -> None:
    """One line with the time of day."""
    say(f"{datetime.now().astimezone():%H:%M:%S} {line}")


def show_started(
    *,
    base_url: str,
    home: str,
    started_in_s: float,
    rows: Sequence[tuple[ChildSpec, RunningProcess]],
    prepared: Prepared,
) -> None:
    """The table of what runs, the shop's address, and the administrator's password when it was just made."""
    lines = [(one.name, str(one.pid), spec.address) for spec, one in rows]
    facts = [("Shop", base_url), ("Data and logs", home)]
    facts += [("Administrator", prepared.administrator)] if prepared.administrator else []
    closing = [*prepared.notes, f"Ready in {started_in_s:.1f} s. Ctrl-C stops everything."]
    if sys.stdout.isatty():
        _show_table(lines, facts)
    else:
        width = max(len(name) for name, _, _ in lines)
        for name, pid, address in lines:
            say(f"{name:<{width}}  {pid:>7}  {address}".rstrip())
        for name, value in facts:
            say(f"{name}: {value}")
    for line in closing:
        say(line)


def _show_table(lines: Sequence[tuple[str, str, str]], facts: Sequence[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Process")
    table.add_column("Id", justify="right")
    table.add_column("Where", overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    with contextlib.suppress(OSError):
        console.print(table)
        console.print()
        for name, value in facts:
            console.print(Text.assemble((f"{name}: ", "bold"), value), soft_wrap=True)

"""`tidegate scale` and `tidegate restart`: more, fewer and new processes of a running shop, without an interruption."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.ops.control import ask_supervisor
from tidegate.ops.counts import parse_counts
from tidegate.platform.settings import current_settings


def scale_command(
    counts: Annotated[
        list[str], typer.Argument(metavar="KIND=N", help="`checkout=2`; kinds are site, gate, checkout and worker.")
    ],
) -> None:
    """Give the running shop of this TIDEGATE_HOME more or fewer processes; no request is lost by it.

    It lasts until the shop stops; `tidegate up --processes` and the settings say what it begins with.
    """
    wanted = parse_counts(counts)
    ask_supervisor(current_settings(), {"do": "scale", "counts": wanted}, on_line=typer.echo)


def restart_command() -> None:
    """Replace the processes that serve the shop of this TIDEGATE_HOME one by one; no request is lost by it.

    New ones take over the sockets, old ones finish what they hold. Workers and the scheduler are started again after
    them; their work waits meanwhile.
    """
    ask_supervisor(current_settings(), {"do": "restart"}, on_line=typer.echo)

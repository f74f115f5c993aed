"""`tidegate notify archive`: months of messages that have left the database."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tidegate.ops.merchant_cli import AsJson, print_json
from tidegate.platform.archives import ArchiveBroken, find_archive, list_archives, read_archive
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import current_settings

archive_app = typer.Typer(help="Months of messages that have left the database.", no_args_is_help=True)


@archive_app.command("list")
def archive_list(as_json: AsJson = False) -> None:
    """What is archived."""
    folder = current_settings().archive_folder
    try:
        found = list_archives(folder)
    except ArchiveBroken as error:
        raise StartupError(str(error)) from None
    if as_json:
        rows = [{"name": each.name, "rows": each.rows, "archived_at": each.archived_at} for each in found]
        print_json({"folder": str(folder), "archives": rows})
        return
    for each in found:
        typer.echo(f"{each.name}  {each.rows} rows, archived {each.archived_at}")
    if not found:
        typer.echo(f"Nothing is archived in {folder}.")


@archive_app.command("read")
def archive_read(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `list` shows it, e.g. notify.deliveries_2026_01.")],
) -> None:
    """Write an archive to standard output as CSV. Fails, at the end, when it is not what was archived."""
    folder = current_settings().archive_folder
    try:
        read_archive(folder, find_archive(folder, name), sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except (ArchiveBroken, OSError) as error:
        raise StartupError(str(error)) from None

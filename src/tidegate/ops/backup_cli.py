"""`tidegate backup` and `tidegate restore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.ops.merchant_cli import AsJson, print_json
from tidegate.platform.problems import Problem, StartupError
from tidegate.platform.settings import load_settings

if TYPE_CHECKING:
    from tidegate.ops.backup import BackupReport, RestoreReport

BROKEN = 1
"""Exit code when the restored shop's books do not add up."""
MAX_PASSPHRASE_BYTES = 4_096
SHORTEST_PASSPHRASE = 12

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File whose first line is the passphrase; - reads stdin."),
]


def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; it may not be there yet.")],
    passphrase_file: PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the shop into one file: its database as of one moment and its uploads, also while it sells.

    With --passphrase-file its keys and settings file are in it too, under that passphrase. Without, keep
    TIDEGATE_HOME/secrets.json in another place: nobody can read the customers' data without it.
    """
    from tidegate.ops.backup import make_backup  # slow to import, and seldom needed
    from tidegate.ops.local_database import database_at_hand

    passphrase = _passphrase(passphrase_file)
    with database_at_hand(load_settings(), may_make=False) as settings:
        report = make_backup(settings, file, passphrase=passphrase, force=force)
    if as_json:
        print_json(_backup_document(report))
        return
    count = len(report.manifest.files)
    typer.echo(f"{file}: {report.bytes:,} bytes, {count:,} files, database of revision {report.manifest.revision}.")
    if not report.has_keys:
        typer.echo("The keys are not in it: keep a copy of secrets.json elsewhere, or use --passphrase-file.")


def restore_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `tidegate backup`.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a shop of a backup: into an empty database only, after the whole file was found to be as it was written.

    An older database is brought to this version, and at the end the books are checked. Exit code: 0 when they add up,
    1 when they do not, 2 when nothing was restored.
    """
    from tidegate.ops.backup import adopt_keys, check_backup, require_empty, restore_backup
    from tidegate.ops.local_database import database_at_hand

    passphrase = _passphrase(passphrase_file)
    settings = load_settings()
    try:
        with file.open("rb") as source:
            checked = check_backup(source, settings, passphrase=passphrase)
            if url := settings.database_url.get_secret_value():
                require_empty(url)
            if checked.unsealed is not None:
                adopt_keys(settings.home, checked.unsealed)
                settings = load_settings()
            with database_at_hand(settings, may_make=True) as at_hand:
                report = restore_backup(checked, at_hand)
    except OSError as error:
        raise StartupError(f"{error.filename or file}: {error.strerror or error}") from error
    except Problem as error:
        raise StartupError(f"the data is restored, but {error.detail}") from error
    if as_json:
        print_json(_restore_document(report))
    else:
        _print_restored(report)
    if report.books.broken:
        raise typer.Exit(BROKEN)


def _print_restored(report: RestoreReport) -> None:
    made = report.manifest
    typer.echo(f"{made.shop_name} is restored as of {made.made_at}; the database is of revision {report.revision}.")
    for result in report.books.broken:
        typer.echo(f"{result.name}: {result.says}: {result.offences:,} broken")
    rules = len(report.books.results)
    broken = len(report.books.broken)
    typer.echo(
        f"{broken} of {rules} rules broken: see `tidegate books`" if broken else f"The books add up ({rules} rules)."
    )


def _passphrase(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        data = sys.stdin.buffer.read(MAX_PASSPHRASE_BYTES) if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise StartupError(f"{file}: {error.strerror or error}") from error
    passphrase = data[:MAX_PASSPHRASE_BYTES].split(b"\n", 1)[0].strip()
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise StartupError(f"a passphrase has at least {SHORTEST_PASSPHRASE} characters; its file's first line counts")
    return passphrase


def _backup_document(report: BackupReport) -> dict[str, Any]:
    made = report.manifest
    return {
        "bytes": report.bytes,
        "files": len(made.files),
        "revision": made.revision,
        "made_at": made.made_at,
        "keys": report.has_keys,
    }


def _restore_document(report: RestoreReport) -> dict[str, Any]:
    return {
        "shop_name": report.manifest.shop_name,
        "made_at": report.manifest.made_at,
        "revision_before": report.manifest.revision,
        "revision": report.revision,
        "books_clean": not report.books.broken,
        "broken": {result.name: result.offences for result in report.books.broken},
    }

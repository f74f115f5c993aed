"""`tidegate import` and `tidegate export`: products from and to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, BinaryIO, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tidegate.catalog import ExportReport, ImportReport, Mapped, UnusableMapping, parse_mapping
from tidegate.ops.merchant import export_file, import_file
from tidegate.ops.merchant_cli import AsJson, print_json, with_database
from tidegate.platform.problems import StartupError

import_app = typer.Typer(help="Import products.", no_args_is_help=True)

SHOWN_PICTURES = 20
"""Most pictures that were not fetched which a terminal shows; `--json` lists more."""
BAD_ROWS = 1
"""Exit code of an import that left rows out, and of an export that left products out."""


@import_app.callback()
def _group() -> None:
    """Import products: `tidegate import FILE` is short for `tidegate import products FILE`."""


@import_app.command("products")
def import_products_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Product CSV of Shopify, WooCommerce, or any other.")],
    mapping: Annotated[
        Path | None, typer.Option(metavar="TOML", help="What the columns of any other CSV mean.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import products from a CSV: Shopify's or WooCommerce's by its header, any other with --mapping.

    The same file again changes nothing. Rows that cannot be taken are reported with their line and reason, and the
    rest goes on. Pictures are not fetched: their addresses are told. Exit code: 0 when every row was taken, 1 when
    rows were left out, 2 when the file or the shop cannot be used.
    """
    began = monotonic()
    mapped = _read_mapping(mapping) if mapping else None
    with _opened(file) as source, _progress(file, hidden=as_json) as on_progress:
        report = with_database(
            lambda database, settings: import_file(
                database, settings, source=source, mapping=mapped, dry_run=dry_run, on_progress=on_progress
            )
        )
    if as_json:
        print_json(_report_document(report) | ({"dry_run": True} if dry_run else {}))
    else:
        _print_report(report, monotonic() - began, dry_run=dry_run)
    if report.bad_rows:
        raise typer.Exit(BAD_ROWS)


def export_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; it may not be there yet.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export all products with their available stock as Shopify's product CSV.

    Importing the file changes nothing. The file is there when it is whole. Exit code: 0 when every product is in it,
    1 when the format could not carry some, 2 when the file or the shop cannot be used.
    """
    with _replacing(file, force=force) as target:
        report = with_database(lambda database, settings: export_file(database, settings, target=target))
    if as_json:
        print_json(_export_document(report))
    else:
        for slug, reason in report.left_out:
            typer.echo(f"{slug}: {reason}", err=True)
        left_out = f"; {report.skipped:,} left out, see above" if report.skipped else ""
        typer.echo(f"{report.products:,} products with {report.variants:,} variants written to {file}{left_out}")
    if report.skipped:
        raise typer.Exit(BAD_ROWS)


def _read_mapping(file: Path) -> Mapped:
    try:
        return parse_mapping(file.read_bytes())
    except OSError as error:
        raise StartupError(f"{file}: {error.strerror or error}") from error
    except UnusableMapping as error:
        raise StartupError(f"{file}: {error.detail}") from error


@contextmanager
def _replacing(file: Path, *, force: bool) -> Iterator[TextIO]:
    """A draft beside `file` that takes its place at the end of the block, and goes when the block fails."""
    if file.exists() and not force:
        raise StartupError(f"{file} is there already: name another file, or add --force to replace it")
    draft = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with draft.open("x", encoding="utf-8", newline="") as target:
            yield target
        draft.replace(file)
    except OSError as error:
        raise StartupError(f"{file}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    try:
        source = file.open("rb")
    except OSError as error:
        raise StartupError(f"{file}: {error.strerror or error}") from error
    with source:
        yield source


@contextmanager
def _progress(file: Path, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    """A bar of the bytes read, on a terminal only."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as progress:
        task = progress.add_task(file.name, total=file.stat().st_size)
        yield lambda done: progress.update(task, completed=done)


def _print_report(report: ImportReport, took_s: float, *, dry_run: bool) -> None:
    for error in report.errors:
        typer.echo(f"line {error.line}: {error.reason}", err=True)
    if report.bad_rows > len(report.errors):
        typer.echo(f"and {report.bad_rows - len(report.errors):,} more", err=True)
    for picture in report.pictures_left[:SHOWN_PICTURES]:
        typer.echo(f"line {picture.line}: a picture of {picture.slug} is not fetched: {picture.address}", err=True)
    if report.pictures > SHOWN_PICTURES:
        typer.echo(f"and {report.pictures - SHOWN_PICTURES:,} more pictures (--json lists the first 1,000)", err=True)
    if report.pictures:
        typer.echo("Upload pictures at /admin/products/PRODUCT/pictures.", err=True)
    left_out = f"; {report.bad_rows:,} problems, see above" if report.bad_rows else ""
    tense = "a dry run, nothing is written: " if dry_run else ""
    typer.echo(
        f"{tense}{report.created:,} created, {report.changed:,} changed, {report.unchanged:,} unchanged "
        f"({report.variants:,} variants in {report.rows:,} rows, {took_s:.1f} s{left_out})"
    )


def _report_document(report: ImportReport) -> dict[str, Any]:
    return {
        "created": report.created,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "variants": report.variants,
        "rows": report.rows,
        "bad_rows": report.bad_rows,
        "errors": [{"line": error.line, "reason": error.reason} for error in report.errors],
        "pictures": report.pictures,
        "pictures_left": [
            {"line": picture.line, "product": picture.slug, "address": picture.address}
            for picture in report.pictures_left
        ],
    }


def _export_document(report: ExportReport) -> dict[str, Any]:
    return {
        "products": report.products,
        "variants": report.variants,
        "skipped": report.skipped,
        "left_out": [{"product": slug, "reason": reason} for slug, reason in report.left_out],
    }

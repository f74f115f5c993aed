"""Archives of months that leave the database: what was told to whom and when, and nothing of what was said.

An archive is two files: `TABLE_YEAR_MONTH.csv.gz`, with a line of column names, and beside it a `.json` that says how
many rows it has and the SHA-256 of the CSV. Ids in it lead to nobody once a person is erased, so archives need no
erasing. Everything is read and written in pieces, however long a month was.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import psycopg
from psycopg import sql

from tidegate.platform.problems import StartupError

FORMAT: Final = 1
PIECE_BYTES: Final = 1_048_576
COMPRESSION: Final = 3
"""Of 1 to 9: a month of messages is written in minutes, beside a shop."""

DRAFT: Final = ".draft-"
NAME: Final = re.compile(r"[a-z]+\.[a-z_]+_(?P<year>\d{4})_(?P<month>\d{2})")

ARCHIVED: Final[Mapping[str, tuple[str, ...]]] = {
    "notify.deliveries": (
        "event_id",
        "recipient_id",
        "channel",
        "template",
        "state",
        "attempts",
        "shard_no",
        "lane",
        "status_code",
        "created_at",
        "sent_at",
    ),
    "notify.inbox_messages": ("event_id", "recipient_id", "created_at", "read_at"),
}
"""Tables whose months are archived, and which of their columns: no addresses, no words, no answers of mail servers."""


class ArchiveBroken(Exception):
    """An archive is not what was written, or not what its description says."""


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive's `.json` says of it."""

    format: int
    name: str
    columns: tuple[str, ...]
    rows: int
    sha256: str
    """Of the CSV before it was compressed."""
    archived_at: str


def write_archive(conn: psycopg.Connection[Any], folder: Path, *, table: str, partition: str) -> Archive:
    """Archive a month of a table that nobody writes to any more, and read it back; what was there before is replaced.

    `conn` is in autocommit mode. Raises: OSError and ArchiveBroken, and then there is no new archive.
    """
    name, columns = f"{table.split('.', maxsplit=1)[0]}.{partition}", ARCHIVED[table]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in folder.glob(f"{DRAFT}{name}*"):
        leftover.unlink(missing_ok=True)
    draft = folder / f"{DRAFT}{name}"
    try:
        rows, sha256 = _write(conn, draft, name=name, columns=columns)
        if (found := _measure(draft)) != (rows, sha256):
            raise ArchiveBroken(f"{name}: {rows} rows were written, {found[0]} can be read, or they differ")
        archive = Archive(
            format=FORMAT,
            name=name,
            columns=columns,
            rows=rows,
            sha256=sha256,
            archived_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        description = folder / f"{DRAFT}{name}.json"
        _write_whole(description, msgspec.json.format(msgspec.json.encode(archive)))
        draft.replace(folder / f"{name}.csv.gz")
        description.replace(folder / f"{name}.json")
        _sync(folder)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return archive


def list_archives(folder: Path) -> list[Archive]:
    """What is archived, by name. Raises: ArchiveBroken for a description that cannot be read."""
    return [_described(file) for file in sorted(folder.glob("*.json")) if NAME.fullmatch(file.stem)]


def find_archive(folder: Path, name: str) -> Archive:
    """One archive. Raises: StartupError when there is none of this name; ArchiveBroken."""
    if not NAME.fullmatch(name) or not (file := folder / f"{name}.json").is_file():
        raise StartupError(f"there is no archive {name!r} in {folder}")
    return _described(file)


def read_archive(folder: Path, archive: Archive, out: IO[bytes]) -> None:
    """Write an archive's CSV to `out`. Raises: ArchiveBroken, at the end, when it is not what was archived."""
    if _measure(folder / f"{archive.name}.csv.gz", out) != (archive.rows, archive.sha256):
        raise ArchiveBroken(f"{archive.name}: this is not what was archived; take it from a backup")


def delete_old_archives(folder: Path, *, keep_days: int, now: datetime) -> list[str]:
    """Delete archives that were written more than `keep_days` days ago; returns their names. Raises: ArchiveBroken."""
    deleted = []
    for file in sorted(folder.glob("*.json")):
        if not NAME.fullmatch(file.stem):
            continue
        if now - datetime.fromisoformat(_described(file).archived_at) > timedelta(days=keep_days):
            file.with_suffix(".csv.gz").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            deleted.append(file.stem)
    return deleted


def _write(conn: psycopg.Connection[Any], draft: Path, *, name: str, columns: tuple[str, ...]) -> tuple[int, str]:
    """Rows and SHA-256 of what was written, and is on the disk. Raises: ArchiveBroken when rows are missing."""
    table = sql.Identifier(*name.split("."))
    fields = sql.SQL(", ").join(map(sql.Identifier, columns))
    digest = hashlib.sha256()
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
        assert row is not None
        statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, HEADER)").format(fields, table)
        with draft.open("xb") as out:
            os.fchmod(out.fileno(), 0o600)
            with gzip.GzipFile("", "wb", COMPRESSION, out, mtime=0) as packed, cursor.copy(statement) as copy:
                for piece in copy:
                    digest.update(piece)
                    packed.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if cursor.rowcount != row[0]:
            raise ArchiveBroken(f"{name}: {cursor.rowcount} of {row[0]} rows were written")
    return int(row[0]), digest.hexdigest()


def _measure(file: Path, out: IO[bytes] | None = None) -> tuple[int, str]:
    """Rows and SHA-256 of an archive as it lies there, copied to `out`. No column of it may hold a line break."""
    digest, lines = hashlib.sha256(), 0
    for piece in _pieces(file):
        digest.update(piece)
        lines += piece.count(b"\n")
        if out is not None:
            out.write(piece)
    return max(lines - 1, 0), digest.hexdigest()


def _pieces(file: Path) -> Iterator[bytes]:
    try:
        with gzip.open(file) as packed:
            while piece := packed.read(PIECE_BYTES):
                yield piece
    except (EOFError, gzip.BadGzipFile) as error:
        raise ArchiveBroken(f"{file}: {error}") from error


def _described(file: Path) -> Archive:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Archive)
    except (OSError, msgspec.DecodeError) as error:
        raise ArchiveBroken(f"{file}: {error}") from error


def _write_whole(file: Path, content: bytes) -> None:
    with suppress(FileNotFoundError):
        file.unlink()
    with file.open("xb") as out:
        os.fchmod(out.fileno(), 0o600)
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

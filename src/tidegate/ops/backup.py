"""Backups: the database, uploaded files and keys of a shop in one file, and a shop made of such a file again."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psycopg

from tidegate import __version__
from tidegate.migrations.run import known_revisions, upgrade
from tidegate.ops.archive import (
    DUMP,
    FORMAT,
    KEYS,
    NOT_DATA,
    Archive,
    Entry,
    Manifest,
    Unsealed,
    is_upload,
    measure,
    seal_keys,
    write_archive,
)
from tidegate.ops.books import check_books
from tidegate.ops.contracts import Books
from tidegate.ops.postgres_tools import dump_database, restore_database
from tidegate.platform.database import open_database
from tidegate.platform.problems import StartupError
from tidegate.platform.sealing import current_sealer, make_sealer
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import SecuritySettings, Settings
from tidegate.platform.settings_file import NAME as SETTINGS_FILE

SHOP_KEYS = ("sealing_keys", "fingerprint_key", "form_key", "sandbox_webhook_secret")
"""What belongs to the shop's data, unlike the passwords of its servers."""


CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds, and its size in bytes."""

    manifest: Manifest
    bytes: int

    @property
    def has_keys(self) -> bool:
        """Whether the keys are in it."""
        return KEYS in self.manifest.files


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored, the revision of the database now, and what the books say of it."""

    manifest: Manifest
    revision: str
    books: Books


def make_backup(settings: Settings, target: Path, *, passphrase: bytes | None, force: bool) -> BackupReport:
    """Write a backup of the shop while it sells. The file is there when it is whole, for its owner's eyes only.

    Raises: StartupError.
    """
    if target.exists() and not force:
        raise StartupError(f"{target} is there already: name another file, or add --force to replace it")
    key = _signing(settings.security)
    url = settings.require_database_url()
    revision, server = _facts(url)
    try:
        with tempfile.TemporaryDirectory(prefix=".tidegate-backup-", dir=target.absolute().parent) as folder:
            dump = Path(folder) / DUMP
            dump_database(url, target=dump)
            files: dict[str, Path | bytes] = {DUMP: dump, **_uploads(settings.home)}
            if passphrase is not None:
                files[KEYS] = seal_keys(_shop_keys(settings), passphrase)
            manifest = Manifest(
                format=FORMAT,
                tidegate=__version__,
                revision=revision,
                postgres=server,
                shop_name=settings.shop_name,
                currency=settings.currency,
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
                files={name: entry for name, content in files.items() if (entry := _entry(content)) is not None},
            )
            draft = Path(folder) / "backup"
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                write_archive(out, manifest, files, key=key)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(target)
    except OSError as error:
        raise StartupError(f"{target}: {error.strerror or error}") from error
    return BackupReport(manifest, target.stat().st_size)


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that was read to its end and is as it was written, and the keys in it if it was opened."""

    archive: Archive
    unsealed: Unsealed | None


def check_backup(source: IO[bytes], settings: Settings, *, passphrase: bytes | None) -> Checked:
    """Read a whole backup before anything is written. Raises: StartupError for what cannot be restored here."""
    archive = Archive(source)
    revisions = known_revisions()
    if archive.manifest.revision not in revisions:
        raise StartupError(
            f"this backup is of a newer Tidegate ({archive.manifest.tidegate}, revision {archive.manifest.revision}; "
            f"this one knows up to {revisions[-1]}): install that version"
        )
    unsealed = archive.unseal(passphrase) if passphrase is not None and archive.has_keys else None
    own = {name: value for name in SHOP_KEYS if (value := getattr(settings.security, name).get_secret_value())}
    if unsealed is not None and (name := next((n for n in own if own[n] != unsealed.secrets.get(n)), None)):
        raise StartupError(f"this shop has another {name} than the backup: restore into a new TIDEGATE_HOME")
    if unsealed is None and "fingerprint_key" not in own:
        hint = "give its passphrase (--passphrase-file)" if archive.has_keys else "copy the shop's secrets.json here"
        raise StartupError(f"the keys of the backup's shop are missing: {hint}")
    security = SecuritySettings.model_validate(dict(unsealed.secrets)) if unsealed is not None else settings.security
    archive.check(key=_signing(security))
    return Checked(archive, unsealed)


def adopt_keys(home: Path, unsealed: Unsealed) -> None:
    """Make a folder's secrets and settings those of the backup, as far as it has none yet."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in (
        ("secrets.json", json.dumps(dict(unsealed.secrets), indent=1)),
        (SETTINGS_FILE, unsealed.settings),
    ):
        if text:
            with suppress(FileExistsError):
                descriptor = os.open(home / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                    out.write(text)
    load_or_create(home)


def restore_backup(checked: Checked, settings: Settings) -> RestoreReport:
    """Fill the empty database of `settings` and the folders of uploads, migrate, and check the books.

    Raises: StartupError when the database holds anything, or pg_restore fails (then it is empty as before).
    """
    url = settings.require_database_url()
    require_empty(url)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=settings.home) as folder:
        staged = Path(folder)
        for name, stream in checked.archive.files():
            path = staged / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("xb") as out:
                shutil.copyfileobj(stream, out)
        restore_database(url, source=staged / DUMP)
        for uploads in sorted(path for path in staged.iterdir() if path.is_dir()):
            shutil.copytree(uploads, settings.home / uploads.name, dirs_exist_ok=True)
    upgrade(url, partitions_ahead_months=settings.database.partitions_ahead_months)
    return RestoreReport(checked.archive.manifest, _facts(url)[0], _books(settings))


def _books(settings: Settings) -> Books:
    current_sealer.cache_clear()

    async def run() -> Books:
        async with open_database(settings) as database:
            return await check_books(database, settings)

    return asyncio.run(run())


def _signing(security: SecuritySettings) -> bytes:
    return make_sealer(security).fingerprint_key


def _shop_keys(settings: Settings) -> Unsealed:
    secrets = {name: getattr(settings.security, name).get_secret_value() for name in SHOP_KEYS}
    file = settings.home / SETTINGS_FILE
    return Unsealed(
        {name: value for name, value in secrets.items() if value}, file.read_text() if file.exists() else ""
    )


def _uploads(home: Path) -> dict[str, Path]:
    """Uploaded files by their path in `home`; what a start makes anew is none of them."""
    folders = [path for path in sorted(home.glob("*")) if path.is_dir() and path.name not in NOT_DATA]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {path.relative_to(home).as_posix(): path for path in files if not path.is_symlink()}
    return {name: path for name, path in found.items() if is_upload(name)}


def _entry(content: Path | bytes) -> Entry | None:
    """None for a file that went since it was listed: nothing showed it any more."""
    if isinstance(content, bytes):
        return measure(io.BytesIO(content))
    try:
        with content.open("rb") as source:
            return measure(source)
    except FileNotFoundError:
        return None


def _facts(url: str) -> tuple[str, int]:
    """Revision of the database and the server's version. Raises: StartupError."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as conn:
            row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
            return (row[0] if row else ""), conn.info.server_version
    except psycopg.errors.UndefinedTable:
        raise StartupError("the database has no shop in it yet") from None
    except psycopg.OperationalError as error:
        raise StartupError(f"PostgreSQL does not answer: {' '.join(str(error).split())[:300]}") from error


def require_empty(url: str) -> None:
    """Raises: StartupError when the database holds a table, or does not answer."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as conn:
            row = conn.execute(
                "SELECT n.nspname || '.' || c.relname FROM pg_class AS c"
                " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
                " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
                " AND c.relkind IN ('r', 'p', 'S', 'v', 'm') LIMIT 1"
            ).fetchone()
    except psycopg.OperationalError as error:
        raise StartupError(f"PostgreSQL does not answer: {' '.join(str(error).split())[:300]}") from error
    if row is not None:
        raise StartupError(
            f"the database is not empty (it has {row[0]}): restore into a new TIDEGATE_HOME or another database"
        )

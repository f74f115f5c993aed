"""A backup's file: a plain tar of a manifest, the database's dump, uploaded files and, under a passphrase, the keys.

The manifest says size and SHA-256 of everything else and is itself signed (HMAC-SHA-256) with a key made of the shop's
own. So a file that was cut, damaged or changed is found out before anything is written, also by who can recompute
checksums. Members are read by us: no path of an archive is ever followed.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidegate.platform.problems import StartupError

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.hmac"
DUMP = "database.dump"
KEYS = "keys.sealed"
NOT_DATA = frozenset({"cache", "log", "mail", "postgres", "run", "valkey"})
"""Folders of TIDEGATE_HOME that a start makes anew, or that the dump stands for; all others hold what was uploaded."""

MAX_MANIFEST_BYTES = 64_000_000
MAX_FILES = 1_000_000
CHUNK = 1_048_576
SALT_BYTES = 16
NONCE_BYTES = 12
SCRYPT_COST = 2**15
"""32 MiB and about a tenth of a second for each guess of a passphrase."""
LABEL = b"tidegate backup 1"

_FOLDER = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")
DEEPEST = 6


class Entry(BaseModel):
    """One file of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a backup holds. `revision` is that of the database, `made_at` ISO 8601 in UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    tidegate: str
    revision: str = Field(pattern="^[0-9]{4}$")
    postgres: int
    shop_name: str
    currency: str
    made_at: str
    files: dict[str, Entry] = Field(max_length=MAX_FILES)


@dataclass(frozen=True, slots=True)
class Unsealed:
    """The keys of a shop, by name, and its settings file (empty: it had none)."""

    secrets: Mapping[str, str]
    settings: str


def is_upload(name: str) -> bool:
    """Whether a path below TIDEGATE_HOME may be that of an uploaded file."""
    folder, *parts = name.split("/")
    if _FOLDER.fullmatch(folder) is None or folder in NOT_DATA or not 1 <= len(parts) <= DEEPEST:
        return False
    return all(_PART.fullmatch(part) for part in parts)


def measure(source: IO[bytes]) -> Entry:
    """Size and digest of a file from where it stands."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return Entry(bytes=size, sha256=digest.hexdigest())


def write_archive(target: IO[bytes], manifest: Manifest, files: Mapping[str, Path | bytes], *, key: bytes) -> None:
    """Write an archive; `files` are what the manifest lists, the same to the byte."""
    encoded = manifest.model_dump_json().encode()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, MANIFEST, encoded)
        _add(archive, SIGNATURE, hmac.new(_signing_key(key), encoded, hashlib.sha256).hexdigest().encode())
        for name in manifest.files:
            _add(archive, name, files[name])


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    member = tarfile.TarInfo(name)
    member.mode = 0o600
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        return
    with content.open("rb") as source:
        member.size = os.fstat(source.fileno()).st_size
        archive.addfile(member, source)


class Archive:
    """A backup that is read. Until `check` has returned, only `manifest` and `unseal` may be looked at."""

    def __init__(self, source: IO[bytes]) -> None:
        """Raises: StartupError when this is no backup, or one of a newer Tidegate."""
        self._source = source
        try:
            self._tar = tarfile.open(fileobj=source, mode="r:")  # noqa: SIM115 - the caller closes the source
            self._encoded = self._small(MANIFEST)
            self._signature = self._small(SIGNATURE)
            if json.loads(self._encoded).get("format") != FORMAT:
                raise StartupError("this backup is of another version of Tidegate: restore it with that one")
            self.manifest = Manifest.model_validate_json(self._encoded)
        except (tarfile.TarError, ValidationError, ValueError, AttributeError, OSError):
            raise StartupError("this file is not a backup, or its beginning is damaged") from None
        for name in self.manifest.files:
            if name not in (DUMP, KEYS) and not is_upload(name):
                raise StartupError(f"this backup names a file that no backup has: {name[:80]!r}")
        if DUMP not in self.manifest.files:
            raise StartupError("this backup has no database in it")

    def _small(self, name: str) -> bytes:
        member = self._tar.next()
        if member is None or member.name != name or not _is_plain(member) or member.size > MAX_MANIFEST_BYTES:
            raise tarfile.TarError
        stream = self._tar.extractfile(member)
        assert stream is not None
        data = stream.read()
        if len(data) != member.size:
            raise tarfile.TarError
        return data

    @property
    def has_keys(self) -> bool:
        """Whether the shop's keys are in it, under a passphrase."""
        return KEYS in self.manifest.files

    def check(self, *, key: bytes) -> None:
        """Read all of it. Raises: StartupError when anything is not as it was written with `key`."""
        good = hmac.new(_signing_key(key), self._encoded, hashlib.sha256).hexdigest().encode()
        if not hmac.compare_digest(good, self._signature):
            raise StartupError("this backup was changed, or made by a shop with other keys")
        missing = dict(self.manifest.files)
        for name, stream, size in self._members():
            wanted = missing.pop(name, None)
            if wanted is None:
                raise StartupError(f"this backup holds a file that its list does not name: {name[:80]!r}")
            if size != wanted.bytes or not _is_as_written(stream, wanted):
                raise StartupError(f"this backup is damaged: {name} is not as it was written")
        if missing:
            raise StartupError(f"this backup is cut off: {next(iter(missing))} is missing")

    def unseal(self, passphrase: bytes) -> Unsealed:
        """The keys in it. Raises: StartupError for another passphrase, or a damaged file."""
        for name, stream, size in self._members():
            if name == KEYS and size <= MAX_MANIFEST_BYTES:
                found: dict[str, Any] = json.loads(_open(_read(stream), passphrase))
                return Unsealed(found["secrets"], found["settings"])
        raise StartupError("this backup is cut off: the keys are missing")

    def files(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Name and content of all that was checked, the keys aside."""
        return ((name, stream) for name, stream, _ in self._members() if name != KEYS)

    def _members(self) -> Iterator[tuple[str, IO[bytes], int]]:
        """Each member after the signature, to be read at once."""
        self._source.seek(0)
        try:
            with tarfile.open(fileobj=self._source, mode="r:") as archive:
                for member in archive:
                    if member.name in (MANIFEST, SIGNATURE):
                        continue
                    stream = archive.extractfile(member) if _is_plain(member) else None
                    if stream is None:
                        raise StartupError(f"this backup holds something that is no file: {member.name[:80]!r}")
                    yield member.name, stream, member.size
        except (tarfile.TarError, OSError):
            raise StartupError("this backup is damaged or cut off") from None


def _is_as_written(stream: IO[bytes], wanted: Entry) -> bool:
    try:
        return measure(stream) == wanted
    except (tarfile.TarError, OSError):
        return False


def _read(stream: IO[bytes]) -> bytes:
    try:
        return stream.read()
    except (tarfile.TarError, OSError):
        return b""


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _signing_key(key: bytes) -> bytes:
    return hmac.new(key, LABEL, hashlib.sha256).digest()


def seal_keys(unsealed: Unsealed, passphrase: bytes) -> bytes:
    """The keys under a passphrase: salt, nonce, AES-256-GCM with a key by scrypt (RFC 7914)."""
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    text = json.dumps({"secrets": dict(unsealed.secrets), "settings": unsealed.settings})
    return salt + nonce + AESGCM(_stretched(passphrase, salt)).encrypt(nonce, text.encode(), LABEL)


def _open(sealed: bytes, passphrase: bytes) -> bytes:
    salt, nonce = sealed[:SALT_BYTES], sealed[SALT_BYTES : SALT_BYTES + NONCE_BYTES]
    try:
        return AESGCM(_stretched(passphrase, salt)).decrypt(nonce, sealed[SALT_BYTES + NONCE_BYTES :], LABEL)
    except (InvalidTag, ValueError):
        raise StartupError("this is not the passphrase of the backup, or its keys are damaged") from None


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=SCRYPT_COST, r=8, p=1).derive(passphrase)

"""`tidegate backup` and `tidegate restore`: the same shop again, or nothing."""

from __future__ import annotations

import json
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import typer
from typer.testing import CliRunner, Result

from tests.servers import TestCluster
from tidegate.ops.archive import KEYS, MANIFEST
from tidegate.ops.backup_cli import backup_command, restore_command
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.problems import StartupError
from tidegate.platform.sealing import make_sealer
from tidegate.platform.settings import Settings, current_settings, load_settings

APP = typer.Typer()
APP.command("backup")(backup_command)
APP.command("restore")(restore_command)
PASSPHRASE = "correct horse battery"
COLUMN = "accounts.people.email_sealed"


def run(*words: str) -> Result:
    current_settings.cache_clear()
    return CliRunner().invoke(APP, list(words))


def done(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


def refused(*words: str) -> str:
    result = run(*words)
    assert isinstance(result.exception, StartupError), result.output + str(result.exception)
    return str(result.exception)


@pytest.fixture
def passphrase(tmp_path: Path) -> str:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    return f"--passphrase-file={file}"


@pytest.fixture
def backup(settings: Settings, tmp_path: Path, passphrase: str) -> Path:
    """The backup of a small shop with a customer, a picture and a settings file."""
    sealed = make_sealer(settings.security).seal("ada@example.com", column=COLUMN)
    with psycopg.connect(settings.require_database_url()) as conn:
        conn.execute("INSERT INTO catalog.products (id, slug, title) VALUES (gen_random_uuid(), 'lamp', 'Lamp ☃')")
        conn.execute(
            "INSERT INTO accounts.people (id, role, email_sealed, email_fingerprint)"
            " VALUES (gen_random_uuid(), 'customer', %s, %s)",
            (sealed, b"x" * 32),
        )
    (settings.home / "images" / "ab").mkdir(parents=True)
    (settings.home / "images" / "ab" / "lamp.webp").write_bytes(b"picture")
    for own in ("log", "postgres", "run"):
        (settings.home / own).mkdir()
        (settings.home / own / "file").touch()
    (settings.home / "settings.toml").write_text('shop_name = "Quay"\n')
    file = tmp_path / "shop.backup"
    report = json.loads(done("backup", str(file), passphrase, "--json"))
    assert (report["keys"], report["files"]) == (True, 3)
    return file


@pytest.fixture
def empty(cluster: TestCluster, postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """An empty database."""
    name = "empty_for_restore"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    cluster.drop(postgres_server.url(name))


@pytest.fixture
def new_home(tmp_path: Path, empty: str, monkeypatch: pytest.MonkeyPatch, backup: Path) -> Path:
    """Another folder and the empty database, as the settings of what comes."""
    home = tmp_path / "other"
    monkeypatch.setenv("TIDEGATE_HOME", str(home))
    monkeypatch.setenv("TIDEGATE_DATABASE_URL", empty)
    return home


def tables(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname = 'products'").fetchone()
    assert row is not None
    return int(row[0])


def test_a_shop_comes_back_in_another_place(backup: Path, new_home: Path, empty: str, passphrase: str) -> None:
    told = json.loads(done("restore", str(backup), passphrase, "--json"))
    assert told["books_clean"] is True
    assert told["shop_name"] == "Quay"
    restored = load_settings()
    assert restored.shop_name == "Quay"
    with psycopg.connect(empty) as conn:
        assert conn.execute("SELECT title FROM catalog.products").fetchall() == [("Lamp ☃",)]
        row = conn.execute("SELECT email_sealed FROM accounts.people").fetchone()
    assert row is not None
    assert make_sealer(restored.security).open(bytes(row[0]), column=COLUMN) == "ada@example.com"
    assert (new_home / "images" / "ab" / "lamp.webp").read_bytes() == b"picture"
    assert (new_home / "secrets.json").stat().st_mode & 0o077 == 0
    assert "not empty" in refused("restore", str(backup), passphrase)


def test_only_its_owner_can_read_it_and_the_keys_are_not_in_the_clear(backup: Path, settings: Settings) -> None:
    assert backup.stat().st_mode & 0o077 == 0
    data = backup.read_bytes()
    assert settings.security.fingerprint_key.get_secret_value().encode() not in data
    assert b"database_password" not in data
    assert [path.name for path in backup.parent.glob(".tidegate-*")] == []
    assert "there already" in refused("backup", str(backup))


def test_without_keys_the_shops_own_are_needed(
    backup: Path, new_home: Path, settings: Settings, passphrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "passphrase" in refused("restore", str(backup))
    wrong = backup.with_name("wrong")
    wrong.write_text("wrong horse battery")
    assert "not the passphrase" in refused("restore", str(backup), f"--passphrase-file={wrong}")
    wrong.write_text("short")
    assert "at least 12" in refused("restore", str(backup), f"--passphrase-file={wrong}")
    assert not new_home.exists()
    new_home.mkdir()
    (new_home / "secrets.json").write_bytes((settings.home / "secrets.json").read_bytes())
    assert "The books add up" in done("restore", str(backup))


def test_a_shop_with_other_keys_is_not_mixed_in(backup: Path, new_home: Path, empty: str, passphrase: str) -> None:
    from tidegate.platform.secrets import load_or_create

    new_home.mkdir()
    load_or_create(new_home)
    assert "another sealing_keys" in refused("restore", str(backup), passphrase)
    assert "other keys" in refused("restore", str(backup))
    assert tables(empty) == 0


def test_whatever_was_cut_or_changed_is_refused_before_anything_is_written(
    backup: Path, new_home: Path, empty: str, passphrase: str
) -> None:
    data = backup.read_bytes()
    with tarfile.open(backup) as archive:
        members = {member.name: member for member in archive}
        end = max(member.offset_data + member.size for member in members.values())
    chance = random.Random(7)
    spoiled = [data[:cut] for cut in (0, 100, 700, 5_000, end - 600, end - 1)]
    for member in members.values():
        for _ in range(3):
            place = member.offset_data + chance.randrange(member.size)
            spoiled.append(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for number, each in enumerate(spoiled):
        backup.write_bytes(each)
        result = run("restore", str(backup), passphrase)
        assert isinstance(result.exception, StartupError), (number, result.output, result.exception)
    assert tables(empty) == 0
    assert not new_home.exists()
    backup.write_bytes(data)
    done("restore", str(backup), passphrase)


def test_a_file_that_is_smuggled_in_is_refused(backup: Path, new_home: Path, passphrase: str) -> None:
    with tarfile.open(backup, "a") as archive:
        archive.add(backup.with_name("passphrase"), arcname="../../escaped")
    assert "does not name" in refused("restore", str(backup), passphrase)
    backup.write_bytes(b"no archive at all")
    assert "not a backup" in refused("restore", str(backup), passphrase)
    assert "No such file" in refused("restore", str(backup.with_name("nowhere")), passphrase)


def test_a_backup_of_a_newer_tidegate_is_refused(
    settings: Settings, tmp_path: Path, passphrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(settings.require_database_url()) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    file = tmp_path / "newer.backup"
    done("backup", str(file), passphrase)
    assert "newer Tidegate" in refused("restore", str(file), passphrase)


def test_what_is_in_a_backup(backup: Path) -> None:
    with tarfile.open(backup) as archive:
        names = archive.getnames()
        stream = archive.extractfile(MANIFEST)
        assert stream is not None
        manifest = json.loads(stream.read())
    assert names == [MANIFEST, "manifest.hmac", "database.dump", "images/ab/lamp.webp", KEYS]
    assert set(manifest["files"]) == set(names[2:])


def test_no_shop_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "none"))
    assert "no shop in TIDEGATE_HOME" in refused("backup", str(tmp_path / "x"))
    assert os.listdir(tmp_path) == []

"""`tidegate doctor`: what it says of a good shop, and of each thing that is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from pydantic import SecretStr
from typer.testing import CliRunner

from tests.catalog.makers import write
from tests.gateway.server import open_gateway
from tests.notify.postbox import open_postbox
from tidegate.catalog import demo_catalogue
from tidegate.ops import checkups, checkups_live
from tidegate.ops.doctor import examine, worst
from tidegate.ops.doctor_cli import doctor_command
from tidegate.ops.findings import Finding, Level
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings, current_settings

APP = typer.Typer()
APP.command()(doctor_command)


def changed(settings: Settings, section: str = "", **values: Any) -> Settings:
    """Settings with other values, at the top or in a section."""
    if not section:
        return settings.model_copy(update=values)
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def good(settings: Settings) -> Settings:
    """Settings of a shop that is live."""
    settings = changed(settings, "http", base_url="https://shop.example", allowed_hosts=["shop.example"])
    settings = changed(settings, "http", trusted_proxies=["10.0.0.0/8"])
    return changed(changed(settings, "security", cookie_secure=True), shop_name="Quay")


async def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in await examine(settings, online=False)}


async def test_a_good_shop(settings: Settings) -> None:
    (settings.home / "secrets.json").chmod(0o600)
    async with open_postbox() as postbox:
        shop = changed(good(settings), "mail", smtp_url=postbox.url, sender="Shop <shop@shop.example>")
        live = SecretStr("sk_live_abc"), SecretStr("whsec_abc")
        shop = changed(shop, "payments", stripe_secret_key=live[0], stripe_webhook_secrets=live[1])
        found = await findings(shop)
    bad = {name: one for name, one in found.items() if one.level is not Level.OK}
    assert set(bad) <= {"durability", "disk"}, "the tests' own server need not be durable"
    assert "TIDEGATE_GATE__BEACON_URL" in found["draws"].says, "a hint, not a failure"
    assert (
        checkups.draws(changed(shop, "gate", beacon_url="https://beacon.example")).says == "with https://beacon.example"
    )
    assert found["migrations"].says.startswith("revision ")
    assert "lets us in" in found["mail"].says


async def test_durability_is_read_from_the_server(settings: Settings) -> None:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {conn.info.dbname} SET synchronous_commit = off".encode())
    found = (await findings(settings))["durability"]
    assert found.level is Level.UNSAFE
    assert "synchronous_commit" in found.says


async def test_a_server_with_little_room_for_locks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await findings(settings))["locks"].level is Level.OK
    monkeypatch.setattr(checkups_live, "LOCKS_PER_TRANSACTION", 100_000)
    found = (await findings(settings))["locks"]
    assert (found.level, "100000" in found.advice) == (Level.UNSAFE, True)


async def test_an_older_a_newer_and_an_empty_database(settings: Settings) -> None:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        for revision, said in (("0001", "tidegate migrate"), ("9999", "install that version")):
            conn.execute("UPDATE alembic_version SET version_num = %s", (revision,))
            found = await findings(settings)
            assert (found["migrations"].level, said in found["migrations"].advice) == (Level.BROKEN, True)
            assert "events" not in found
        conn.execute("DROP TABLE alembic_version")
    assert "no shop in it" in (await findings(settings))["migrations"].says


async def test_servers_that_are_away(settings: Settings) -> None:
    away = SecretStr("redis://127.0.0.1:9/0")
    shop = changed(settings, database_url=SecretStr("postgresql://x@127.0.0.1:9/x"), valkey_url=away)
    found = await findings(changed(shop, "mail", smtp_url="smtp://127.0.0.1:9"))
    for name in ("database", "Valkey", "broker", "mail"):
        assert found[name].level is Level.BROKEN, found[name]
    shop = changed(settings, database_url=SecretStr(""), valkey_url=SecretStr(""))
    found = await findings(shop)
    for name in ("database", "Valkey", "broker", "mail"):
        assert found[name].level is Level.BROKEN, found[name]


async def test_events_that_nobody_hands_out(settings: Settings) -> None:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        conn.execute(
            "INSERT INTO platform.outbox (id, topic, payload, next_attempt_at)"
            " VALUES (gen_random_uuid(), 'x', '{}', clock_timestamp() - interval '5 minutes')"
        )
    found = (await findings(settings))["events"]
    assert (found.level, found.says) == (Level.BROKEN, "1 wait for over 60 s")


async def test_products_of_the_demo(settings: Settings, database: Database) -> None:
    await write(database, *demo_catalogue(currency="GBP").products[:2])
    found = await findings(changed(settings, currency="EUR"))
    assert (found["demo data"].level, found["demo data"].says[:1]) == (Level.UNSAFE, "2")
    assert (found["prices"].level, found["prices"].says[:1]) == (Level.UNSAFE, "2")
    assert (await findings(settings))["prices"].level is Level.OK


async def test_a_shop_without_a_worker(settings: Settings) -> None:
    settings.endpoints_file.parent.mkdir(parents=True)
    running = [{"name": "site-1", "pid": os.getpid()}, {"name": "scheduler", "pid": os.getpid()}]
    gone = {"name": "worker", "pid": 2**22 + 1}
    settings.endpoints_file.write_text(json.dumps({"processes": [*running, gone]}))
    found = await findings(settings)
    assert [found[name].level for name in ("site", "worker", "scheduler")] == [Level.OK, Level.BROKEN, Level.OK]


async def test_the_mail_catcher_sends_nothing(settings: Settings) -> None:
    settings.endpoints_file.parent.mkdir(parents=True)
    settings.endpoints_file.write_text(json.dumps({"processes": [{"name": "mail-catcher", "pid": os.getpid()}]}))
    async with open_postbox() as postbox:
        found = await checkups_live.mail(changed(settings, "mail", smtp_url=postbox.url, sender="shop@shop.example"))
    assert (found.level, "catcher" in found.says) == (Level.UNSAFE, True)


@pytest.mark.parametrize(
    ("check", "section", "values", "level"),
    [
        (checkups.shop_name, "", {"shop_name": "Tidegate"}, Level.UNSAFE),
        (checkups.demo_mode, "", {"demo": True}, Level.UNSAFE),
        (checkups.address, "http", {"base_url": ""}, Level.UNSAFE),
        (checkups.address, "http", {"base_url": "http://shop.example"}, Level.UNSAFE),
        (checkups.address, "http", {"base_url": "shop.example"}, Level.BROKEN),
        (checkups.hosts, "http", {"allowed_hosts": ["localhost"]}, Level.BROKEN),
        (checkups.hosts, "http", {"allowed_hosts": ["*"]}, Level.UNSAFE),
        (checkups.proxies, "http", {"trusted_proxies": []}, Level.UNSAFE),
        (checkups.proxies, "http", {"trusted_proxies": ["0.0.0.0/0"]}, Level.UNSAFE),
        (checkups.cookies, "security", {"cookie_secure": False}, Level.UNSAFE),
        (checkups.keys, "security", {"sealing_keys": SecretStr("")}, Level.BROKEN),
        (checkups.keys, "security", {"form_key": SecretStr("short")}, Level.BROKEN),
        (checkups.keys, "security", {"form_key": SecretStr("A" * 43 + "=")}, Level.UNSAFE),
        (checkups.payment_keys, "payments", {"stripe_secret_key": SecretStr("pk_live_1")}, Level.BROKEN),
        (checkups.payment_keys, "payments", {"stripe_secret_key": SecretStr("sk_live_1")}, Level.BROKEN),
    ],
)
def test_what_settings_tell(
    settings: Settings, check: Callable[[Settings], Finding], section: str, values: dict[str, Any], level: Level
) -> None:
    assert check(good(settings)).level in (Level.OK, Level.UNSAFE)
    finding = check(changed(good(settings), section, **values))
    assert finding.level is level, finding
    assert finding.advice


def test_files_that_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").touch(mode=0o644)
    (tmp_path / "secrets.json").touch(mode=0o600)
    assert [one.level for one in checkups.private_files(tmp_path)] == [Level.UNSAFE, Level.OK]


@pytest.mark.parametrize(
    ("key", "level", "said"),
    [
        ("sk_test_gateway", Level.UNSAFE, "takes the key"),
        ("sk_live_unknown", Level.BROKEN, "refuses"),
    ],
)
async def test_stripe_is_asked(settings: Settings, key: str, level: Level, said: str) -> None:
    async with open_gateway() as gateway:
        secrets = {"stripe_secret_key": SecretStr(key), "stripe_webhook_secrets": SecretStr("whsec_abc")}
        finding = await checkups_live.payments(
            changed(settings, "payments", stripe_api_base=gateway.url, **secrets), online=True
        )
    assert (finding.level, said in finding.says) == (level, True), finding


async def test_a_proxy_that_cannot_be_used_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://proxy:1080")
    monkeypatch.setenv("no_proxy", "")
    secrets = {"stripe_secret_key": SecretStr("sk_live_a"), "stripe_webhook_secrets": SecretStr("whsec_abc")}
    shop = changed(settings, "payments", stripe_api_base="https://api.stripe.example", **secrets)
    finding = await checkups_live.payments(shop, online=True)
    assert finding.level is Level.BROKEN
    assert "does not speak HTTP" in finding.says


async def test_a_stripe_that_is_away_breaks_nothing(settings: Settings) -> None:
    secrets = {"stripe_secret_key": SecretStr("sk_live_a"), "stripe_webhook_secrets": SecretStr("whsec_abc")}
    shop = changed(settings, "payments", stripe_api_base="http://127.0.0.1:9", provider_timeout_s=2.0, **secrets)
    assert (await checkups_live.payments(shop, online=True)).level is Level.UNSAFE
    assert (await checkups_live.payments(shop, online=False)).level is Level.OK


def test_exit_codes_and_what_is_printed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(APP, ["--offline", "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["level"]) == (2, "broken"), "it has no mail server"
    assert {"name", "level", "says", "advice"} == set(told["findings"][0])
    result = CliRunner().invoke(APP, ["--offline"])
    assert result.exit_code == 2
    assert result.stdout.splitlines()[-1].endswith("unsafe for production.")
    secret = settings.security.fingerprint_key.get_secret_value()
    assert secret not in result.stdout
    current_settings.cache_clear()


def test_the_worst_decides() -> None:
    fine, bad = Finding("a", Level.OK, ""), Finding("b", Level.UNSAFE, "", "")
    assert worst([fine]) is Level.OK
    assert worst([fine, bad]) is Level.UNSAFE
    assert worst([bad, Finding("c", Level.BROKEN, "", "")]) is Level.BROKEN

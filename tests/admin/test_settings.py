"""The settings as staff read them: all of them, what is unsafe, and no secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, SecretStr

from tests.admin.test_pages import sign_in
from tests.storefront.conftest import app, reading, text_of
from tidegate import ops
from tidegate.platform.database import Database
from tidegate.platform.settings import PaymentSettings, Settings

__all__ = ["app"]

pytestmark = pytest.mark.anyio

HIDDEN = "hunter2secret"


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


def made(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


def values(settings: Settings) -> dict[str, ops.SettingRow]:
    return {row.variable: row for section in ops.settings_sections(settings) for row in section.rows}


def test_every_setting_is_there(settings: Settings) -> None:
    expected = {
        f"TIDEGATE_{name.upper()}__{inner.upper()}"
        for name in Settings.model_fields
        if isinstance(group := getattr(settings, name), BaseModel)
        for inner in type(group).model_fields
    } | {
        f"TIDEGATE_{name.upper()}"
        for name in Settings.model_fields
        if not isinstance(getattr(settings, name), BaseModel)
    }
    assert set(values(settings)) == expected


@pytest.mark.parametrize(
    "url",
    [f"smtp://ada:{HIDDEN}@mail.example:587", f"smtp://ada:{HIDDEN}/x@mail.example", f"mail.example?password={HIDDEN}"],
)
def test_no_secret_is_told(settings: Settings, url: str) -> None:
    mail = settings.mail.model_copy(update={"smtp_url": url})
    payments = PaymentSettings(stripe_secret_key=SecretStr(f"sk_live_{HIDDEN}"))
    told = made(
        settings, mail=mail, payments=payments, database_url=SecretStr(f"postgresql://ada:{HIDDEN}@db.example/x")
    )
    assert HIDDEN not in repr(ops.settings_sections(told))
    assert HIDDEN not in repr(ops.production_findings(told))
    for variable in ("TIDEGATE_MAIL__SMTP_URL", "TIDEGATE_PAYMENTS__STRIPE_SECRET_KEY", "TIDEGATE_DATABASE_URL"):
        row = values(told)[variable]
        assert (row.secret, row.is_set, row.value) == (True, True, "")
    assert not values(made(settings, payments=PaymentSettings()))["TIDEGATE_PAYMENTS__STRIPE_SECRET_KEY"].is_set


def test_what_was_changed_is_told_apart(settings: Settings) -> None:
    told = values(made(settings, currency="EUR", locale="en_GB"))
    assert (told["TIDEGATE_CURRENCY"].value, told["TIDEGATE_CURRENCY"].default) == ("EUR", "GBP")
    assert told["TIDEGATE_CURRENCY"].changed
    assert not told["TIDEGATE_LOCALE"].changed


def test_what_is_unsafe_is_found_and_what_is_good_left_out(settings: Settings, tmp_path: Path) -> None:
    demo = {finding.name for finding in ops.production_findings(made(settings, demo=True, home=tmp_path))}
    assert {"demo mode", "payment keys"} <= demo
    assert "demo mode" not in {finding.name for finding in ops.production_findings(made(settings, demo=False))}


async def test_the_page(client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    few, every = await client.get("/admin/settings"), await client.get("/admin/settings?every=yes")
    assert (few.status_code, every.status_code) == (200, 200)
    assert few.headers["cache-control"] == "no-store"
    assert "TIDEGATE_ENGINE__BATCH_MAX" in text_of(every)
    assert "TIDEGATE_ENGINE__BATCH_MAX" not in text_of(few)
    assert "none: nothing can be paid with money" in text_of(few)
    assert len(every.content) <= 50 * 1024

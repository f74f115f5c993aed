"""Devices of recipients: told in bulk by applications, by their owners themselves, and forgotten with them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.notify.applications import Application, client_of, make_application
from tests.notify.conftest import with_mail
from tests.storefront.conftest import app, reading, text_of
from tidegate.entrypoints.notify import create_app
from tidegate.notify.applications import KeyRole
from tidegate.notify.erasing import erase_messages
from tidegate.platform.database import Database
from tidegate.platform.ids import new_id, parse_id
from tidegate.platform.settings import Settings

__all__ = ["app"]

pytestmark = pytest.mark.anyio

KEYS = {"auth": "c2VjcmV0", "p256dh": "BNcRdreALRFXTkOOUHK1"}
BROWSER = {"kind": "web_push", "token": "https://push.example/send/Ab1", "keys": KEYS, "label": "Ada's laptop"}
PHONE = {"kind": "android", "token": "f-Xy:APA91b", "label": ""}
OWN = "/api/v1/me/devices"


@pytest.fixture
async def crm(database: Database, settings: Settings) -> AsyncIterator[Application]:
    small = settings.model_copy(update={"follows": settings.follows.model_copy(update={"max_devices": 3})})
    async with client_of(create_app(with_mail(small, smtp_url="smtp://127.0.0.1:1"), moving=False)) as web:
        made = await make_application(database, web, "crm")
        await made.add("ada", "bob")
        yield made


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def tokens(crm: Application, whose: str) -> list[str]:
    answer = await crm.ask("GET", f"/recipients/{whose}/devices")
    assert answer.status_code == 200, answer.text
    return [each["token"] for each in answer.json()["items"]]


async def test_devices_are_written_all_or_none_kept_once_and_forgotten(crm: Application, database: Database) -> None:
    devices = [{"external_id": "ada", **BROWSER}, {"external_id": "bob", **PHONE}]
    answer = await crm.ask("PUT", "/devices", devices=devices)
    assert [each["created"] for each in answer.json()["devices"]] == [True, True], answer.text
    again = await crm.ask("PUT", "/devices", devices=devices)
    assert again.json() == {"devices": [{**each, "created": False} for each in answer.json()["devices"]]}
    (kept,) = (await crm.ask("GET", "/recipients/ada/devices")).json()["items"]
    assert {name: kept[name] for name in BROWSER} == BROWSER
    async with database.connection() as conn:
        found = await conn.execute("SELECT string_agg(encode(device_sealed, 'escape'), '') FROM notify.devices")
        assert "push.example" not in str(await found.fetchone())

    other = await make_application(database, crm.web, "shop-two")
    assert (await other.ask("GET", "/recipients/ada/devices")).status_code == 404
    assert (await other.ask("DELETE", f"/recipients/ada/devices/{kept['id']}")).status_code == 404
    reader = await make_application(database, crm.web, "crm", KeyRole.READER)
    assert (await reader.ask("PUT", "/devices", devices=devices)).status_code == 403
    assert (await crm.ask("DELETE", f"/recipients/bob/devices/{kept['id']}")).status_code == 404
    assert (await crm.ask("DELETE", f"/recipients/ada/devices/{kept['id']}")).status_code == 204
    assert await tokens(crm, "ada") == []
    assert (await crm.ask("DELETE", "/recipients/bob")).status_code == 204
    async with database.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM notify.devices")).fetchone() == (0,)


async def test_what_cannot_be_a_device_is_named_and_nothing_is_written(crm: Application) -> None:
    bad: list[dict[str, Any]] = [
        {"external_id": "ada", **BROWSER},
        {"external_id": "ada", **BROWSER, "label": "twice"},
        {"external_id": "eve", **PHONE},
        {"external_id": "bob", **BROWSER, "token": "http://push.example/1"},
        {"external_id": "bob", **PHONE, "keys": KEYS, "token": "a b"},
        {"external_id": "bob", **BROWSER, "token": "https://push.example/2", "keys": {"auth": "x"}, "label": "\n"},
    ]
    answer = await crm.ask("PUT", "/devices", devices=bad)
    assert answer.status_code == 422, answer.text
    assert sorted(each["field"] for each in answer.json()["errors"]) == [
        "devices[1].token", "devices[2].external_id", "devices[3].token", "devices[4].keys", "devices[4].token",
        "devices[5].keys", "devices[5].label",
    ]  # fmt: skip
    assert await tokens(crm, "ada") == []


async def test_somebody_keeps_a_few_and_a_device_is_its_last_owners(crm: Application) -> None:
    for number in range(4):
        await crm.ask("PUT", "/devices", devices=[{"external_id": "ada", **PHONE, "token": f"t{number}"}])
    assert await tokens(crm, "ada") == ["t3", "t2", "t1"]
    await crm.ask("PUT", "/devices", devices=[{"external_id": "bob", **PHONE, "token": "t2"}])
    await crm.ask("PUT", "/devices", devices=[{"external_id": "bob", **PHONE, "token": "T2"}])
    assert await tokens(crm, "ada") == ["t3", "t1"]
    assert await tokens(crm, "bob") == ["T2", "t2"]


async def test_an_account_tells_of_its_devices_sees_them_on_its_page_and_removes_them(
    client: httpx.AsyncClient, database: Database
) -> None:
    assert (await client.get(OWN)).json() == {"items": []}
    assert (await client.delete(f"{OWN}/{new_id()}")).status_code == 404
    assert "Your devices" not in text_of(await client.get("/account/messages"))
    answer = await client.put(OWN, json={"devices": [BROWSER, PHONE]})
    assert answer.status_code == 200, answer.text
    assert (await client.put(OWN, json={"devices": [{**PHONE, "token": ""}]})).status_code == 422
    shown = await client.get("/account/messages")
    assert "Ada's laptop Browser, last seen" in text_of(shown)
    assert "Android device last seen" in text_of(shown)
    remove = re.search(r'action="(/account/messages/devices/[^"]+/remove)"', shown.text)
    hidden = dict(re.findall(r'<input type="hidden" name="(form_token)" value="([^"]*)"', shown.text))
    assert remove is not None
    for status in (303, 404):
        gone = await client.post(remove[1], data=hidden, headers={"sec-fetch-site": "same-origin"})
        assert gone.status_code == status
    (left,) = (await client.get(OWN)).json()["items"]
    person = parse_id((await client.get("/api/v1/me")).json()["id"])
    assert left["token"] not in remove[1]
    async with database.transaction() as conn:
        assert person is not None
        await erase_messages(conn, people=[person])
    assert (await client.get(OWN)).json() == {"items": []}

"""The rooms for access keys, providers that sign, and stopped addresses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.admin.test_pages import sign_in
from tests.admin.test_webhooks import post
from tests.storefront.conftest import app, reading, text_of
from tidegate.notify.signers import MOST
from tidegate.notify.suppressions import delete_old_changes, list_changes
from tidegate.platform.database import Database
from tidegate.platform.ids import new_id

__all__ = ["app"]

pytestmark = pytest.mark.anyio

KEYS = "/admin/keys"
STOPPED = "/admin/suppressions"
RECEIPTS = "/api/v1/notify/receipts"
ANN = "ann@post.example"


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


@pytest.fixture
async def stranger(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


def secret_in(page: httpx.Response, pattern: str) -> str:
    found = re.search(pattern, page.text.replace("&#43;", "+"))
    assert found is not None, text_of(page)
    return found[0]


async def test_a_key_is_made_shown_once_and_revoked(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    typed = {"application": "crm", "role": "sender", "label": "CRM, production", "key": str(new_id())}
    made = await post(client, KEYS, KEYS, **typed)
    token = secret_in(made, r"tgn_[\w-]{20,}")
    again = await post(client, KEYS, KEYS, **typed)
    assert (again.status_code, "tgn_" in again.text) == (409, False)
    listed = await client.get(KEYS)
    assert token not in listed.text
    assert "CRM, production crm Send and change" in text_of(listed)
    stranger.headers["authorization"] = f"Bearer {token}"
    assert (await stranger.get("/api/v1/notify/topics")).status_code == 200
    (revoke,) = re.findall(r'href="(/admin/keys\?revoke=[^"]+)"', listed.text)
    asked = await client.get(revoke)
    (action,) = re.findall(r'action="(/admin/keys/[^"]+/revoke)"', asked.text)
    assert (await post(client, revoke, action)).headers["location"] == f"{KEYS}?done=revoked"
    assert (await stranger.get("/api/v1/notify/topics")).status_code == 401
    assert "Revoked" in text_of(await client.get(KEYS))


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"application": "", "role": "reader"}, "application"),
        ({"application": "Our CRM", "role": "sender"}, "application"),
        ({"application": "crm", "role": "sender", "label": "x" * 101}, "label"),
    ],
)
async def test_what_cannot_be_a_key_is_kept_with_what_to_do(
    client: httpx.AsyncClient, typed: dict[str, str], field: str
) -> None:
    answer = await post(client, KEYS, KEYS, **typed)
    assert answer.status_code == 422
    assert f'href="#field-{field}"' in answer.text
    assert f'value="{typed["application"]}"' in answer.text
    assert "There are no keys yet." in text_of(answer)


def signed(secret: str, body: bytes, *, age: timedelta = timedelta()) -> dict[str, str]:
    at = datetime.now(UTC) - age
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "content-type": "application/json"}
    return headers | {"webhook-signature": Webhook(secret).sign("msg_1", at, body.decode())}


async def test_a_provider_signs_what_it_says_with_a_secret_of_its_own(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, database: Database
) -> None:
    typed = {"slug": "postmaster", "key": str(new_id())}
    first, twin = [await post(client, KEYS, f"{KEYS}/providers", **typed) for _ in range(2)]
    secret = secret_in(first, r"whsec_[A-Za-z0-9+/=]+")
    assert secret_in(twin, r"whsec_[A-Za-z0-9+/=]+") == secret
    body = b'{"receipts": [{"kind": "hard_bounce", "email": "ann@post.example", "detail": "5.1.1"}]}'
    path = f"{RECEIPTS}/postmaster"

    async def say(headers: dict[str, str], *, to: str = path, what: bytes = body) -> int:
        answer = await stranger.post(to, content=what, headers={"content-type": "application/json"} | headers)
        return answer.status_code

    assert await say({}) == 401
    assert await say(signed(secret, body), to=f"{RECEIPTS}/elsewhere") == 401
    assert await say(signed(secret, body), what=body.replace(b"ann", b"eve")) == 401
    assert await say(signed(secret, body, age=timedelta(minutes=6))) == 401
    assert await say(signed(secret, body) | {"webhook-signature": "v1"}) == 401
    assert await say(signed(secret, body) | {"webhook-signature": "v1,***"}) == 401
    assert [await say(signed(secret, body)) for _ in range(2)] == [200, 200]
    assert await say(signed(secret, b"{}"), what=b"{}") == 422
    async with database.connection() as conn:
        found = await conn.execute("SELECT reason, detail FROM notify.suppressions")
        assert await found.fetchall() == [("hard_bounce", "5.1.1")]

    newer = secret_in(
        await post(client, KEYS, f"{KEYS}/providers", slug="postmaster", key=str(new_id())), r"whsec_[A-Za-z0-9+/=]+"
    )
    assert [await say(signed(each, body)) for each in (secret, newer)] == [200, 200]
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.providers SET old_secret_until = clock_timestamp() - interval '1 second'")
    assert [await say(signed(each, body)) for each in (secret, newer)] == [401, 200]
    assert "Remove postmaster?" in text_of(await client.get(f"{KEYS}?remove=postmaster"))
    assert (await post(client, KEYS, f"{KEYS}/providers/postmaster/remove")).status_code == 303
    assert await say(signed(newer, body)) == 401
    full = [await post(client, KEYS, f"{KEYS}/providers", slug=f"p{n}", key=str(new_id())) for n in range(MOST + 1)]
    assert [each.status_code for each in full] == [200] * MOST + [409]
    assert (await post(client, KEYS, f"{KEYS}/providers", slug="No name")).status_code == 422


async def test_an_address_is_looked_up_stopped_and_written_to_again_with_reasons(
    client: httpx.AsyncClient, database: Database
) -> None:
    assert "This address is" not in text_of(await client.get(STOPPED))
    assert (await post(client, STOPPED, STOPPED, email=" ")).status_code == 422
    assert "This address is written to." in text_of(await post(client, STOPPED, STOPPED, email=ANN))
    refused = await post(client, STOPPED, f"{STOPPED}/add", email=ANN, why=" ")
    assert (refused.status_code, "Say why" in text_of(refused)) == (422, True)
    assert (await post(client, STOPPED, f"{STOPPED}/add", email="no address", why="asked")).status_code == 422
    assert (await post(client, STOPPED, f"{STOPPED}/forget", email=ANN, why="asked")).status_code == 404
    stopped = text_of(await post(client, STOPPED, f"{STOPPED}/add", email=ANN, why="asked on the phone"))
    assert "Stopped by staff" in stopped
    assert "Stopped : asked on the phone" in stopped
    find, lift = "/api/v1/notify/suppressions/find", "/api/v1/notify/suppressions/lift"
    (item,) = (await client.post(find, json={"email": ANN.upper()})).json()["items"]
    assert item["reason"] == "staff"
    lifted = text_of(await post(client, STOPPED, f"{STOPPED}/lift", email=ANN, why="asked for it again"))
    assert "This address is written to." in lifted
    assert "Written to again : asked for it again" in lifted
    added = await client.post("/api/v1/notify/suppressions", json={"email": ANN, "why": "by letter"})
    assert [each["reason"] for each in added.json()["items"]] == ["staff"]
    assert (await client.post(lift, json={"email": ANN})).json() == {"lifted": 1}
    async with database.connection() as conn:
        changes = await list_changes(conn, email=ANN, limit=10)
        assert [each.why for each in changes[:2]] == ["lifted by the API", "by letter"]
        assert all(each.changed_by is not None for each in changes)
        found = await conn.execute("SELECT string_agg(to_jsonb(s)::text, '') FROM notify.suppression_changes AS s")
        assert ANN not in str(await found.fetchone())
        await conn.execute("UPDATE notify.suppression_changes SET created_at = created_at - interval '3 days'")
        assert await delete_old_changes(conn, keep_days=2, limit=3) == 3

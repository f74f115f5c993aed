"""The staff's rooms for webhooks and dead letters, by their pages and by the API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.admin.test_pages import sign_in
from tests.notify.hooking import call, order_event, with_hooks
from tests.notify.receiver import open_receiver
from tests.storefront.conftest import app, reading, text_of
from tidegate.notify.webhook_endings import end_waiting
from tidegate.notify.webhook_events import on_order_webhooks
from tidegate.notify.webhooks import remove_deleted_endpoints
from tidegate.platform.database import Database
from tidegate.platform.ids import new_id
from tidegate.platform.settings import Settings

__all__ = ["app"]

pytestmark = pytest.mark.anyio

PUBLIC = "https://93.184.216.34/hooks"
ROOM = "/admin/webhooks"
API = "/api/v1/notify/webhooks"


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def post(client: httpx.AsyncClient, page: str, action: str, **typed: Any) -> httpx.Response:
    """Send a form of a page, with what it hides."""
    shown = await client.get(page)
    hidden = dict(re.findall(r'<input type="hidden" name="(form_token|key)" value="([^"]*)"', shown.text))
    return await client.post(action, data=hidden | typed, headers={"sec-fetch-site": "same-origin"})


async def made(client: httpx.AsyncClient, url: str = PUBLIC) -> tuple[str, str]:
    """The page of a new endpoint, and its secret."""
    answer = await post(client, ROOM, ROOM, url=url, description="The warehouse", events=["order.paid"])
    assert answer.status_code == 200, answer.text
    secret = re.search(r"whsec_[A-Za-z0-9+/=]+", answer.text.replace("&#43;", "+"))
    listed = await client.get(ROOM)
    path = re.search(rf'href="({ROOM}/[0-9a-f-]+)"', listed.text)
    assert secret is not None
    assert path is not None
    return path[1], secret[0]


async def test_an_endpoint_is_made_tried_rotated_and_disabled_on_its_page(
    client: httpx.AsyncClient, app: Any, database: Database, settings: Settings
) -> None:
    page, secret = await made(client)
    assert secret not in (await client.get(page)).text, "it is shown once"
    async with open_receiver() as receiver:
        hooking = with_hooks(settings, allow_hosts=["127.0.0.1"])
        async with database.connection() as conn:
            rows = await conn.execute(
                "UPDATE notify.webhook_endpoints SET url = %s RETURNING endpoint_id", (receiver.url,)
            )
            row = await rows.fetchone()
        assert row is not None
        assert (await post(client, page, f"{page}/test")).headers["location"] == f"{page}?done=test"
        assert "Waiting" in text_of(await client.get(page))
        await call(database, hooking, row[0])
        assert Webhook(secret).verify(receiver.calls[0].body, receiver.calls[0].headers)["type"] == "webhook.test"
        receiver.script = lambda call: 400
        await on_order_webhooks(database, hooking, [order_event()])
        await call(database, hooking, row[0])
        shown = text_of(await client.get(page))
        for words in ("Taken", "200", "answered with 400", "The last call failed."):
            assert words in shown
        rotated = await post(client, page, f"{page}/secret")
        again = re.search(r"whsec_[A-Za-z0-9+/=]+", rotated.text.replace("&#43;", "+"))
        assert again is not None
        assert again[0] != secret
        replay = re.search(rf'action="({page}/deliveries/[0-9a-f-]+/replay)"', rotated.text)
        assert replay is not None
        receiver.script = lambda call: 200
        assert (await post(client, page, replay[1])).headers["location"] == f"{page}?done=again"
        await call(database, hooking, row[0])
        for each in (secret, again[0]):
            assert Webhook(each).verify(receiver.calls[-1].body, receiver.calls[-1].headers)
        assert len(receiver.ids) == 2
    assert (await post(client, page, f"{page}/disable")).status_code == 303
    shown = text_of(await client.get(page))
    assert "It was disabled by staff" in shown
    assert (await post(client, page, f"{page}/test")).status_code == 409
    assert (await post(client, page, f"{page}/enable")).status_code == 303


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"url": "http://127.0.0.1:6379/", "events": ["order.paid"]}, "not on the public internet"),
        ({"url": "http://localhost/", "events": ["order.paid"]}, "not on the public internet"),
        ({"url": "ftp://hooks.example/", "events": ["order.paid"]}, "begins with https://"),
        ({"url": PUBLIC, "events": []}, "Choose at least one kind"),
        ({"url": PUBLIC, "events": ["order.paid"], "topics": "lamps"}, "Type one topic a line"),
    ],
)
async def test_what_cannot_be_called_is_refused_and_kept(
    client: httpx.AsyncClient, typed: dict[str, Any], said: str
) -> None:
    answer = await post(client, ROOM, ROOM, description="The warehouse", **typed)
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert f'value="{typed["url"]}"' in answer.text
    assert "Nobody is told of anything yet." in text_of(await client.get(ROOM))


async def test_a_form_that_is_sent_twice_makes_one_endpoint(client: httpx.AsyncClient) -> None:
    typed = {"url": PUBLIC, "events": ["order.paid"], "key": str(new_id())}
    first, second = [await post(client, ROOM, ROOM, **typed) for _ in range(2)]
    assert re.findall("whsec_[^<]+", first.text) == re.findall("whsec_[^<]+", second.text) != []
    assert (await client.get(ROOM)).text.count(PUBLIC) == 1


async def test_the_api_does_what_the_page_does(client: httpx.AsyncClient) -> None:
    body = {"url": PUBLIC, "events": ["order.paid", "order.paid"], "topics": []}
    assert (await client.post(API, json=body)).status_code == 400
    key = {"Idempotency-Key": "one"}
    first, second = [await client.post(API, json=body, headers=key) for _ in range(2)]
    assert (first.status_code, first.json()) == (201, second.json())
    other = await client.post(API, json=body | {"url": "https://93.184.216.34/"}, headers=key)
    assert other.json()["type"] == "/problems/endpoint-differs"
    refused = await client.post(API, json=body | {"url": "http://[::1]/"}, headers={"Idempotency-Key": "two"})
    assert (refused.status_code, refused.json()["field"]) == (422, "url")
    endpoint = first.json()["endpoint"]
    path = f"{API}/{endpoint['id']}"
    assert "secret" not in (await client.get(path)).json()
    changed = await client.patch(path, json={"description": "Elsewhere", "state": "disabled"})
    assert (changed.json()["description"], changed.json()["disabled_why"]) == ("Elsewhere", "staff")
    assert (await client.post(f"{path}/test", headers=key)).json()["type"] == "/problems/endpoint-disabled"
    assert (await client.patch(path, json={"state": "active"})).json()["state"] == "active"
    rotated = [await client.post(f"{path}/secret", headers=key) for _ in range(2)]
    assert rotated[0].json()["secret"] == rotated[1].json()["secret"] != first.json()["secret"]
    tests = [await client.post(f"{path}/test", headers=key) for _ in range(2)]
    assert [each.status_code for each in tests] == [202, 202]
    (told,) = (await client.get(f"{path}/deliveries")).json()["items"]
    assert (told["event_id"], told["kind"], told["state"]) == (tests[0].json()["event_id"], "webhook.test", "pending")
    assert (await client.post(f"{path}/deliveries/{told['event_id']}/replay")).status_code == 204
    assert (await client.post(f"{path}/deliveries/{new_id()}/replay")).status_code == 404
    (listed,) = (await client.get(API)).json()["items"]
    assert listed["id"] == endpoint["id"]


@pytest.mark.parametrize("by_page", [True, False])
async def test_a_deleted_endpoint_takes_its_secrets_along_and_what_waits_is_suppressed(
    client: httpx.AsyncClient, database: Database, by_page: bool
) -> None:
    page, _secret = await made(client)
    path = f"{API}/{page.rpartition('/')[2]}"
    for _ in range(2):
        await post(client, page, f"{page}/test", key=str(new_id()))
    if by_page:
        assert "Delete this endpoint?" in text_of(await client.get(f"{page}?delete=1"))
        answer = await post(client, f"{page}?delete=1", f"{page}/delete")
        assert "2 webhooks that waited for it are not sent" in text_of(await client.get(answer.headers["location"]))
        gone = await post(client, ROOM, f"{page}/delete")
    else:
        assert (await client.delete(path)).json() == {"id": page.rpartition("/")[2], "waiting": 2}
        gone = await client.delete(path)
    assert gone.status_code == 404
    assert [(await client.get(each)).status_code for each in (page, path)] == [404, 404]
    assert (await client.patch(path, json={"state": "active"})).status_code == 404
    assert (await client.get(API)).json()["items"] == []
    async with database.connection() as conn:
        assert await end_waiting(conn, limit=10) == 2
        found = await conn.execute("SELECT state, last_error FROM notify.deliveries WHERE channel = 'webhook'")
        assert await found.fetchall() == [("suppressed", "its endpoint was deleted")] * 2
        rest = await conn.execute("SELECT length(secret_sealed), url FROM notify.webhook_endpoints")
        assert await rest.fetchall() == [(0, "https://deleted.invalid")]
        assert await remove_deleted_endpoints(conn, keep_days=1, limit=10) == 0
        await conn.execute("UPDATE notify.webhook_endpoints SET deleted_at = deleted_at - interval '2 days'")
        assert await remove_deleted_endpoints(conn, keep_days=1, limit=10) == 1


async def test_dead_letters_are_read_sent_again_and_dropped(client: httpx.AsyncClient, database: Database) -> None:
    letters, api = "/admin/dead-letters", "/api/v1/notify/dead-letters"
    page, _secret = await made(client)
    for _ in range(3):
        await post(client, page, f"{page}/test", key=str(new_id()))
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET state = 'failed', last_error = 'answered with 404'")
    first = (await client.get(f"{api}?channel=webhook&limit=2")).json()
    second = (await client.get(first["next"])).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)
    assert (await client.get(f"{api}?channel=email")).json()["items"] == []
    shown = await client.get(f"{letters}?channel=webhook")
    assert "answered with 404" in text_of(shown)
    one, two, three = re.findall(rf'<a href="({letters}/[^"]+webhook)"', shown.text)
    assert "webhook.test" in text_of(await client.get(one))
    assert (await post(client, one, f"{one}/replay")).headers["location"] == f"{letters}?done=again"
    assert (await post(client, two, f"{two}/drop")).headers["location"] == f"{letters}?done=dropped"
    for path in (one, two):
        assert (await client.get(path)).status_code == 404
    opened = await client.get(three.replace("/admin", "/api/v1/notify"))
    assert (opened.json()["letter"]["error"], opened.json()["email"]) == ("answered with 404", "")
    assert (await client.post(f"{api}/replay", json={})).status_code == 422
    endpoint_id = page.rpartition("/")[2]
    replayed = await client.post(f"{api}/replay", json={"endpoint_id": endpoint_id})
    assert replayed.json() == {"replayed": 1, "more": False}
    assert (await client.delete(three.replace("/admin", "/api/v1/notify"))).status_code == 204
    assert "There are none." in text_of(await client.get(letters))

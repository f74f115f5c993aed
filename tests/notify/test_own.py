"""Notify as a service of its own: its process, its servers and a worker, for an application elsewhere."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx
import psutil
import pytest
from standardwebhooks import Webhook

from tests.commands import run_forked
from tests.gate.test_own import START, clean, start
from tests.notify.postbox import Postbox
from tests.notify.receiver import Receiver, open_receiver
from tests.servers import is_gone
from tests.waiting import eventually
from tidegate.client import Notify, Recipient
from tidegate.platform.embedded.ports import free_port

__all__ = ["start"]

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(180)
async def test_an_application_elsewhere_has_mails_sent(start: START, postbox: Postbox, tmp_path: Path) -> None:
    """With a PostgreSQL and a Valkey of its own; a worker for what people wait for, and one command for a key."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = clean() | {
        "TIDEGATE_HOME": str(tmp_path / "home"),
        "TIDEGATE_PORT": str(port),
        "TIDEGATE_MAIL__SMTP_URL": postbox.url,
        "TIDEGATE_JOBS__RETRY_BASE_S": "1",
        "TIDEGATE_JOBS__NOTIFY_SWEEP_S": "1",
        "TIDEGATE_WEBHOOKS__ALLOW_HOSTS": '["127.0.0.1"]',
    }
    server = start("-m", "tidegate", "serve", "notify", environment=environment, ready=f"{address}/readyz")
    lanes = ("--lane", "within_10s", "--lane", "bulk", "--lane", "within_1m")
    worker = start(
        "-m", "tidegate", "worker", *lanes, "--processes", "1", environment=environment, ready=f"{address}/livez"
    )
    create = ("notify", "key", "create", "--application", "crm", "--json")
    done = await asyncio.to_thread(run_forked, create, env=environment, timeout_s=60)
    assert done.returncode == 0, done.stderr
    key = json.loads(done.stdout)["key"]
    async with Notify(address, key=key) as notify:
        await notify.write([Recipient("ann", "ann@post.example", has_inbox=True)])
        await notify.put_topic("news", title="News")
        await notify.follow("news", ["ann"])
        told = await notify.tell(["ann"], title="Your code", body="It is 42.")
        news = await notify.tell(topic="news", title="Hello", body="News.")
        for event in (told, news):
            assert (await notify.wait(event.id, poll_s=0.1)).sent == 2
        await eventually(lambda: len(postbox.taken) == 2)

        async def is_put_off() -> bool:
            return [each.last_error async for each in notify.deliveries(event=str(late.id))] != [""]

        postbox.refusals["ben@post.example"] = "451 later"
        await notify.write([Recipient("ben", "ben@post.example")])
        late = await notify.tell(["ben"], title="Your code", body="It is 43.")
        await eventually(is_put_off)
        postbox.refusals.clear()
        assert (await notify.wait(late.id, poll_s=0.1)).sent == 1, "its workers take what is tried again"
        async with open_receiver() as receiver:
            await _is_told_by_webhook(address, key, receiver)
        await _looks_after_what_failed(address, key, postbox)
    async with httpx.AsyncClient(base_url=address, headers={"accept": "text/html"}) as web:
        link, *_ = [
            link.strip("<>") for mail in postbox.mails_to("ann@post.example") if (link := mail["list-unsubscribe"])
        ]
        for path in (link, "/docs", "/openapi.json", "/problems/key-reused"):
            assert (await web.get(path)).status_code == 200, path
        assert (await web.get("/")).headers["location"] == "/docs"
        assert (await web.get("/admin")).status_code == 404
        assert (await web.get("/api/v1/notify/sends")).status_code == 401
    children = psutil.Process(server.pid).children(recursive=True)
    assert {"postgres", "valkey-server"} <= {child.name() for child in children}
    for process in (worker, server):
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
    assert all(is_gone(child) for child in children)


def _of(key: str, request_key: str = "") -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} | ({"idempotency-key": request_key} if request_key else {})


async def _is_told_by_webhook(address: str, key: str, receiver: Receiver) -> None:
    """The application makes an endpoint, tells a topic's followers once, and its program hears of it, signed."""
    async with httpx.AsyncClient(base_url=f"{address}/api/v1/notify") as web:
        hook = {"url": receiver.url, "events": ["message.sent"], "topics": ["custom:news"]}
        made = (await web.post("/webhooks", json=hook, headers=_of(key, "hook"))).json()
        told = {"urgency": "bulk", "to": {"topic": "news"}, "variables": {"title": "Hooked", "body": "Again."}}
        answers = [await web.post("/events", json=told, headers=_of(key, "hooked")) for _ in range(2)]
        assert answers[0].status_code == 202 and answers[0].json() == answers[1].json()

        async def is_over() -> bool:
            send = (await web.get(f"{address}{answers[0].json()['progress']}", headers=_of(key))).json()
            return (send["state"], send["delivered"], send["expected"]) == ("finished", 2, 2)

        await eventually(is_over)
        found = (await web.get(f"/deliveries?event={answers[0].json()['id']}", headers=_of(key))).json()["items"]
        assert [(each["external_id"], each["state"]) for each in found if each["channel"] != "webhook"] == [
            ("ann", "sent"),
            ("ann", "sent"),
        ]
        await eventually(lambda: len(receiver.calls) == 1)
        (taken,) = receiver.calls
        assert Webhook(made["secret"]).verify(taken.body, taken.headers)["data"]["title"] == "Hooked"
        gone = await web.delete(f"/webhooks/{made['endpoint']['id']}", headers=_of(key))
        assert gone.status_code == 200


async def _looks_after_what_failed(address: str, key: str, postbox: Postbox) -> None:
    """Two messages fail for good: one is sent again, the other is dropped."""
    async with (
        Notify(address, key=key) as notify,
        httpx.AsyncClient(base_url=f"{address}/api/v1/notify", headers=_of(key)) as web,
    ):
        people = ["cy", "dee"]
        await notify.write([Recipient(each, f"{each}@post.example") for each in people])
        postbox.refusals.update({f"{each}@post.example": "550 no such mailbox" for each in people})
        told = await notify.tell(people, title="Your code", body="It is 44.")
        assert (await notify.wait(told.id, poll_s=0.1)).failed == 2
        postbox.refusals.clear()
        letters = (await web.get("/dead-letters")).json()["items"]
        assert [(each["event_id"], each["channel"]) for each in letters] == [(str(told.id), "email")] * 2
        first, second = (f"/dead-letters/{told.id}/{each['recipient_id']}/email" for each in letters)
        assert (await web.delete(first)).status_code == 204
        assert (await web.post(f"{second}/replay")).status_code == 204
        outcome = await notify.wait(told.id, poll_s=0.1)
        assert (outcome.sent, outcome.failed, outcome.suppressed) == (1, 0, 1)
        assert (await web.get("/dead-letters")).json()["items"] == []

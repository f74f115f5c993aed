"""Notify as a service of its own: its process, its servers and a worker, for an application elsewhere."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from tests.commands import run_forked
from tests.gate.test_own import START, clean, start
from tests.notify.postbox import Postbox
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
    }
    server = start("-m", "tidegate", "serve", "notify", environment=environment, ready=f"{address}/readyz")
    lanes = ("--lane", "within_10s", "--lane", "bulk", "--lane", "within_1m")
    worker = start(
        "-m", "tidegate", "worker", *lanes, "--processes", "1", environment=environment, ready=f"{address}/livez"
    )
    create = ("notify", "key", "create", "--application", "crm", "--json")
    done = await asyncio.to_thread(run_forked, create, env=environment, timeout_s=60)
    assert done.returncode == 0, done.stderr
    async with Notify(address, key=json.loads(done.stdout)["key"]) as notify:
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
    async with httpx.AsyncClient(base_url=address, headers={"accept": "text/html"}) as web:
        (link,) = [
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

"""What mail providers say afterwards: noted once, believed of mails of ours only, and it ends what is sent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.notify.applications import Application, client_of, deliver, make_application
from tests.notify.postbox import Postbox
from tests.notify.reports import bounce, complaint
from tests.notify.telling import tell
from tidegate.entrypoints.notify import create_app
from tidegate.notify.applications import KeyRole, create_key
from tidegate.notify.bounce_mails import read_report
from tidegate.notify.deliveries import deliver_due, deliver_shard, on_account_links
from tidegate.notify.receipts import Receipt, ReceiptKind, parse_message_id
from tidegate.notify.suppressions import find_suppressions, lift_suppressions
from tidegate.ops.notify_cli import notify_app
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

ID = f"<{'0' * 31}1.{'0' * 31}2@shop.example>"
ANN = "ann@post.example"


@dataclass(frozen=True, slots=True)
class Mailed:
    """An application, its provider, and what was mailed to ann in the end."""

    crm: Application
    provider: Application
    database: Database
    settings: Settings
    postbox: Postbox

    async def mail(self) -> str:
        """Mail her what she waits for; its Message-ID, or nothing when it was not sent."""
        before = len(self.postbox.mails_to(ANN))
        await deliver(self.database, self.settings, (await self.crm.tell("ann")).json()["id"])
        sent = self.postbox.mails_to(ANN)[before:]
        return str(sent[0]["message-id"]) if sent else ""

    async def mail_news(self) -> bool:
        """Mail her what she follows; whether it was sent, and its send's counts close in any case."""
        before = len(self.postbox.mails_to(ANN))
        asked = await self.crm.tell(urgency="bulk", to={"topic": "news"}, channels=["email"])
        event_id = EventId(UUID(asked.json()["id"]))
        await tell(self.database, self.settings, event_id)
        await deliver_shard(self.database, self.settings, event_id=event_id, shard_no=1)
        seen = (await self.crm.ask("GET", f"/events/{event_id}")).json()
        sent = len(self.postbox.mails_to(ANN)) - before
        assert (seen["sent"], seen["suppressed"], seen["pending"]) == (sent, 1 - sent, 0)
        return bool(sent)

    async def say(self, **receipt: Any) -> dict[str, Any]:
        """What the provider says, and the answer."""
        answer = await self.provider.ask("POST", "/receipts", receipts=[receipt])
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def reasons(self) -> list[str]:
        """Why she is not written to."""
        async with self.database.connection() as conn:
            return [each.reason for each in await find_suppressions(conn, email=ANN)]


@pytest.fixture
async def web(mailing: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(mailing, moving=False)) as client:
        yield client


@pytest.fixture
async def mailed(database: Database, mailing: Settings, postbox: Postbox, web: httpx.AsyncClient) -> Mailed:
    crm = await make_application(database, web, "crm")
    async with database.transaction() as conn:
        made = await create_key(conn, role=KeyRole.RECEIPTS)
    await crm.add("ann")
    await crm.follow("news", "ann")
    return Mailed(crm, Application(web, made.token), database, mailing, postbox)


async def test_after_a_complaint_only_what_somebody_waits_for_is_sent(mailed: Mailed) -> None:
    sent = await mailed.mail()
    assert await mailed.mail_news()
    assert await mailed.say(kind="delivered", message_id=sent) == {"noted": 1, "unknown": []}
    assert await mailed.say(kind="soft_bounce", message_id=sent, detail="4.2.2") == {"noted": 1, "unknown": []}
    assert await mailed.reasons() == []
    for _ in range(2):
        assert await mailed.say(kind="complaint", message_id=sent.strip("<>")) == {"noted": 1, "unknown": []}
    assert await mailed.reasons() == ["complaint"]
    assert not await mailed.mail_news()
    assert await mailed.mail()
    found = (await mailed.crm.ask("GET", "/deliveries?recipient=ann")).json()["items"]
    assert sorted(receipt for each in found for receipt in each["receipts"]) == [
        "complaint",
        "delivered",
        "soft_bounce",
    ]
    (held,) = [each for each in found if each["state"] == "suppressed"]
    assert held["last_error"] == "address suppressed: complaint"
    async with mailed.database.transaction() as conn:
        assert await lift_suppressions(conn, email=ANN.upper(), why="it works again", by=None) == 1
    assert await mailed.mail_news()


async def test_after_a_hard_bounce_nothing_is_sent_but_links_that_somebody_asked_for(mailed: Mailed) -> None:
    sent = await mailed.mail()
    await mailed.say(kind="hard_bounce", message_id=sent, detail="5.1.1")
    assert await mailed.mail() == ""
    assert not await mailed.mail_news()
    personal = {"email": ANN, "link": "https://shop.example/login/link?token=x"}
    link = Event(EventId(new_id()), "account.link", {"kind": "login", "minutes": 15, "locale": "en"}, personal)
    await on_account_links(mailed.database, mailed.settings, [link])
    before = len(mailed.postbox.mails_to(ANN))
    await deliver_due(mailed.database, mailed.settings, limit=10, event_ids=[link.id])
    assert len(mailed.postbox.mails_to(ANN)) == before + 1


async def test_an_address_may_be_named_and_an_invented_mail_is_not_believed(mailed: Mailed) -> None:
    assert await mailed.say(kind="hard_bounce", message_id=ID) == {"noted": 0, "unknown": [0]}
    waiting = (await mailed.crm.tell("ann")).json()["id"]
    ann = (await mailed.crm.ask("GET", "/recipients/ann")).json()["id"]
    unsent = f"<{UUID(waiting).hex}.{UUID(ann).hex}@shop.example>"
    assert await mailed.say(kind="hard_bounce", message_id=unsent) == {"noted": 0, "unknown": [0]}
    assert await mailed.reasons() == []
    assert await mailed.say(kind="hard_bounce", email="Ann@Post.example") == {"noted": 1, "unknown": []}
    assert await mailed.reasons() == ["hard_bounce"]
    assert await mailed.mail() == ""
    both = await mailed.provider.ask(
        "POST",
        "/receipts",
        receipts=[
            {"kind": "complaint", "email": "eve@post.example"},
            {"kind": "complaint", "email": ANN, "message_id": ID},
            {"kind": "complaint", "email": "nobody"},
            {"kind": "complaint", "email": ANN, "detail": "two\nlines"},
        ],
    )
    assert both.status_code == 422
    assert [each["field"] for each in both.json()["errors"]] == ["receipts[1]", "receipts[2]", "receipts[3]"]
    async with mailed.database.connection() as conn:
        assert await find_suppressions(conn, email="eve@post.example") == [], "nothing of it was done"


async def test_a_bounce_comes_as_a_mail_on_standard_input(mailed: Mailed) -> None:
    sent = await mailed.mail()

    async def take(mail: bytes) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, notify_app, ["bounce"], input=mail)
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    assert await take(bounce(sent)) == "noted: hard_bounce 5.1.1"
    assert await take(bounce(ID)) == "nothing noted: it reports of no mail of ours"
    away = subprocess.run(
        [sys.executable, "-m", "tidegate", "notify", "bounce"], input=bounce(sent), capture_output=True, timeout=60,
        check=False, env={**os.environ, "TIDEGATE_DATABASE_URL": "postgresql://x:y@127.0.0.1:1/none"},
    )  # fmt: skip
    assert (away.returncode, away.stdout) == (75, b""), "the mail server keeps it and tries again"
    assert await mailed.reasons() == ["hard_bounce"]


@pytest.mark.parametrize(
    ("mail", "said"),
    [
        (bounce(ID), Receipt(ReceiptKind.HARD_BOUNCE, ID, detail="5.1.1")),
        (bounce(ID, original="message/rfc822"), Receipt(ReceiptKind.HARD_BOUNCE, ID, detail="5.1.1")),
        (bounce(ID, status="5.1.10"), Receipt(ReceiptKind.HARD_BOUNCE, ID, detail="5.1.10")),
        (bounce(ID, status="5.2.2"), Receipt(ReceiptKind.SOFT_BOUNCE, ID, detail="5.2.2")),
        (bounce(ID, status="5.7.1"), Receipt(ReceiptKind.SOFT_BOUNCE, ID, detail="5.7.1")),
        (bounce(ID, status="4.4.7"), Receipt(ReceiptKind.SOFT_BOUNCE, ID, detail="4.4.7")),
        (bounce(ID, status="2.0.0", action="delivered"), Receipt(ReceiptKind.DELIVERED, ID, detail="2.0.0")),
        (bounce(ID, status="4.4.1", action="delayed"), None),
        (complaint(ID), Receipt(ReceiptKind.COMPLAINT, ID, detail="abuse")),
        (complaint(ID, kind="not-spam"), None),
        (b"Subject: Hello\r\nMessage-ID: " + ID.encode() + b"\r\n\r\nNo report.\r\n", None),
        (b"", None),
    ],
)
def test_reports_say_what_became_of_a_mail(mail: bytes, said: Receipt | None) -> None:
    assert read_report(mail) == ([] if said is None else [said])


@given(st.binary(max_size=400), st.integers(0, 900), st.integers(0, 60))
def test_no_mail_breaks_its_reader(noise: bytes, start: int, gone: int) -> None:
    for mail in (bounce(ID), complaint(ID)):
        read_report(mail[:start] + noise + mail[start + gone :])


@given(st.uuids(), st.uuids())
def test_a_message_id_names_event_and_recipient(event: UUID, recipient: UUID) -> None:
    assert parse_message_id(f"<{event.hex}.{recipient.hex}@shop.example>") == (event, recipient)
    assert parse_message_id(f"{event}.{recipient}@shop.example") is None


async def test_the_command_line_stops_addresses_and_gives_providers_their_secrets(settings: Settings) -> None:
    async def run(*words: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, notify_app, list(words))
        assert done.exit_code == 0, done.output
        return done.output

    assert "not written to" in await run("suppression", "add", ANN, "--why", "by letter")
    assert "staff" in await run("suppression", "show", ANN)
    assert "written to again" in await run("suppression", "lift", ANN)
    assert "whsec_" in await run("provider", "create", "postmaster")
    assert "postmaster" in await run("provider", "list")
    assert "removed" in await run("provider", "remove", "postmaster")
    assert await run("provider", "list") == ""

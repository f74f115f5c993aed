"""The mail catcher keeps what a mail server would have sent, within bounds, and shows it safely."""

from __future__ import annotations

import asyncio
import email.message
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosmtplib
import httpx
import pytest
from fastapi import FastAPI

from tests.waiting import eventually
from tidegate.notify import pages_dev
from tidegate.notify.caught import caught_mails, find_caught, folder_of
from tidegate.notify.mail_catcher import MAX_CONNECTIONS, run_catcher
from tidegate.platform.edge.stack import make_app
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings
from tidegate.platform.settings_notify import MailSettings
from tidegate.web import error_page

pytestmark = pytest.mark.anyio


@pytest.fixture
def catching(tmp_path: Path) -> Settings:
    """Settings of a demo shop with a mail catcher."""
    return Settings(
        home=tmp_path,
        demo=True,
        mail=MailSettings(smtp_url=f"smtp://127.0.0.1:{free_port()}", catcher_keep=3, catcher_max_bytes=10_000),
    )


@asynccontextmanager
async def catcher(settings: Settings) -> AsyncIterator[int]:
    """The running catcher; its port."""
    port = int(settings.mail.smtp_url.rpartition(":")[2])
    stop = asyncio.Event()
    task = asyncio.create_task(run_catcher(settings, stop=stop))

    async def answers() -> bool:
        if task.done():
            await task
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    await eventually(answers)
    try:
        yield port
    finally:
        stop.set()
        async with asyncio.timeout(5):
            await task


async def send(port: int, *, subject: str = "Hello", text: str = "text", html: str = "<p>html</p>") -> None:
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@shop.example", "ada@example.com", subject
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    await aiosmtplib.send(message, hostname="127.0.0.1", port=port, timeout=10)


@asynccontextmanager
async def browser(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.settings = settings
    app.include_router(pages_dev.router)
    transport = httpx.ASGITransport(make_app(app, settings, error_page=error_page))
    async with httpx.AsyncClient(transport=transport, base_url=settings.base_url) as client:
        yield client


async def test_a_mail_is_kept_with_both_its_parts(catching: Settings) -> None:
    async with catcher(catching) as port:
        await send(port, subject="Receipt ✓ £5", text="Grüße\n", html="<p>Grüße</p>")
    (mail,) = caught_mails(catching.home, limit=10)
    assert (mail.sender, mail.to, mail.subject) == ("shop@shop.example", ("ada@example.com",), "Receipt ✓ £5")
    assert (mail.text.strip(), mail.html.strip()) == ("Grüße", "<p>Grüße</p>")
    assert find_caught(catching.home, mail.id) == mail
    (file,) = folder_of(catching.home).iterdir()
    assert file.stat().st_mode & 0o077 == 0


async def test_the_last_mails_are_kept_the_newest_first(catching: Settings) -> None:
    async with catcher(catching) as port:
        for n in range(5):
            await send(port, subject=str(n))
    assert [mail.subject for mail in caught_mails(catching.home, limit=10)] == ["4", "3", "2"]
    assert [mail.subject for mail in caught_mails(catching.home, limit=1)] == ["4"]
    async with catcher(catching) as port:
        await send(port, subject="after a start")
    assert [mail.subject for mail in caught_mails(catching.home, limit=10)] == ["after a start", "4", "3"]


async def test_an_attachment_is_not_taken_for_the_text(catching: Settings) -> None:
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@shop.example", "ada@example.com", "With a file"
    message.add_attachment("The file", filename="file.txt")
    async with catcher(catching) as port:
        await aiosmtplib.send(message, hostname="127.0.0.1", port=port, timeout=10)
    (mail,) = caught_mails(catching.home, limit=1)
    assert (mail.subject, mail.text, mail.html) == ("With a file", "", "")


async def test_a_subject_in_plain_utf_8_is_read(catching: Settings) -> None:
    async with catcher(catching) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as client:
        await client.sendmail("a@x.example", ["b@x.example"], "Subject: Größe\r\n\r\nabc\r\n".encode())
    (mail,) = caught_mails(catching.home, limit=1)
    assert (mail.subject, mail.text.strip()) == ("Größe", "abc")


async def test_a_mail_that_is_too_large_is_refused_and_the_next_one_taken(catching: Settings) -> None:
    async with catcher(catching) as port:
        with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
            await send(port, text="x" * 20_000)
        await send(port)
    assert refused.value.code == 552
    assert len(caught_mails(catching.home, limit=10)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"no header at all",
        b"Subject: =?utf-8?q?broken\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n",
        b"Content-Type: text/plain; charset=nonsense\r\n\r\nabc\r\n",
        b"Content-Type: text/plain; charset=idna\r\n\r\nabc\r\n",
        b"Content-Type: text/plain; charset*=x; charset*0=y\r\n\r\nabc\r\n",
        b"Content-Type: multipart/mixed; boundary*=x; boundary*0=y\r\n\r\nabc\r\n",
        b"Message-ID: <\r\nFrom: \xff\xfe\r\nTo: ;;;\r\n\r\n\x00\x80\r\n",
        b"\r\n",
    ],
)
async def test_a_broken_mail_is_kept_as_far_as_it_can_be_read(catching: Settings, content: bytes) -> None:
    async with catcher(catching) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as client:
        await client.sendmail("a@x.example", ["b@x.example"], content)
    (mail,) = caught_mails(catching.home, limit=10)
    assert mail.to == ("b@x.example",)


async def test_more_dialogues_than_it_bears_are_told_to_come_back(catching: Settings) -> None:
    async with catcher(catching) as port:
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS + 3)]
        greetings = await asyncio.gather(*(reader.readline() for reader, _ in connections))
        for _, writer in connections:
            writer.close()
        assert sorted(line[:3] for line in greetings) == [b"220"] * MAX_CONNECTIONS + [b"421"] * 3
        await eventually(lambda: accepted(port))


async def accepted(port: int) -> bool:
    try:
        await send(port)
    except (aiosmtplib.SMTPException, OSError):
        return False
    return True


async def test_what_stands_in_the_way_is_said_in_one_line(catching: Settings, tmp_path: Path) -> None:
    async with catcher(catching):
        with pytest.raises(StartupError, match="cannot listen"):
            await run_catcher(catching, stop=asyncio.Event())
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot write"):
        await run_catcher(catching.model_copy(update={"home": tmp_path / "file"}), stop=asyncio.Event())
    with pytest.raises(StartupError, match="SMTP_URL"):
        await run_catcher(Settings(home=tmp_path), stop=asyncio.Event())


async def test_a_file_that_is_no_mail_is_passed_over(catching: Settings) -> None:
    async with catcher(catching) as port:
        await send(port)
        folder = folder_of(catching.home)
        (folder / "notes.json").write_text("{}")
        (folder / "ffffffff-ffff-7fff-bfff-ffffffffffff.json").write_text("{")
    assert len(caught_mails(catching.home, limit=10)) == 1


async def test_caught_mails_as_json_and_as_pages(catching: Settings, settings: Settings) -> None:
    demo = settings.model_copy(update={"demo": True, "home": catching.home})
    async with catcher(catching) as port, browser(demo) as client:
        assert (await client.get("/dev/mail")).status_code == 200
        assert (await client.get("/dev/mail.json")).json() == {"items": []}
        await send(port, subject="<b>first</b>", text="<script>1</script>", html="<script>alert(1)</script>")
        await send(port, subject="second")
        items = (await client.get("/dev/mail.json")).json()["items"]
        assert [item["subject"] for item in items] == ["second", "<b>first</b>"]
        assert set(items[0]) >= {"id", "at", "from", "to", "subject", "text", "html"}
        listed = await client.get("/dev/mail")
        assert "&lt;b&gt;first" in listed.text
        shown = await client.get(f"/dev/mail/{items[1]['id']}")
        assert "&lt;script&gt;1" in shown.text
        assert "alert(1)" not in shown.text
        assert "script-src 'self'" in shown.headers["content-security-policy"]


async def test_a_mail_s_html_may_do_nothing(catching: Settings, settings: Settings) -> None:
    demo = settings.model_copy(update={"demo": True, "home": catching.home})
    async with catcher(catching) as port, browser(demo) as client:
        await send(port, html="<script>alert(1)</script>")
        (item,) = (await client.get("/dev/mail.json")).json()["items"]
        framed = await client.get(f"/dev/mail/{item['id']}/html")
        assert "<script>alert(1)</script>" in framed.text
        policies = framed.headers.get_list("content-security-policy")
        assert len(policies) == 1
        directives = dict(part.strip().partition(" ")[::2] for part in policies[0].split(";"))
        assert directives["default-src"] == "'none'"
        assert "script-src" not in directives
        assert "allow-scripts" not in directives["sandbox"]
        assert "allow-same-origin" not in directives["sandbox"]
        assert directives["frame-ancestors"] == "'self'"
        assert framed.headers.get_list("x-frame-options") == ["SAMEORIGIN"]


@pytest.mark.parametrize("path", ["/dev/mail", "/dev/mail.json", "/dev/mail/x", "/dev/mail/x/html"])
async def test_outside_demo_mode_there_is_nothing(settings: Settings, path: str) -> None:
    folder_of(settings.home).mkdir(parents=True)
    (folder_of(settings.home) / "x.json").write_text(json.dumps({}))
    async with browser(settings) as client:
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("mail_id", ["x", "..%2f..%2fsecrets", "00000000-0000-7000-8000-000000000000"])
async def test_an_unknown_mail_is_not_found(settings: Settings, mail_id: str) -> None:
    async with browser(settings.model_copy(update={"demo": True})) as client:
        assert (await client.get(f"/dev/mail/{mail_id}")).status_code == 404

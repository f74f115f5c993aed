"""Text messages as a channel that does not exist yet: an adapter, and a simulator of the provider it speaks to."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiohttp import web

from tidegate.notify.addresses import ADDRESS
from tidegate.notify.channels import FarSideAway, Refusal
from tidegate.notify.mail_adapter import message_context
from tidegate.notify.message_texts import Texts
from tidegate.notify.messages import write_inbox
from tidegate.notify.outcomes import Delivery
from tidegate.notify.rules import BadAddress
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.settings_notify import MailSettings


@dataclass(slots=True)
class Operator:
    """A provider of text messages that keeps what it gets. `answers` are statuses by number, else it takes all."""

    port: int = 0
    taken: list[tuple[str, str]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    answers: dict[str, int] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        """Take a message."""
        said = await request.json()
        self.asked[said["to"]] += 1
        status = self.answers.get(said["to"], 200)
        if status == 200:
            self.taken.append((said["to"], said["text"]))
        return web.json_response({"id": f"sms-{len(self.taken)}"}, status=status)


@asynccontextmanager
async def open_operator() -> AsyncIterator[Operator]:
    """A provider on a free port for the length of a block."""
    operator = Operator()
    app = web.Application()
    app.router.add_post("/messages", operator.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    operator.port = runner.addresses[0][1]
    try:
        yield operator
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Text:
    """One text message."""

    to: str
    words: str


class Lines:
    """Calls of the provider, over connections that are kept."""

    def __init__(self, port: int) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Lines]:
        """They are shared."""
        yield self

    async def send(self, message: Text) -> str:
        """Hand one over."""
        try:
            answer = await self._http.post("/messages", json={"to": message.to, "text": message.words})
        except httpx.TransportError as error:
            raise FarSideAway(type(error).__name__) from None
        code = answer.status_code
        if code >= 400:
            raise Refusal(f"refused ({code})", final=code == 404, busy=code == 429)
        return str(answer.json()["id"])

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes what an inbox would show."""

    settings: Settings
    texts: Texts

    def write(self, delivery: Delivery) -> Text:
        """The message; numbers are made of addresses here."""
        address = current_sealer().open_json(bytes(delivery.address_sealed or b""), column=ADDRESS)
        if not address["email"].startswith("p"):
            raise BadAddress("no number")
        context = message_context(self.settings, delivery, self.texts)
        words = write_inbox(delivery.template, delivery.said, context=context)
        return Text(f"+44{address['email'].partition('@')[0][1:]}", f"{words.subject}: {words.text}")


@dataclass(frozen=True, slots=True)
class SmsAdapter:
    """The provider, with limits of its own."""

    port: int
    own: MailSettings
    channel: str = "sms"

    def limits(self, settings: Settings) -> MailSettings:
        """Its own."""
        return self.own

    def quota_key(self, settings: Settings) -> bytes:
        """One of its own."""
        return b"notify:quota:sms:test"

    def id_ending(self, settings: Settings) -> str:
        """Of the key by which a repeat is known."""
        return "@sms.example>"

    def lines(self, settings: Settings) -> Lines:
        """Connections to it."""
        return Lines(self.port)

    def writer(self, settings: Settings, texts: Texts) -> Writer:
        """For one batch."""
        return Writer(settings, texts)

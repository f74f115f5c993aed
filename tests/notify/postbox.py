"""A mail server for tests that speaks real SMTP and answers as it is told to."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default as default_policy

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass  # without slots: aiosmtpd looks at every attribute, which fails in Python 3.11.0 to 3.11.2
class Postbox:
    """What was taken, and how addresses are answered; `stalled` mails are read and never answered."""

    port: int = 0
    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    stall: bool = False
    stalled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """For `settings.mail.smtp_url`."""
        return f"smtp://127.0.0.1:{self.port}"

    def mails_to(self, address: str) -> list[EmailMessage]:
        """What was taken for one address."""
        return [message for recipient, message in self.taken if recipient == address]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail."""
        if self.stall:
            self.stalled.set()
            await asyncio.Event().wait()
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=default_policy)
        self.taken.extend((recipient, message) for recipient in envelope.rcpt_tos)
        return "250 OK"


@asynccontextmanager
async def open_postbox() -> AsyncIterator[Postbox]:
    """A postbox on a free port for the length of a block."""
    box = Postbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, enable_SMTPUTF8=False, hostname="localhost", timeout=30), "127.0.0.1", 0
    )
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()

"""The mail catcher of a development shop: an SMTP server that keeps the last mails as files.

One JSON file per mail in TIDEGATE_HOME/mail, named by a time-ordered id and written in one step, so that the pages of
another process can read them at any moment.
"""

from __future__ import annotations

import asyncio
import email
import json
import logging
import os
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from tidegate import __version__
from tidegate.notify.caught import folder_of, mail_files
from tidegate.notify.contracts import CaughtMail
from tidegate.platform.ids import new_id
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings
from tidegate.platform.settings_notify import MailSettings

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 50
"""Most dialogues at once; others are told to come back."""

IDLE_TIMEOUT_S = 30.0

BROKEN = (ValueError, LookupError, TypeError, MessageError, RecursionError)
"""What the email package raises for mails that nobody should have written."""


class MailKeeper:
    """aiosmtpd's handler: writes each mail to a file and removes the oldest beyond the number to keep.

    Nobody else writes mails into its folder, so it is listed once and not for each mail.
    """

    def __init__(self, folder: Path, limits: MailSettings) -> None:
        self._folder = folder
        self._keep = limits.catcher_keep
        self._kept = deque(reversed(mail_files(folder)))
        """The oldest first."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Keep one mail. The 250 is given after the file is in place."""
        content = envelope.content or b""
        mail = read_mail(content if isinstance(content, bytes) else content.encode(), envelope)
        try:
            self._kept.append(_write(self._folder, mail))
        except OSError as error:
            log.error("mail not kept", error=type(error).__name__, errno=error.errno)
            return "451 4.3.0 No room for this mail now"
        self._prune()
        return "250 OK"

    def _prune(self) -> None:
        while len(self._kept) > self._keep:
            self._kept.popleft().unlink(missing_ok=True)


def read_mail(content: bytes, envelope: Envelope) -> CaughtMail:
    """What a mail says, as far as it can be read; a broken one is kept as text.

    Parsed without the email package's newer policies, which take most of ten times as long.
    """
    try:
        message = email.message_from_bytes(content)
        text, page = _text(message, "text/plain"), _text(message, "text/html")
    except BROKEN:
        message, text, page = Message(), content.decode("utf-8", "replace"), ""
    return CaughtMail(
        id=str(new_id()),
        at=datetime.now(UTC),
        sender=envelope.mail_from or "",
        to=tuple(envelope.rcpt_tos),
        subject=_header(message, "subject"),
        text=text,
        html=page,
        message_id=_header(message, "message-id"),
    )


def _header(message: Message, name: str) -> str:
    written = next((str(value) for known, value in message.raw_items() if known.lower() == name), "")
    plain = written.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        return str(make_header(decode_header("".join(plain.splitlines()))))
    except BROKEN:
        return ""


def _text(message: Message, kind: str) -> str:
    """The first part of this kind."""
    for part in _parts(message):
        if part.get_content_type() == kind:
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes), "only parts that are no container are looked at"
            try:
                return payload.decode(part.get_content_charset("utf-8"), "replace")
            except BROKEN:  # a charset that nobody knows
                return payload.decode("utf-8", "replace")
    return ""


def _parts(message: Message) -> Iterator[Message]:
    """The parts of a mail itself, without attachments and mails within it."""
    if message.get_content_disposition() == "attachment" or message.get_content_maintype() == "message":
        return
    if not message.is_multipart():
        yield message
        return
    for part in message.get_payload():
        if isinstance(part, Message):
            yield from _parts(part)


def _write(folder: Path, mail: CaughtMail) -> Path:
    document = asdict(mail) | {"at": mail.at.isoformat()}
    draft = folder / f".{mail.id}.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump(document, out, ensure_ascii=True)
    return draft.rename(folder / f"{mail.id}.json")


class _BoundedSMTP(SMTP):
    """An SMTP dialogue; beyond MAX_CONNECTIONS at once it says so and ends."""

    open_dialogues = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if _BoundedSMTP.open_dialogues >= MAX_CONNECTIONS:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"421 4.3.2 Too many connections, come back in a moment\r\n")
            transport.close()
            return
        _BoundedSMTP.open_dialogues += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is not None:
            _BoundedSMTP.open_dialogues -= 1
            super().connection_lost(error)


async def run_catcher(settings: Settings, *, stop: asyncio.Event) -> None:
    """Take mails on the host and port of `settings.mail.smtp_url` until `stop` is set.

    Raises: StartupError when there is no such URL, the port is taken or the folder cannot be written.
    """
    url = urlsplit(settings.mail.smtp_url)
    if not url.hostname or not url.port:
        raise StartupError("the mail catcher needs TIDEGATE_MAIL__SMTP_URL=smtp://HOST:PORT to listen on")
    folder = folder_of(settings.home)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for draft in folder.glob(".*.new"):
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StartupError(f"cannot write to {folder}: {error.strerror}") from None
    keeper = MailKeeper(folder, settings.mail)

    def dialogue() -> SMTP:
        return _BoundedSMTP(
            keeper,
            data_size_limit=settings.mail.catcher_max_bytes,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident=f"Tidegate mail catcher {__version__}",
            timeout=IDLE_TIMEOUT_S,
        )

    try:
        server = await asyncio.get_running_loop().create_server(dialogue, url.hostname, url.port)
    except OSError as error:
        raise StartupError(f"cannot listen on {url.hostname}:{url.port}: {error.strerror}") from None
    log.info("mail catcher listens", host=url.hostname, port=url.port)
    await stop.wait()
    server.close()


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await run_catcher(settings, stop=stop)


def serve(settings: Settings) -> None:
    """Run the mail catcher until SIGTERM or SIGINT."""
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's: ten lines a mail
    asyncio.run(_serve(settings))

"""Mail: composing a message that cannot be bent, and talking to the mail server."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from binascii import b2a_qp
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from types import TracebackType
from typing import Final, Self, cast
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib import SMTPException, SMTPHeloError, SMTPResponseException

from tidegate.notify.channels import FarSideAway, Refusal
from tidegate.notify.dialogue import CLOSING, Dialogue, Lost, Refused
from tidegate.notify.messages import Words
from tidegate.notify.rules import display_name, split_address
from tidegate.platform.problems import StartupError
from tidegate.platform.settings_notify import MailSettings


class MailServerAway(FarSideAway):
    """The mail server cannot be reached or does not let us in."""


BUSY: Final = frozenset({421, 450, 451, 452})
"""Answers of a server that wants less, or later."""


class MailRefused(Refusal):
    """The mail server did not take this mail."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one person. `key` is the same whenever this mail is sent again."""

    key: str
    email: str = field(repr=False)
    name: str = field(repr=False)
    words: Words
    written_at: datetime
    unsubscribe_url: str = field(default="", repr=False)
    """Where a POST ends what this mail is part of (RFC 8058); empty for mails that somebody's own doing caused."""


def compose(mail: Mail, *, sender: str) -> bytes:
    """The message with a text and an HTML part, as it is sent.

    What many mails share is made once; only address, ids and the encoding of the words are each mail's own. Headers are
    made of parsed parts, and the library refuses line breaks in those that people's words go into. Message-ID comes
    from the delivery, so that a repeat after a lost answer is recognisable as one. The link in List-Unsubscribe stays
    in one piece: mail programs do not decode it (RFC 8058).
    Raises: BadAddress.
    """
    local, domain = split_address(mail.email)
    boundary = f"=_{mail.key}"
    heads = [
        _header("From", sender),
        _header("To", str(Address(display_name(mail.name), local, domain)))
        if mail.name
        else f"To: {local}@{domain}{EOL}",
        _header("Subject", mail.words.subject),
        f"Date: {_date(mail.written_at)}{EOL}",
        f"Message-ID: {message_id(mail.key, sender)}{EOL}",
        f"Auto-Submitted: auto-generated{EOL}MIME-Version: 1.0{EOL}",
    ]
    if mail.unsubscribe_url:
        assert not set(mail.unsubscribe_url) & set("\r\n<>"), "links are percent-encoded"
        heads.append(f"List-Unsubscribe: <{mail.unsubscribe_url}>{EOL}")
        heads.append(f"List-Unsubscribe-Post: List-Unsubscribe=One-Click{EOL}")
    text = _part("plain", mail.words.text)
    if not mail.words.html:
        return "".join(heads).encode() + text
    heads.append(f'Content-Type: multipart/alternative; boundary="{boundary}"{EOL}{EOL}')
    between = f"{EOL}--{boundary}".encode()
    html = _part("html", mail.words.html)
    return b"".join(("".join(heads).encode(), between, b"\r\n", text, between, b"\r\n", html, between, b"--\r\n"))


EOL: Final = "\r\n"


@lru_cache(maxsize=256)
def _header(name: str, value: str) -> str:
    """A header as the library folds and encodes it. Raises: ValueError for a line break in it."""
    message = EmailMessage(policy=SMTP_POLICY.clone(utf8=True) if name == "To" and not value.isascii() else SMTP_POLICY)
    if name == "From":
        known, address = parseaddr(value)
        message[name] = Address(display_name(known), *split_address(address))
    else:
        message[name] = value
    return message.policy.fold(name, message[name])


@lru_cache(maxsize=64)
def _date(written_at: datetime) -> str:
    return format_datetime(written_at)


def _part(kind: str, words: str) -> bytes:
    """A part in quoted-printable, in which no line can look like a boundary."""
    lines = "\r\n".join(words.splitlines()) + "\r\n"
    head = f'Content-Type: text/{kind}; charset="utf-8"{EOL}Content-Transfer-Encoding: quoted-printable{EOL}{EOL}'
    return head.encode() + b2a_qp(lines.encode())


def message_id(key: str, sender: str) -> str:
    """The Message-ID of the mail with this key."""
    return f"<{key}{id_ending(sender)}"


@lru_cache(maxsize=8)
def id_ending(sender: str) -> str:
    """What Message-IDs of a sender end with, behind the mail's key."""
    return f"@{split_address(parseaddr(sender)[1])[1]}>"


class MailServer:
    """A connection to the mail server, made when the first mail is sent; as a block, it ends with it."""

    def __init__(self, settings: MailSettings) -> None:
        url = urlsplit(settings.smtp_url)
        if url.scheme not in ("smtp", "smtps") or not url.hostname:
            raise StartupError("TIDEGATE_MAIL__SMTP_URL must look like smtp://USER:PASSWORD@HOST:PORT (or smtps://)")
        self._sender = settings.sender
        self._address = "@".join(split_address(parseaddr(settings.sender)[1]))
        self._timeout_s = settings.timeout_s
        self._dialogue: Dialogue | None = None
        self._carried = 0
        """Mails that the connection has taken."""
        self._client = aiosmtplib.SMTP(
            hostname=url.hostname,
            port=url.port,
            username=unquote(url.username) if url.username else None,
            password=unquote(url.password) if url.password else None,
            use_tls=url.scheme == "smtps",
            # A password crosses a network encrypted or not at all; else TLS is used where it is offered.
            start_tls=True if url.scheme == "smtp" and url.password and not _is_loopback(url.hostname) else None,
            timeout=settings.timeout_s,
            local_hostname=split_address(parseaddr(settings.sender)[1])[1],
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.leave()
        else:
            self.hang_up()

    @property
    def is_reusable(self) -> bool:
        """Whether there is a connection that may carry another mail."""
        return self._dialogue is not None and self._dialogue.open and self._carried < MOST_MAILS

    async def leave(self) -> None:
        """Say goodbye and hang up."""
        with contextlib.suppress(Lost, TimeoutError):
            if self._dialogue is not None and self._dialogue.open:
                async with asyncio.timeout(min(self._timeout_s, GOODBYE_S)):
                    await self._dialogue.leave()
        self._client.close()

    def hang_up(self) -> None:
        """End the connection, wherever its dialogue is."""
        self._client.close()

    async def send(self, mail: Mail) -> str:
        """Hand one mail over and return its Message-ID. Raises: BadAddress, MailRefused, MailServerAway."""
        message = compose(mail, sender=self._sender)
        local, domain = split_address(mail.email)
        address = f"{local}@{domain}"
        dialogue = await self._connected()
        try:
            await self._hand_over(dialogue, address, message)
        except (Lost, Refused) as error:
            ended = isinstance(error, Lost) or error.code == CLOSING
            if not ended or not self._carried or dialogue.handed_over:
                raise _failure(error, doubtful=dialogue.handed_over) from None
            self._client.close()  # it was kept for too long, or took all that it takes, and nothing of this mail
            dialogue = await self._connected()
            try:
                await self._hand_over(dialogue, address, message)
            except (Lost, Refused) as again:
                raise _failure(again, doubtful=dialogue.handed_over) from None
        return message_id(mail.key, self._sender)

    async def _hand_over(self, dialogue: Dialogue, address: str, message: bytes) -> None:
        """Raises: MailRefused, Refused, Lost."""
        options = [f"SIZE={len(message)}"] if self._client.supports_extension("size") else []
        if not address.isascii():
            if not self._client.supports_extension("smtputf8"):
                raise MailRefused("the mail server does not take this kind of address", final=True)
            options.append("SMTPUTF8")
        try:
            async with asyncio.timeout(self._timeout_s):
                await dialogue.send(sender=self._address, recipient=address, message=message, options=options)
        except Lost:
            self._client.close()
            raise
        except TimeoutError:
            self._client.close()  # in the middle of a dialogue: nothing more can be said on this connection
            raise MailRefused("no answer in time", final=False, doubtful=dialogue.handed_over, silent=True) from None
        self._carried += 1

    async def greet(self) -> None:
        """Connect and log in; nothing is sent. Raises: MailServerAway."""
        await self._connected()

    async def _connected(self) -> Dialogue:
        if self._dialogue is not None and self.is_reusable:
            return self._dialogue
        await self.leave()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._client.connect()
                await self._introduce()
        except (SMTPException, OSError) as error:
            raise MailServerAway(_reason(error)) from None
        transport = self._client.transport
        if transport is None:
            raise MailServerAway("the connection ended")
        self._carried = 0
        self._dialogue = Dialogue(
            cast("asyncio.WriteTransport", transport), pipelining=self._client.supports_extension("pipelining")
        )
        return self._dialogue

    async def _introduce(self) -> None:
        """Say who we are, unless that was needed to get in, and hear what the server can do."""
        if self._client.is_ehlo_or_helo_needed:
            try:
                await self._client.ehlo()
            except SMTPHeloError:
                await self._client.helo()


MOST_MAILS: Final = 100
"""So many go over one connection: some servers take no more."""

GOODBYE_S: Final = 2.0
"""How long the mail server has to say goodbye, at most."""

STEPS: Final = {"RCPT": "recipient refused", "MAIL": "sender refused"}


def _refusal(refused: Refused) -> MailRefused:
    """What the server's answer means for the message. 5xx is final (RFC 5321), but for answers about ourselves."""
    words = STEPS.get(refused.step, "mail refused")
    final = refused.code >= 500 and refused.step in ("RCPT", "DATA", "mail")
    code = refused.code
    return MailRefused(f"{words} ({code})", final=final, busy=code in BUSY, closing=code == CLOSING)


def _failure(error: Lost | Refused, *, doubtful: bool) -> MailRefused:
    if isinstance(error, Refused):
        return _refusal(error)
    return MailRefused("the connection ended", final=False, doubtful=doubtful, silent=True)


def _reason(error: Exception) -> str:
    """Code and type, never the server's text: it often repeats the address."""
    code = f" ({error.code})" if isinstance(error, SMTPResponseException) else ""
    return f"{type(error).__name__}{code}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Calling an endpoint: what is sent (Standard Webhooks 1.0), and what the answer means.

https://www.standardwebhooks.com: `webhook-id` is the same whenever a webhook is sent again, so that a receiver can tell
that it knows it; `webhook-signature` holds one signature for each secret that is valid.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from uuid import UUID

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from tidegate.platform.settings_webhooks import WebhookSettings

GONE: Final = 410
LATER: Final = (429, 503)
"""Answers that ask to come again later."""
USER_AGENT: Final = "Tidegate-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook as it is sent. `id` and `body` are the same at each attempt."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call: `status` is None where there was no answer, and `error` says why in a few words.

    `retry_after_s` is what the receiver asked for.
    """

    status: int | None
    error: str = ""
    retry_after_s: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more, ever."""
        return self.status == GONE

    @property
    def later(self) -> bool:
        """Whether the receiver has too much to do: no fault of this webhook."""
        return self.status == 429 or (self.status in LATER and self.retry_after_s is not None)

    @property
    def blames_endpoint(self) -> bool:
        """Whether others would likely fare the same: nobody answers, or with 5xx or 429."""
        return self.status is None or self.status >= 500 or self.status == 429


def write_message(*, event_id: UUID, endpoint_id: UUID, kind: str, data: dict[str, Any]) -> Message:
    """The webhook of an event for an endpoint. Its time is that of the event's id."""
    at = datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
    body = {"type": kind, "timestamp": at.isoformat(timespec="milliseconds"), "data": data}
    return Message(f"msg_{event_id.hex}_{endpoint_id.hex}", msgspec.json.encode(body))


def sign(message: Message, *, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """The headers of a webhook that is sent now: `at`, with a signature for each secret, the newest first."""
    return sign_with([Webhook(secret) for secret in secrets], message, at=at)


def sign_with(signers: Sequence[Webhook], message: Message, *, at: datetime) -> dict[str, str]:
    """`sign`, by signers that are made once for many webhooks."""
    text = message.body.decode()
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signer.sign(message.id, at, text) for signer in signers),
    }


def read_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks to wait, at least 0; None where it says nothing."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds(), 0.0)


class PinnedResolver(AbstractResolver):
    """Knows one host's addresses, which were checked, and asks nobody."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses, whatever the host is called: the name goes into Host and SNI all the same."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls one endpoint over a few connections that are kept."""

    url: str
    signers: tuple[Webhook, ...] = field(repr=False)
    session: aiohttp.ClientSession
    max_answer_bytes: int

    async def call(self, message: Message) -> Answer:
        """Send a webhook. Redirects are not followed, and of the answer's body only so much is read."""
        now = datetime.now(UTC)
        headers = sign_with(self.signers, message, at=now)
        try:
            async with self.session.post(self.url, data=message.body, headers=headers, allow_redirects=False) as answer:
                retry_after_s = read_retry_after(answer.headers.get("Retry-After"), now=now)
                with_body = await self._read(answer)
        except TimeoutError:
            return Answer(None, "no answer in time")
        except aiohttp.ClientSSLError:
            return Answer(None, "its certificate is not valid")
        except aiohttp.ClientConnectorError as error:
            return Answer(None, f"no connection: {_named(error.os_error)}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, f"the answer broke off: {type(error).__name__}")
        return with_body if with_body.taken else Answer(with_body.status, with_body.error, retry_after_s)

    async def _read(self, answer: aiohttp.ClientResponse) -> Answer:
        """Read the body so far that the connection can be used again; a longer one costs it."""
        left = self.max_answer_bytes
        while left > 0 and (chunk := await answer.content.read(left)):
            left -= len(chunk)
        if not answer.content.at_eof():
            answer.close()
        error = "" if 200 <= answer.status < 300 else f"answered with {answer.status}"
        return Answer(answer.status, f"{error}: redirects are not followed" if 300 <= answer.status < 400 else error)


@asynccontextmanager
async def open_caller(
    limits: WebhookSettings, *, url: str, secrets: Sequence[str], addresses: Sequence[str]
) -> AsyncIterator[Caller]:
    """A caller of one endpoint, at `addresses` and nowhere else, for the length of a block."""
    connector = aiohttp.TCPConnector(
        resolver=PinnedResolver(addresses), use_dns_cache=False, limit=limits.connections, family=socket.AF_UNSPEC
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=limits.timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Content-Type": "application/json", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Caller(url, tuple(Webhook(secret) for secret in secrets), session, limits.max_answer_bytes)


def _named(error: OSError) -> str:
    return type(error).__name__ if error.strerror is None else error.strerror

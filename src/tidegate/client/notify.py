"""Notify as an application's program speaks to it: its recipients, its topics, and what it has told."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from tidegate.client.shop import PATIENCE_S, Pace, Shop, read

T = TypeVar("T")

API = "/api/v1/notify"
MOST = 1_000
"""Most recipients of one request; more of them are sent in parts."""

POLL_S = 1.0


class Recipient(msgspec.Struct, frozen=True):
    """Somebody to write to. `external_id` is your own id of them: letters, digits and . _ : ~ -

    `locale` is the language to write in (`de`, `pt_BR`), `time_zone` an IANA name. With `has_inbox` messages are kept
    in an inbox, too.
    """

    external_id: str
    email: str
    name: str = ""
    locale: str = ""
    time_zone: str = ""
    has_inbox: bool = False


class Written(msgspec.Struct, frozen=True):
    """How many recipients were new, and how many were known."""

    created: int
    updated: int


class Device(msgspec.Struct, frozen=True):
    """A device of a recipient: `kind` is web_push, android or ios, `token` as its push service gave it.

    `keys` are those of a browser's subscription (auth, p256dh). `id` is there once it is known.
    """

    kind: str
    token: str
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    label: str = ""
    id: uuid.UUID | None = None


class Topic(msgspec.Struct, frozen=True):
    """A topic of yours. Mails say its title to those who may stop them."""

    key: str
    title: str


class Followers(msgspec.Struct, frozen=True):
    """How many followers were added and ended; `unknown` are ids that are of none of your recipients."""

    added: int
    removed: int
    unknown: list[str]


class Told(msgspec.Struct, frozen=True):
    """What was taken on. `recipients` are those named who are told; None where a topic's followers are."""

    id: uuid.UUID
    recipients: int | None
    unknown: list[str]


class Outcome(msgspec.Struct, frozen=True):
    """How many messages stand how: one for each recipient and channel. `over`: nothing is left to do."""

    over: bool
    pending: int
    sent: int
    failed: int
    suppressed: int


class Delivery(msgspec.Struct, frozen=True):
    """A message to one recipient by one channel. `receipts` is what the mail provider said of it afterwards."""

    event_id: uuid.UUID
    recipient_id: uuid.UUID
    external_id: str
    channel: str
    state: str
    attempts: int
    last_error: str
    created_at: datetime
    receipts: list[str]


class _Devices(msgspec.Struct, frozen=True):
    items: list[Device]


class _Page(msgspec.Struct, frozen=True):
    items: list[Delivery]
    next: str | None


class _Replayed(msgspec.Struct, frozen=True):
    replayed: int


class Notify:
    """Notify at `address`, for the application whose access `key` this is.

    Use it as an async context manager, in one event loop. All that it asks may be repeated, and is, for up to
    `patience_s` while notify is away, busy or wants a pause: nothing is told twice. `http` is a client of yours to use.
    """

    def __init__(
        self,
        address: str,
        *,
        key: str,
        patience_s: float = PATIENCE_S,
        http: httpx.AsyncClient | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._shop = Shop(address, token=key, patience_s=patience_s, http=http, pace=pace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._shop.aclose()

    async def write(self, recipients: Sequence[Recipient]) -> Written:
        """Write down recipients, new ones and known ones, in parts of 1,000, each of which is written whole or not.

        Raises: InvalidRequest, whose `errors` name the rows of the part; the parts before it are written.
        """
        created = updated = 0
        for part in range(0, len(recipients), MOST):
            body = {"recipients": list(recipients[part : part + MOST])}
            done = await self._ask("PUT", "/recipients", Written, body)
            created, updated = created + done.created, updated + done.updated
        return Written(created, updated)

    async def recipient(self, external_id: str) -> Recipient:
        """A recipient as it is known. Raises: NotFound."""
        return await self._ask("GET", f"/recipients/{quote(external_id, safe='')}", Recipient)

    async def erase(self, external_id: str) -> None:
        """Erase a recipient and all that is kept of them. Raises: NotFound."""
        await self._send("DELETE", f"/recipients/{quote(external_id, safe='')}")

    async def write_devices(self, devices: Sequence[tuple[str, Device]]) -> None:
        """Write down devices, each with the id of its recipient, in parts of 1,000 that are written whole or not.

        Raises: InvalidRequest, whose `errors` name the rows of the part; the parts before it are written.
        """
        rows = [{"external_id": whose, **msgspec.to_builtins(each)} for whose, each in devices]
        for part in range(0, len(rows), MOST):
            await self._send("PUT", "/devices", {"devices": rows[part : part + MOST]})

    async def devices(self, external_id: str) -> list[Device]:
        """A recipient's devices, those seen last first. Raises: NotFound."""
        return (await self._ask("GET", f"/recipients/{quote(external_id, safe='')}/devices", _Devices)).items

    async def remove_device(self, external_id: str, device_id: uuid.UUID) -> None:
        """Forget a device of a recipient. Raises: NotFound."""
        await self._send("DELETE", f"/recipients/{quote(external_id, safe='')}/devices/{device_id}")

    async def put_topic(self, key: str, *, title: str) -> Topic:
        """Make a topic, or give it another title."""
        return await self._ask("PUT", _topic(key), Topic, {"title": title})

    async def delete_topic(self, key: str) -> None:
        """Delete a topic with its follows. Raises: NotFound."""
        await self._send("DELETE", _topic(key))

    async def follow(self, key: str, external_ids: Sequence[str]) -> Followers:
        """Have recipients follow a topic. Raises: NotFound."""
        return await self._change(key, "add", external_ids)

    async def unfollow(self, key: str, external_ids: Sequence[str]) -> Followers:
        """Have recipients follow a topic no more; what waits for them is not sent. Raises: NotFound."""
        return await self._change(key, "remove", external_ids)

    async def tell(
        self,
        recipients: Sequence[str] = (),
        *,
        title: str,
        body: str,
        url: str = "",
        topic: str = "",
        channels: Sequence[str] = ("email", "inbox"),
        request_key: str = "",
    ) -> Told:
        """Have words of yours told: to recipients who wait for them, or to a topic's followers, or those among them.

        `request_key` names what happened in your application: the same key is told once, also by a program that was
        started anew. Raises: InvalidRequest; KeyReused when the key has told something else.
        """
        words = {"title": title, "body": body} | ({"url": url} if url else {})
        return await self.tell_by_template(
            "message", words, recipients=recipients, topic=topic, channels=channels, request_key=request_key
        )

    async def tell_by_template(
        self,
        template: str,
        variables: Mapping[str, Any],
        *,
        recipients: Sequence[str] = (),
        topic: str = "",
        channels: Sequence[str] = ("email", "inbox"),
        request_key: str = "",
    ) -> Told:
        """The same by a template that notify knows."""
        body = {
            "urgency": "bulk" if topic else "transactional",
            "to": {"recipients": list(recipients), "topic": topic},
            "template": template,
            "variables": dict(variables),
            "channels": list(channels),
        }
        headers = {"idempotency-key": request_key or str(uuid.uuid4())}
        return await self._ask("POST", "/events", Told, body, headers=headers)

    async def outcome(self, event_id: uuid.UUID) -> Outcome:
        """How far an event has come. Raises: NotFound."""
        return await self._ask("GET", f"/events/{event_id}", Outcome)

    async def wait(self, event_id: uuid.UUID, *, poll_s: float = POLL_S) -> Outcome:
        """Wait until nothing is left to do of an event, looking every `poll_s` seconds. Raises: NotFound."""
        while not (outcome := await self.outcome(event_id)).over:
            await self._shop.pace.sleep(poll_s)
        return outcome

    async def deliveries(self, **wanted: str) -> AsyncIterator[Delivery]:
        """All deliveries that fit, of the newest events first: `event`, `recipient`, `state`, `channel`."""
        path: str | None = f"{API}/deliveries?{urlencode(wanted)}"
        while path is not None:
            page = read(await self._shop.insist(partial(self._shop.ask, "GET", path)), _Page)
            for delivery in page.items:
                yield delivery
            path = page.next

    async def replay(self, event_id: uuid.UUID) -> int:
        """Have all failed deliveries of an event tried again; how many. Raises: NotFound."""
        total = 0
        while done := (await self._ask("POST", f"/deliveries/{event_id}/replay", _Replayed)).replayed:
            total += done
        return total

    async def _change(self, key: str, what: str, external_ids: Sequence[str]) -> Followers:
        added = removed = 0
        unknown: list[str] = []
        for part in range(0, len(external_ids), MOST):
            body = {what: list(external_ids[part : part + MOST])}
            done = await self._ask("PUT", f"{_topic(key)}/followers", Followers, body)
            added, removed, unknown = added + done.added, removed + done.removed, unknown + done.unknown
        return Followers(added, removed, unknown)

    async def _ask(
        self, method: str, path: str, kind: type[T], body: object = None, *, headers: Mapping[str, str] | None = None
    ) -> T:
        return read(await self._send(method, path, body, headers=headers), kind)

    async def _send(
        self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self._shop.insist(lambda: self._shop.ask(method, API + path, json=body, headers=headers))


def _topic(key: str) -> str:
    return f"/topics/{quote(key, safe='')}"

"""Notify as an application's program speaks to it: its recipients and what they want, its topics, what it has told, and
what became of it.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from tidegate.client.notify_contracts import (
    ClassChoice,
    DeadLetter,
    Delivery,
    Device,
    Followers,
    Inbox,
    Message,
    OpenedLetter,
    Outcome,
    Preferences,
    Recipient,
    Send,
    Told,
    Topic,
    TopicChoice,
    Webhook,
    WebhookSecret,
    Written,
)
from tidegate.client.shop import PATIENCE_S, Pace, Shop, read

T = TypeVar("T")

API = "/api/v1/notify"
MOST = 1_000
"""Most recipients of one request; more of them are sent in parts."""

POLL_S = 1.0


class _Event(msgspec.Struct, frozen=True):
    topic_id: uuid.UUID | None


class _Items(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    next: str | None = None


class _Replayed(msgspec.Struct, frozen=True):
    replayed: int


class _Unread(msgspec.Struct, frozen=True):
    unread: int


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
        return await self._ask("GET", _recipient(external_id), Recipient)

    async def erase(self, external_id: str) -> None:
        """Erase a recipient and all that is kept of them. Raises: NotFound."""
        await self._send("DELETE", _recipient(external_id))

    async def write_devices(self, devices: Sequence[tuple[str, Device]]) -> None:
        """Write down devices, each with the id of its recipient, in parts of 1,000 that are written whole or not.

        Raises: InvalidRequest, whose `errors` name the rows of the part; the parts before it are written.
        """
        rows = [{"external_id": whose, **msgspec.to_builtins(each)} for whose, each in devices]
        for part in range(0, len(rows), MOST):
            await self._send("PUT", "/devices", {"devices": rows[part : part + MOST]})

    async def devices(self, external_id: str) -> list[Device]:
        """A recipient's devices, those seen last first. Raises: NotFound."""
        return (await self._ask("GET", f"{_recipient(external_id)}/devices", _Items[Device])).items

    async def remove_device(self, external_id: str, device_id: uuid.UUID) -> None:
        """Forget a device of a recipient. Raises: NotFound."""
        await self._send("DELETE", f"{_recipient(external_id)}/devices/{device_id}")

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
        expires_at: datetime | None = None,
        request_key: str = "",
    ) -> Told:
        """Have words of yours told: to recipients who wait for them, or to a topic's followers, or those among them.

        What is not sent by `expires_at` (with an offset) is not sent any more. `request_key` names what happened in
        your application: the same key is told once, also by a program that was started anew. Raises: InvalidRequest;
        KeyReused when the key has told something else.
        """
        words = {"title": title, "body": body} | ({"url": url} if url else {})
        return await self.tell_by_template(
            "message",
            words,
            recipients=recipients,
            topic=topic,
            channels=channels,
            expires_at=expires_at,
            request_key=request_key,
        )

    async def tell_by_template(
        self,
        template: str,
        variables: Mapping[str, Any],
        *,
        recipients: Sequence[str] = (),
        topic: str = "",
        channels: Sequence[str] = ("email", "inbox"),
        expires_at: datetime | None = None,
        request_key: str = "",
    ) -> Told:
        """The same by a template that notify knows."""
        body = {
            "urgency": "bulk" if topic else "transactional",
            "to": {"recipients": list(recipients), "topic": topic},
            "template": template,
            "variables": dict(variables),
            "channels": list(channels),
        } | ({} if expires_at is None else {"expires_at": expires_at.isoformat()})
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

    async def send(self, event_id: uuid.UUID) -> Send:
        """How far a message to a topic's followers has come. Raises: NotFound, also where people were named."""
        return await self._ask("GET", await self._send_of(event_id), Send)

    async def sends(self) -> AsyncIterator[Send]:
        """Your messages to followers with their progress, the newest first."""
        async for each in self._all("/sends", Send):
            yield each

    async def pause(self, event_id: uuid.UUID) -> Send:
        """Send nothing more of a message to followers for now; within seconds. Raises: NotFound."""
        return await self._steer(event_id, "paused")

    async def resume(self, event_id: uuid.UUID) -> Send:
        """Go on with one that was paused. Raises: NotFound."""
        return await self._steer(event_id, "running")

    async def cancel(self, event_id: uuid.UUID) -> Send:
        """End one for good: what was not sent yet counts as suppressed. Raises: NotFound."""
        return await self._steer(event_id, "cancelled")

    async def preferences(self, external_id: str) -> Preferences:
        """What a recipient wants of bulk messages, and when they want quiet. Raises: NotFound."""
        return await self._ask("GET", f"{_recipient(external_id)}/preferences", Preferences)

    async def set_preferences(self, external_id: str, preferences: Preferences) -> Preferences:
        """Replace them; it holds for what is sent from now on. Raises: NotFound, InvalidRequest."""
        return await self._ask("PUT", f"{_recipient(external_id)}/preferences", Preferences, preferences)

    async def classes(self, external_id: str) -> list[ClassChoice]:
        """What a recipient wants of each class of messages. Raises: NotFound."""
        path = f"{_recipient(external_id)}/preferences/classes"
        return (await self._ask("GET", path, _Items[ClassChoice])).items

    async def choose_class(self, external_id: str, name: str, *, unwanted: Sequence[str]) -> ClassChoice:
        """Say on which channels nothing of a class is wanted. Raises: NotFound; ClassMandatory for `transactional`."""
        path = f"{_recipient(external_id)}/preferences/classes/{quote(name, safe='')}"
        return await self._ask("PUT", path, ClassChoice, {"unwanted": list(unwanted)})

    async def topics_of(self, external_id: str) -> AsyncIterator[TopicChoice]:
        """The topics that a recipient follows, and by which channels they are told of each. Raises: NotFound."""
        async for each in self._all(f"{_recipient(external_id)}/preferences/topics", TopicChoice):
            yield each

    async def choose_topic(self, external_id: str, key: str, *, channels: Sequence[str] | None) -> TopicChoice:
        """Say by which channels a recipient is told of a topic that they follow; None: as of the class.

        Raises: NotFound where they do not follow it, InvalidRequest for no channel at all.
        """
        path = f"{_recipient(external_id)}/preferences{_topic(key)}"
        return await self._ask("PUT", path, TopicChoice, {"channels": None if channels is None else list(channels)})

    async def inbox(self, external_id: str) -> Inbox:
        """The newest messages of a recipient's inbox, and how many are unread. Raises: NotFound."""
        return await self._ask("GET", f"{_recipient(external_id)}/inbox", Inbox)

    async def messages(self, external_id: str) -> AsyncIterator[Message]:
        """All messages of a recipient's inbox, the newest first. Raises: NotFound."""
        async for each in self._all(f"{_recipient(external_id)}/inbox", Message):
            yield each

    async def mark_read(self, external_id: str, *, shown_at: datetime) -> int:
        """Note that a recipient has seen their messages up to `shown_at` of an `Inbox`; how many are unread now."""
        body = {"shown_at": shown_at.isoformat()}
        return (await self._ask("POST", f"{_recipient(external_id)}/inbox/read", _Unread, body)).unread

    async def deliveries(self, **wanted: str) -> AsyncIterator[Delivery]:
        """All deliveries that fit, of the newest events first: `event`, `recipient`, `state`, `channel`."""
        async for each in self._all(f"/deliveries?{urlencode(wanted)}", Delivery):
            yield each

    async def replay_delivery(self, delivery: Delivery) -> bool:
        """Have one failed delivery tried again; False when it has not failed. Raises: NotFound, NotReplayable."""
        path = f"/deliveries/{delivery.event_id}/{delivery.recipient_id}/{delivery.channel}/replay"
        return bool((await self._ask("POST", path, _Replayed)).replayed)

    async def replay(self, event_id: uuid.UUID) -> int:
        """Have all failed deliveries of an event tried again; how many. Raises: NotFound."""
        total = 0
        while done := (await self._ask("POST", f"/deliveries/{event_id}/replay", _Replayed)).replayed:
            total += done
        return total

    async def dead_letters(self, **wanted: str) -> AsyncIterator[DeadLetter]:
        """Messages of yours that failed for good, of the newest events first: `event_id`, `channel`."""
        async for each in self._all(f"/dead-letters?{urlencode(wanted)}", DeadLetter):
            yield each

    async def open_letter(self, letter: DeadLetter) -> OpenedLetter:
        """A dead letter with what it was to say, and to whom. Raises: NotFound."""
        return await self._ask("GET", _letter(letter), OpenedLetter)

    async def replay_letter(self, letter: DeadLetter) -> None:
        """Send one again. Raises: NotFound; NotReplayable when nobody could send it."""
        await self._send("POST", f"{_letter(letter)}/replay")

    async def drop_letter(self, letter: DeadLetter) -> None:
        """Give one up: it counts as suppressed. Raises: NotFound."""
        await self._send("DELETE", _letter(letter))

    async def make_webhook(
        self,
        url: str,
        *,
        events: Sequence[str] = ("message.sent",),
        topics: Sequence[str] = (),
        description: str = "",
        request_key: str = "",
    ) -> WebhookSecret:
        """Have an address told when a message to followers begins; `topics` are keys, empty: of all of yours.

        The same `request_key` makes one, and tells its secret again. Raises: InvalidRequest.
        """
        named = [f"custom:{key}" for key in topics]
        body = {"url": url, "events": list(events), "topics": named, "description": description}
        headers = {"idempotency-key": request_key or str(uuid.uuid4())}
        return await self._ask("POST", "/webhooks", WebhookSecret, body, headers=headers)

    async def webhooks(self) -> AsyncIterator[Webhook]:
        """Your endpoints, the newest first."""
        async for each in self._all("/webhooks", Webhook):
            yield each

    async def set_webhook(self, endpoint_id: uuid.UUID, *, active: bool) -> Webhook:
        """Have an endpoint called, or called no more. Raises: NotFound."""
        state = "active" if active else "disabled"
        return await self._ask("PATCH", f"/webhooks/{endpoint_id}", Webhook, {"state": state})

    async def rotate_secret(self, endpoint_id: uuid.UUID, *, request_key: str = "") -> WebhookSecret:
        """Give an endpoint a new secret; the one before signs beside it for a day. Raises: NotFound."""
        headers = {"idempotency-key": request_key or str(uuid.uuid4())}
        return await self._ask("POST", f"/webhooks/{endpoint_id}/secret", WebhookSecret, headers=headers)

    async def delete_webhook(self, endpoint_id: uuid.UUID) -> None:
        """Forget an endpoint with its address and secrets. Raises: NotFound."""
        await self._send("DELETE", f"/webhooks/{endpoint_id}")

    async def _send_of(self, event_id: uuid.UUID) -> str:
        found = await self._ask("GET", f"/events/{event_id}", _Event)
        return f"/sends/{event_id}/{found.topic_id or event_id}"

    async def _steer(self, event_id: uuid.UUID, state: str) -> Send:
        return await self._ask("PATCH", await self._send_of(event_id), Send, {"state": state})

    async def _all(self, path: str, kind: type[T]) -> AsyncIterator[T]:
        """The items of a page and of all behind it."""
        following: str | None = f"{API}{path}"
        while following is not None:
            page = read(await self._shop.insist(partial(self._shop.ask, "GET", following)), _Items[kind])  # type: ignore[valid-type]
            for each in page.items:
                yield each
            following = page.next

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


def _recipient(external_id: str) -> str:
    return f"/recipients/{quote(external_id, safe='')}"


def _letter(letter: DeadLetter) -> str:
    return f"/dead-letters/{letter.event_id}/{letter.recipient_id}/{letter.channel}"


def _topic(key: str) -> str:
    return f"/topics/{quote(key, safe='')}"

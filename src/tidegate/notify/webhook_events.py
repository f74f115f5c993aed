"""From what happens to webhooks: a delivery for each endpoint that takes its kind of event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from tidegate.notify.sealed_words import open_words, seal_words
from tidegate.notify.webhook_contracts import WebhookKind
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import EventId
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

ORDER_DATA: Final = ("order_id", "number", "total", "discount", "shipping", "tax", "refund", "order_url")
"""What is told of an order: ids and totals. Who bought it is not."""
LINE_DATA: Final = ("sku", "title", "quantity", "amount")
KINDS: Final = {
    "drop_open": WebhookKind.DROP_OPENED,
    "product_back": WebhookKind.PRODUCT_BACK,
    "post": WebhookKind.POST_PUBLISHED,
}
"""Kinds of messages to followers by their template; others are `message.sent`."""
MESSAGE_DATA: Final = ("title", "body", "url")


async def on_order_webhooks(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Write what endpoints are told of orders, once however often it is called."""
    told = sorted((event for event in events if event.topic in set(WebhookKind)), key=attrgetter("id"))
    if not told:
        return
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables)
            SELECT event_id, endpoint_id, 'webhook', kind, data::jsonb
            FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS told (event_id, kind, data)
                JOIN notify.webhook_endpoints AS e
                    ON e.state = 'active' AND e.application_id IS NULL AND e.events @> ARRAY[kind]
            ORDER BY event_id, endpoint_id
            ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
            """,
            (
                [event.id for event in told],
                [event.topic for event in told],
                [json.dumps(_data_of_order(event)) for event in told],
            ),
        )


def _data_of_order(event: Event) -> dict[str, Any]:
    data = {name: event.payload[name] for name in ORDER_DATA if event.payload.get(name) is not None}
    data["lines"] = [{name: line[name] for name in LINE_DATA if name in line} for line in event.payload["lines"]]
    return data


async def on_send_webhooks(database: Database, settings: Settings, event: Event) -> None:
    """Write what endpoints are told of a message to followers, once however often it is called."""
    event_id = EventId(UUID(event.payload["event_id"]))
    async with database.connection() as conn:
        rows = await (
            await conn.execute(
                """
                SELECT s.template, s.variables, s.words_sealed, t.kind, t.key, t.title, t.path
                FROM notify.sends AS s JOIN notify.topics AS t USING (topic_id)
                WHERE s.event_id = %s AND s.cancelled_at IS NULL ORDER BY t.topic_id
                """,
                (event_id,),
            )
        ).fetchall()
        if not rows:
            return
        template, variables, sealed = rows[0][:3]
        words = {name: variables[name] for name in MESSAGE_DATA if name in variables}
        own = {name: said for name, said in open_words(sealed).items() if name in MESSAGE_DATA}
        data: dict[str, Any] = words | {
            "topics": [
                {"kind": kind, "key": key, "title": title, "url": f"{settings.base_url}{path}"}
                for _template, _variables, _words, kind, key, title, path in rows
            ]
        }
        kind = KINDS.get(template, WebhookKind.MESSAGE_SENT)
        topics = [f"{row[3]}:{row[4]}" for row in rows]
        data = {"event_id": str(event_id)} | data
        await _write(conn, event_id=event_id, kind=kind, data=data, topics=topics, words=own)
        whose = variables.get("application")
        if whose is not None:
            keys = [key.removeprefix(f"{whose}/") for _template, _variables, _words, _kind, key, *_ in rows]
            data["topics"] = [{"key": key, "title": row[5]} for key, row in zip(keys, rows, strict=True)]
            topics = [f"custom:{key}" for key in keys]
            await _write(
                conn, event_id=event_id, kind=kind, data=data, topics=topics, words=own, application_id=UUID(whose)
            )


async def write_webhook(
    conn: Connection, *, event_id: EventId, endpoint_id: UUID, kind: str, data: Mapping[str, Any]
) -> None:
    """Tell one endpoint, whatever it asked for."""
    await conn.execute(
        """
        INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables)
        VALUES (%s, %s, 'webhook', %s, %s) ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
        """,
        (event_id, endpoint_id, kind, json.dumps(data)),
    )


async def _write(
    conn: Connection,
    *,
    event_id: EventId,
    kind: str,
    data: Mapping[str, Any],
    topics: Sequence[str] | None = None,
    words: Mapping[str, Any] | None = None,
    application_id: UUID | None = None,
) -> None:
    """Tell the active endpoints that take this kind; of those that named topics, the ones that named one of these.

    The staff's, or an application's. `words` are what an application said, and are sealed.
    """
    await conn.execute(
        """
        INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, words_sealed)
        SELECT %(event)s, endpoint_id, 'webhook', %(kind)s, %(data)s, %(words)s
        FROM notify.webhook_endpoints
        WHERE state = 'active' AND events @> ARRAY[%(kind)s] AND application_id IS NOT DISTINCT FROM %(application)s
            AND (%(topics)s::text[] IS NULL OR topics = '{}' OR topics && %(topics)s::text[])
        ON CONFLICT (event_id, recipient_id, channel) DO NOTHING
        """,
        {
            "event": event_id,
            "kind": str(kind),
            "data": json.dumps(data),
            "words": seal_words(words) if words else None,
            "topics": None if topics is None else list(topics),
            "application": application_id,
        },
    )

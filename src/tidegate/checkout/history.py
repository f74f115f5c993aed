"""What happened to orders: who did what, and when; parcels and refunds with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tidegate import payments
from tidegate.checkout.contracts import Actor, Aftermath, Happened, LinePart, OrderView, Shipment
from tidegate.checkout.orders import Order
from tidegate.checkout.rules import PAYABLE, parts_left
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId, new_id
from tidegate.platform.money import Money

SHOP = Actor(None, "shop")
"""Who does what nobody asked for."""

MAX_SHOWN = 200
"""Most lines of an order's history that are read: the newest."""


async def note(conn: Connection, order_id: OrderId, what: str, by: Actor, **detail: Any) -> None:
    """Write a line of an order's history in the transaction that does it."""
    await conn.execute(
        "INSERT INTO checkout.order_events (id, order_id, what, actor_id, actor_role, detail)"
        " VALUES (%s, %s, %s, %s, %s, %s::jsonb)",
        (new_id(), order_id, what, by.id, by.role, json.dumps(detail)),
    )


async def load_aftermath(conn: Connection, order: Order | OrderView) -> Aftermath:
    """What became of an order, as it stands; under its lock nothing of it changes.

    While an order is to be paid nothing has: then nothing is asked.
    """
    if order.state in PAYABLE:
        return nothing_yet(order.total.currency)
    row = await (
        await conn.execute("SELECT paid_at, cancelled_at FROM checkout.orders WHERE id = %s", (order.id,))
    ).fetchone()
    assert row is not None, "the order was read"
    refunds = await payments.refunds_of(conn, order.id)
    captured = await payments.find_captured(conn, order.id) if row[0] else None
    shipments = await load_shipments(conn, order.id)
    refunded = await refunded_parts(conn, order.id)
    sent = [part for each in shipments if each.undone_at is None for part in each.parts]
    return Aftermath(
        paid_at=row[0],
        cancelled_at=row[1],
        shipments=shipments,
        refunds=refunds,
        history=await _history(conn, order.id),
        rest=captured.left if captured else Money(0, order.total.currency),
        parts_left=parts_left(order.lines, sent, refunded) if row[0] and not row[1] else (),
        refunded_parts=refunded,
    )


def nothing_yet(currency: str) -> Aftermath:
    """What became of an order that is to be paid."""
    return Aftermath(None, None, (), (), (), Money(0, currency), (), ())


async def load_shipments(conn: Connection, order_id: OrderId) -> tuple[Shipment, ...]:
    """An order's parcels, the oldest first: all of them, for they say what is left. `send` bounds how many."""
    rows = await conn.execute(
        "SELECT s.id, s.carrier, s.tracking_number, s.tracking_url, s.sent_at, s.undone_at,"
        " array_agg(l.line_no ORDER BY l.line_no), array_agg(l.quantity ORDER BY l.line_no)"
        " FROM checkout.shipments AS s JOIN checkout.shipment_lines AS l ON l.shipment_id = s.id"
        " WHERE s.order_id = %s GROUP BY s.id ORDER BY s.sent_at, s.id",
        (order_id,),
    )
    return tuple(_shipment(row) for row in await rows.fetchall())


async def refunded_parts(conn: Connection, order_id: OrderId) -> tuple[LinePart, ...]:
    """Items of an order whose price was given back."""
    rows = await conn.execute(
        "SELECT line_no, sum(quantity)::int FROM checkout.refunded_lines WHERE order_id = %s GROUP BY line_no",
        (order_id,),
    )
    return tuple(LinePart(row[0], row[1]) for row in await rows.fetchall())


async def _history(conn: Connection, order_id: OrderId) -> tuple[Happened, ...]:
    """The newest lines, the oldest of them first."""
    rows = await conn.execute(
        "SELECT what, actor_id, actor_role, detail, at FROM checkout.order_events"
        " WHERE order_id = %s ORDER BY id DESC LIMIT %s",
        (order_id, MAX_SHOWN),
    )
    found: list[tuple[str, Any, str, Mapping[str, Any], datetime]] = await rows.fetchall()
    return tuple(Happened(*row) for row in reversed(found))


def _shipment(row: tuple[Any, ...]) -> Shipment:
    parts = tuple(LinePart(no, quantity) for no, quantity in zip(row[6], row[7], strict=True))
    return Shipment(row[0], row[1], row[2], row[3], row[4], row[5], parts)

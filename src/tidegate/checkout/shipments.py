"""Parcels: what of an order was sent, with whom, and where to follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import quote, urlsplit
from uuid import UUID

from tidegate.checkout.contracts import Actor, LinePart, NotSendable, OrderState, Shipment
from tidegate.checkout.history import load_aftermath, note
from tidegate.checkout.orders import Order, lock_orders, move_orders
from tidegate.checkout.settlement import order_event
from tidegate.checkout.shop import Shop
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId
from tidegate.platform.outbox import write_events
from tidegate.platform.problems import InvalidRequest, NotFound

MAX_PARCELS = 200
"""Most parcels of an order, with those that were taken back."""
MAX_NAME = 80
MAX_NUMBER = 100
MAX_URL = 500


@dataclass(frozen=True, slots=True)
class Carrier:
    """Who carries parcels; `tracking_url` holds `{number}`."""

    code: str
    name: str
    tracking_url: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """What staff say of a parcel. `id` makes it one however often it is sent; no `parts`: all that is left.

    `carrier` is a known carrier's code or any name; `tracking_url` is needed for others only, and may be empty.
    """

    id: UUID
    carrier: str
    tracking_number: str
    tracking_url: str = ""
    parts: tuple[LinePart, ...] = ()


async def list_carriers(conn: Connection) -> list[Carrier]:
    """The carriers whose parcels can be followed by number alone."""
    rows = await conn.execute("SELECT code, name, tracking_url FROM checkout.carriers ORDER BY name")
    return [Carrier(*row) for row in await rows.fetchall()]


async def send(shop: Shop, *, order_id: OrderId, parcel: Parcel, by: Actor) -> None:
    """Mark items of a paid order as sent and tell the buyer, once per parcel; fulfilled when nothing is left.

    Raises: NotFound, NotSendable, InvalidRequest.
    """
    async with shop.database.transaction() as conn:
        order = await _lock(conn, order_id)
        after = await load_aftermath(conn, order)
        if any(each.id == parcel.id for each in after.shipments):
            return
        if order.state is not OrderState.PAID or after.cancelled_at is not None:
            raise NotSendable("Only what is paid, and neither cancelled nor sent, can be sent. Nothing was changed.")
        if len(after.shipments) >= MAX_PARCELS:
            raise NotSendable(
                f"This order has {MAX_PARCELS} parcels already, and no more are kept of one order. Nothing was changed."
            )
        left = {part.line_no: part.quantity for part in after.parts_left}
        parts = parcel.parts or after.parts_left
        numbers = [part.line_no for part in parts]
        if (
            not parts
            or len(set(numbers)) != len(numbers)
            or any(not 1 <= part.quantity <= left.get(part.line_no, 0) for part in parts)
        ):
            raise NotSendable("There is not that much left to send of each line. Nothing was changed.")
        sent = await _described(conn, parcel)
        await _write(conn, order_id, sent, parts)
        await note(conn, order_id, "sent", by, shipment_id=str(parcel.id), carrier=sent.carrier)
        if sum(left.values()) == sum(part.quantity for part in parts):
            await move_orders(conn, {order_id: OrderState.FULFILLED})
        event = order_event("order.sent", order, shop.desk)
        await write_events(conn, [replace(event, payload=_told(event.payload, order, sent, parts))])


async def undo_send(shop: Shop, *, order_id: OrderId, shipment_id: UUID, by: Actor) -> None:
    """Take back that a parcel was sent, within the time that the settings give. Safe to repeat.

    Raises: NotFound, NotSendable when it is too late.
    """
    async with shop.database.transaction() as conn:
        order = await _lock(conn, order_id)
        after = await load_aftermath(conn, order)
        shipment = next((each for each in after.shipments if each.id == shipment_id), None)
        if shipment is None:
            raise NotFound("there is no such parcel")
        if shipment.undone_at is not None:
            return
        _check_undo(order, shipment, late=await _is_late(conn, shop, shipment))
        await conn.execute("UPDATE checkout.shipments SET undone_at = clock_timestamp() WHERE id = %s", (shipment_id,))
        if order.state is OrderState.FULFILLED:
            await move_orders(conn, {order_id: OrderState.PAID})
        await note(conn, order_id, "sending_undone", by, shipment_id=str(shipment_id))


def _check_undo(order: Order, shipment: Shipment, *, late: bool) -> None:
    if late or order.state not in (OrderState.PAID, OrderState.FULFILLED):
        raise NotSendable(f"It is too late to take the parcel {shipment.tracking_number} back. Nothing was changed.")


async def _is_late(conn: Connection, shop: Shop, shipment: Shipment) -> bool:
    return await database_now(conn) > shipment.sent_at + timedelta(seconds=shop.settings.orders.undo_sent_s)


async def _lock(conn: Connection, order_id: OrderId) -> Order:
    order = (await lock_orders(conn, [order_id])).get(order_id)
    if order is None:
        raise NotFound("there is no such order")
    return order


async def _described(conn: Connection, parcel: Parcel) -> Parcel:
    """The parcel with its carrier's name and the address to follow it. Raises: InvalidRequest."""
    number, carrier, url = parcel.tracking_number.strip(), parcel.carrier.strip(), parcel.tracking_url.strip()
    if len(number) > MAX_NUMBER or len(carrier) > MAX_NAME or len(url) > MAX_URL:
        raise InvalidRequest("The carrier, the number or the address is too long. Nothing was changed.")
    if not carrier or not (number + carrier + url).isprintable() or not (number + url).isascii():
        raise InvalidRequest("Name the carrier, in letters, digits and signs. Nothing was changed.")
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise InvalidRequest("The address to follow it begins with https://. Nothing was changed.")
    known = {each.code: each for each in await list_carriers(conn)}.get(carrier)
    if known is not None:
        url = url or (known.tracking_url.replace("{number}", quote(number, safe="")) if number else "")
        carrier = known.name
    return replace(parcel, carrier=carrier, tracking_number=number, tracking_url=url)


async def _write(conn: Connection, order_id: OrderId, parcel: Parcel, parts: Sequence[LinePart]) -> None:
    await conn.execute(
        "INSERT INTO checkout.shipments (id, order_id, carrier, tracking_number, tracking_url)"
        " VALUES (%s, %s, %s, %s, %s)",
        (parcel.id, order_id, parcel.carrier, parcel.tracking_number, parcel.tracking_url),
    )
    await conn.execute(
        "INSERT INTO checkout.shipment_lines (shipment_id, line_no, quantity)"
        " SELECT %s, n, q FROM unnest(%s::int[], %s::int[]) AS p (n, q)",
        (parcel.id, [part.line_no for part in parts], [part.quantity for part in parts]),
    )


def _told(payload: dict[str, object], order: Order, parcel: Parcel, parts: Sequence[LinePart]) -> dict[str, object]:
    """What the buyer is told: the parcel and its items."""
    lines = [
        {
            "title": line.title,
            "sku": line.sku,
            "quantity": part.quantity,
            "amount": (line.unit * part.quantity).amount,
        }
        for part in parts
        for line in [order.lines[part.line_no - 1]]
    ]
    shipment = {
        "carrier": parcel.carrier,
        "tracking_number": parcel.tracking_number,
        "tracking_url": parcel.tracking_url,
    }
    return {**payload, "lines": lines, "shipment": shipment}

"""JSON routes of orders after they were placed: the buyer's list and cancelling, and what staff do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import NAMESPACE_URL, UUID, uuid5

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field

from tidegate.checkout.cancelling import cancel
from tidegate.checkout.contracts import (
    Actor,
    LinePart,
    NotCancellable,
    NotRefundable,
    NotSendable,
    OrderState,
    OrderSummary,
)
from tidegate.checkout.lists import (
    OrderFilter,
    OrderPage,
    find_aftermath,
    find_placed,
    list_orders,
    list_own_orders,
)
from tidegate.checkout.refunding import give_back
from tidegate.checkout.shipments import Parcel, send
from tidegate.checkout.shop import Shop
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import OrderId
from tidegate.platform.money import Money
from tidegate.platform.problems import KeyReused, NotFound, NotSignedIn
from tidegate.web import Visitor, require_person, require_staff

router = APIRouter(prefix="/api/v1", tags=["orders"])

Key = Annotated[
    str, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[!-~]([ -~]{0,253}[!-~])?$")
]
Before = Annotated[UUID | None, Query(description="Id of the last order of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]


class SumAnswer(BaseModel):
    """Money in minor units."""

    amount: int
    currency: str


class OrderItem(BaseModel):
    """An order in a list."""

    id: UUID
    number: str
    state: OrderState
    total: SumAnswer
    items: int
    created_at: datetime

    @classmethod
    def of(cls, order: OrderSummary) -> OrderItem:
        """The shape of an order."""
        total = SumAnswer(amount=order.total.amount, currency=order.total.currency)
        return cls(
            id=order.id,
            number=order.number,
            state=order.state,
            total=total,
            items=order.items,
            created_at=order.created_at,
        )


class OrderList(BaseModel):
    """Orders, the newest first; `next_before` asks for the page after."""

    items: list[OrderItem]
    next_before: UUID | None


class StandingAnswer(BaseModel):
    """How an order stands; `rest` may still be given back."""

    id: UUID
    state: OrderState
    cancelled: bool
    rest: SumAnswer


class PartBody(BaseModel):
    """Some items of a line; lines count from 1."""

    line_no: int = Field(ge=1, le=1000)
    quantity: int = Field(ge=1, le=1_000_000)


class RefundBody(BaseModel):
    """What to give back: `amount` in minor units of the order's currency, or `lines`, or without either all of it."""

    amount: int | None = Field(None, ge=1, le=10**12)
    lines: list[PartBody] = Field([], max_length=1000)
    restock: bool = False


class ShipmentBody(BaseModel):
    """What was sent: `lines`, or without them all that is left. `carrier` is a known code or any name."""

    carrier: str = Field(min_length=1, max_length=80)
    tracking_number: str = Field("", max_length=100)
    tracking_url: str = Field("", max_length=500)
    lines: list[PartBody] = Field([], max_length=1000)


Staff = Annotated[Visitor, Depends(require_staff)]
MINE = problems_by_status((NotSignedIn,))


@router.get("/orders", responses=MINE)
async def get_orders(request: Request, before: Before = None, limit: Limit = 25) -> OrderList:
    """Your orders."""
    person = await require_person(request)
    return _list(await list_own_orders(_shop(request), buyer_id=person.id, before=before, limit=limit))


@router.post("/orders/{order_id}/cancel", responses=problems_by_status((NotSignedIn, NotFound, NotCancellable)))
async def post_order_cancel(request: Request, order_id: UUID) -> StandingAnswer:
    """Cancel an order of yours that was not sent yet; what was paid goes back. Repeating it changes nothing."""
    person = await require_person(request)
    await cancel(_shop(request), order_id=OrderId(order_id), by=Actor(person.id, "buyer"))
    return await _standing(request, order_id)


@router.get("/admin/orders", responses=problems_by_status((NotSignedIn, NotFound)))
async def get_admin_orders(
    request: Request, person: Staff, state: OrderState | None = None, before: Before = None, limit: Limit = 25
) -> OrderList:
    """Everybody's orders, for staff."""
    async with _shop(request).database.connection() as conn:
        return _list(await list_orders(conn, limit=limit, before=before, wanted=OrderFilter(state=state)))


@router.post(
    "/admin/orders/{order_id}/refunds",
    responses=problems_by_status((NotSignedIn, NotFound, NotRefundable, KeyReused)),
)
async def post_admin_refund(
    request: Request, person: Staff, order_id: UUID, body: RefundBody, key: Key
) -> StandingAnswer:
    """Give money back, once per key."""
    shop = _shop(request)
    order = await find_placed(shop, order_id=OrderId(order_id))
    amount = None if body.amount is None else Money(body.amount, order.total.currency)
    await give_back(
        shop, order_id=order.id, by=_by(person), key=key, amount=amount, parts=_parts(body.lines), restock=body.restock
    )
    return await _standing(request, order_id)


@router.post("/admin/orders/{order_id}/shipments", responses=problems_by_status((NotSignedIn, NotFound, NotSendable)))
async def post_admin_shipment(
    request: Request, person: Staff, order_id: UUID, body: ShipmentBody, key: Key
) -> StandingAnswer:
    """Mark items as sent, once per key."""
    parcel = Parcel(
        uuid5(NAMESPACE_URL, f"{order_id} {key}"),
        body.carrier,
        body.tracking_number,
        body.tracking_url,
        _parts(body.lines),
    )
    await send(_shop(request), order_id=OrderId(order_id), parcel=parcel, by=_by(person))
    return await _standing(request, order_id)


@router.post("/admin/orders/{order_id}/cancel", responses=problems_by_status((NotSignedIn, NotFound, NotCancellable)))
async def post_admin_cancel(request: Request, person: Staff, order_id: UUID, key: Key) -> StandingAnswer:
    """Cancel an order; what was paid goes back. Repeating it changes nothing."""
    await cancel(_shop(request), order_id=OrderId(order_id), by=_by(person))
    return await _standing(request, order_id)


def _list(page: OrderPage) -> OrderList:
    return OrderList(items=[OrderItem.of(order) for order in page.orders], next_before=page.next_before)


async def _standing(request: Request, order_id: UUID) -> StandingAnswer:
    order, after = await find_aftermath(_shop(request), order_id=OrderId(order_id))
    rest = SumAnswer(amount=after.rest.amount, currency=after.rest.currency)
    return StandingAnswer(
        id=order.id,
        state=order.state,
        cancelled=after.cancelled_at is not None or order.state is OrderState.CANCELLED,
        rest=rest,
    )


def _by(person: Visitor) -> Actor:
    return Actor(person.id, person.role)


def _parts(lines: list[PartBody]) -> tuple[LinePart, ...]:
    return tuple(LinePart(line.line_no, line.quantity) for line in lines)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

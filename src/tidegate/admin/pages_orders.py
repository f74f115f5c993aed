"""The staff's order pages: search, one order with all that happened to it, refunds, parcels, cancelling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from babel.numbers import get_currency_precision
from fastapi import Request
from starlette.responses import Response

from tidegate import accounts, checkout
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.checkout import (
    Actor,
    Aftermath,
    Carrier,
    LinePart,
    NotCancellable,
    NotRefundable,
    NotSendable,
    OrderFilter,
    OrderPage,
    OrderState,
    OrderView,
    Parcel,
    Shop,
)
from tidegate.platform.ids import OrderId, PersonId, parse_id
from tidegate.platform.money import Money, MoneyError, parse_amount, total
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.web import NOT_KEPT, PostedForm, read_form, render, see_other

router = staff_router("/orders")

MIN_YEAR, MAX_YEAR = 1970, 9_000
"""Years in which an order can have been placed."""

REFUSED = (NotCancellable, NotRefundable, NotSendable, InvalidRequest)


@dataclass(frozen=True, slots=True)
class OrdersContext:
    """Context of `admin/orders.html`. `typed` is the search as it was sent, `sums` are over the shown rows."""

    page: OrderPage
    typed: dict[str, str]
    items: int
    money: Money
    error: str


@dataclass(frozen=True, slots=True)
class OrderContext:
    """Context of `admin/order.html`. `key` makes a form that is sent twice count once."""

    order: OrderView
    after: Aftermath
    carriers: tuple[Carrier, ...]
    key: str
    half: str
    typed: dict[str, str]
    error: str
    may_cancel: bool
    confirm_cancel: bool


@router.get("")
async def list_orders(request: Request) -> Response:
    """Orders, the newest first."""
    shop: Shop = request.app.state.shop
    typed = {name: _typed(request, name) for name in ("number", "email", "state", "day")}
    before = parse_id(request.query_params.get("before", ""))
    day, error = _day(typed["day"])
    async with shop.database.connection() as conn:
        buyers: list[PersonId] | None = None
        if typed["email"]:
            login = await accounts.find_login(conn, email=typed["email"])
            buyers = [login.person.id] if login else []
        wanted = OrderFilter(
            buyers=buyers,
            number=typed["number"].upper() or None,
            state=next((state for state in OrderState if state == typed["state"]), None),
            since=day,
            until=day + timedelta(days=1) if day else None,
        )
        page = await checkout.list_orders(conn, limit=shop.settings.orders.page_size, before=before, wanted=wanted)
    context = OrdersContext(
        page,
        typed,
        items=sum(each.items for each in page.orders),
        money=total((each.total for each in page.orders), shop.settings.currency),
        error=error,
    )
    return render(request, "admin/orders.html", context, headers=NOT_KEPT)


@router.get("/{order_id}")
async def show_order(request: Request, order_id: str, cancel: str = "") -> Response:
    """One order. With `cancel` it asks whether to."""
    return await _page(request, _order_id(order_id), confirm_cancel=bool(cancel))


@router.post("/{order_id}/refund")
async def post_refund(request: Request, order_id: str) -> Response:
    """Give money back: a sum, or what the picked items cost."""
    shop, wanted, form = _shop(request), _order_id(order_id), await read_form(request)
    try:
        parts = _parts(form, "back-")
        currency = shop.settings.currency
        amount = None if parts else Money(parse_amount(form.get("amount"), currency), currency)
        await checkout.give_back(
            shop,
            order_id=wanted,
            by=await _actor(request),
            key=form.get("key")[:100],
            amount=amount,
            parts=parts,
            restock=form.get("restock") == "yes",
        )
    except MoneyError:
        problem = InvalidRequest("Write the sum as a number such as 12.50. Nothing was given back.")
        return await _page(request, wanted, form=form, problem=problem)
    except REFUSED as problem:
        return await _page(request, wanted, form=form, problem=problem)
    return see_other(request, f"/admin/orders/{wanted}")


@router.post("/{order_id}/send")
async def post_send(request: Request, order_id: str) -> Response:
    """Mark the picked items, or all that are left, as sent."""
    wanted, form = _order_id(order_id), await read_form(request)
    try:
        parcel = Parcel(
            parse_id(form.get("key")) or uuid4(),
            form.get("other_carrier") or form.get("carrier"),
            form.get("tracking_number"),
            form.get("tracking_url"),
            _parts(form, "line-"),
        )
        await checkout.send(_shop(request), order_id=wanted, parcel=parcel, by=await _actor(request))
    except REFUSED as problem:
        return await _page(request, wanted, form=form, problem=problem)
    return see_other(request, f"/admin/orders/{wanted}")


@router.post("/{order_id}/shipments/{shipment_id}/undo")
async def post_undo(request: Request, order_id: str, shipment_id: str) -> Response:
    """Take back that a parcel was sent."""
    wanted, form = _order_id(order_id), await read_form(request)
    parcel = parse_id(shipment_id)
    if parcel is None:
        raise NotFound()
    try:
        by = await _actor(request)
        await checkout.undo_send(_shop(request), order_id=wanted, shipment_id=parcel, by=by)
    except REFUSED as problem:
        return await _page(request, wanted, form=form, problem=problem)
    return see_other(request, f"/admin/orders/{wanted}")


@router.post("/{order_id}/cancel")
async def post_cancel(request: Request, order_id: str) -> Response:
    """Cancel an order; the page before said what that does."""
    wanted, form = _order_id(order_id), await read_form(request)
    try:
        await checkout.cancel(_shop(request), order_id=wanted, by=await _actor(request))
    except REFUSED as problem:
        return await _page(request, wanted, form=form, problem=problem)
    return see_other(request, f"/admin/orders/{wanted}")


async def _page(
    request: Request,
    order_id: OrderId,
    *,
    form: PostedForm | None = None,
    problem: Problem | None = None,
    confirm_cancel: bool = False,
) -> Response:
    shop = _shop(request)
    order, after = await checkout.find_aftermath(shop, order_id=order_id)
    async with shop.database.connection() as conn:
        carriers = tuple(await checkout.list_carriers(conn))
    half = Money(after.rest.amount // 2, after.rest.currency)
    context = OrderContext(
        order=order,
        after=after,
        carriers=carriers,
        key=str(uuid4()),
        half=_plain(half),
        typed=dict(form.fields) if form else {"amount": _plain(after.rest)},
        error=problem.detail if problem else "",
        may_cancel=checkout.may_cancel(order, after, paid_too=True),
        confirm_cancel=confirm_cancel,
    )
    return render(request, "admin/order.html", context, status=problem.status if problem else 200, headers=NOT_KEPT)


def _plain(money: Money) -> str:
    """An amount as a form takes it: 12.50."""
    digits = get_currency_precision(money.currency)
    return f"{Decimal(money.amount).scaleb(-digits):f}"


def _parts(form: PostedForm, prefix: str) -> tuple[LinePart, ...]:
    """The items picked in fields `line-N` or `back-N`. Raises: InvalidRequest."""
    parts = []
    for name, value in form.fields:
        number, text = name.removeprefix(prefix), value.strip() or "0"
        if name.startswith(prefix):
            if not (number.isascii() and number.isdigit() and text.isascii() and text.isdigit() and len(text) <= 6):
                raise InvalidRequest("Write how many items as whole numbers. Nothing was changed.")
            if int(text):
                parts.append(LinePart(int(number[:6]), int(text)))
    return tuple(parts)


def _typed(request: Request, name: str) -> str:
    """What was typed into a field of the search, within bounds."""
    return request.query_params.get(name, "").replace("\0", "").strip()[:254]


def _day(text: str) -> tuple[datetime | None, str]:
    """The beginning of a day in UTC, and which field is wrong."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError:
        return None, "day"
    return (day, "") if day is None or MIN_YEAR <= day.year <= MAX_YEAR else (None, "day")


async def _actor(request: Request) -> Actor:
    person = await staff_member(request)
    return Actor(person.id, person.role)


def _order_id(text: str) -> OrderId:
    wanted = parse_id(text)
    if wanted is None:
        raise NotFound()
    return OrderId(wanted)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

"""A buyer's own orders: the list, and cancelling one."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import checkout
from tidegate.checkout import Actor, NotCancellable, OrderPage, OrderView, Shop
from tidegate.platform.ids import OrderId, parse_id
from tidegate.platform.problems import NotFound
from tidegate.web import NOT_KEPT, current_person, read_form, render, see_other, words_of

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class OrdersContext:
    """Context of `storefront/orders.html`."""

    page: OrderPage


@dataclass(frozen=True, slots=True)
class CancelContext:
    """Context of `storefront/order_cancel.html`. `paid`: money goes back."""

    order: OrderView
    paid: bool
    possible: bool
    error: str


@router.get("/account/orders")
async def show_orders(request: Request, before: str = "") -> Response:
    """The orders of whoever's session it is, the newest first; a stranger has none."""
    shop: Shop = request.app.state.shop
    person = await current_person(request)
    page = OrderPage((), None)
    if person is not None:
        page = await checkout.list_own_orders(
            shop, buyer_id=person.id, before=parse_id(before), limit=shop.settings.orders.page_size
        )
    return render(request, "storefront/orders.html", OrdersContext(page), headers=NOT_KEPT)


@router.get("/orders/{order_id}/cancel")
async def show_cancel(request: Request, order_id: str) -> Response:
    """What cancelling the order does, and the button."""
    return await _page(request, await _own(request, order_id))


@router.post("/orders/{order_id}/cancel")
async def post_cancel(request: Request, order_id: str) -> Response:
    """Cancel an order of one's own."""
    await read_form(request)
    order = await _own(request, order_id)
    shop: Shop = request.app.state.shop
    try:
        await checkout.cancel(shop, order_id=order.id, by=Actor(order.buyer_id, "buyer"))
    except NotCancellable as problem:
        return await _page(request, order, problem=problem)
    return see_other(request, f"/orders/{order.id}")


async def _page(request: Request, order: OrderView, *, problem: NotCancellable | None = None) -> Response:
    shop: Shop = request.app.state.shop
    after = await checkout.see_aftermath(shop, order)
    possible = checkout.may_cancel(order, after, paid_too=shop.settings.orders.buyer_cancels_paid)
    paid = order.state is checkout.OrderState.PAID
    context = CancelContext(order, paid, possible, words_of(problem) if problem else "")
    status = problem.status if problem else 200
    return render(request, "storefront/order_cancel.html", context, status=status, headers=NOT_KEPT)


async def _own(request: Request, order_id: str) -> OrderView:
    """The order, if it is the asker's. Raises: NotFound."""
    person, wanted = await current_person(request), parse_id(order_id)
    if person is None or wanted is None:
        raise NotFound()
    shop: Shop = request.app.state.shop
    return await checkout.find_order(shop, buyer_id=person.id, order_id=OrderId(wanted))

"""The sandbox's pay page, where a real gateway would have its own. Served in demo mode only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.payments.sandbox_cards import BY_SHOP, CARDS, Card, PaymentState
from tidegate.payments.sandbox_ledger import Payment
from tidegate.payments.sandbox_page import (
    BUTTONS,
    PageAction,
    act_on_payment,
    card_on_page,
    look_at_payment,
    pay_with,
)
from tidegate.platform.database import Database
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other

router = APIRouter(prefix="/sandbox/pay", include_in_schema=False)

"""The back button must ask again, and then hears what has become of the payment."""


@dataclass(frozen=True, slots=True)
class PayContext:
    """Context of `payments/sandbox_pay.html`."""

    state: str
    """open, requires_action, succeeded, failed or cancelled"""
    ended_by_shop: bool
    total: Money
    description: str
    cards: tuple[Card, ...]
    return_url: str


@router.get("/{payment_id}")
async def show_payment(request: Request, payment_id: str) -> Response:
    """The page, in whatever state the payment is."""
    database: Database = request.app.state.database
    async with database.connection() as conn:
        payment = _found(await look_at_payment(conn, payment_id=payment_id))
    context = PayContext(
        state=payment.state.value,
        ended_by_shop=payment.failure == BY_SHOP,
        total=payment.total,
        description=payment.description,
        cards=tuple(card for card in CARDS.values() if card.title),
        return_url=_way_back(request, payment),
    )
    return render(request, "payments/sandbox_pay.html", context, headers=NOT_KEPT)


@router.post("/{payment_id}")
async def press_button(request: Request, payment_id: str) -> Response:
    """Pay, cancel, confirm or refuse; then back to the shop, or to the page when there is more to do or to read."""
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    form = await read_form(request)
    try:
        action = PageAction(form.get("action"))
    except ValueError:
        raise InvalidRequest(_("Use one of the buttons of the page. Nothing was paid.")) from None
    card = card_on_page(form.get("card")) if action is PageAction.PAY else None
    move = BUTTONS[action] if card is None else pay_with(card, late_s=settings.payments.sandbox_late_s)
    async with database.transaction() as conn:
        moved = await act_on_payment(conn, payment_id=payment_id, move=move)
    payment = _found(moved)
    if card is not None and card.slow:
        await asyncio.sleep(settings.payments.sandbox_slow_s)
    if payment.state in (PaymentState.OPEN, PaymentState.REQUIRES_ACTION) or payment.failure == BY_SHOP:
        return see_other(request, f"/sandbox/pay/{payment.id}")
    return see_other(request, _way_back(request, payment))


def _found(payment: Payment | None) -> Payment:
    if payment is None:
        raise NotFound("There is no payment at this address. Nothing was paid. Open your order to pay it.")
    return payment


def _way_back(request: Request, payment: Payment) -> str:
    """The return URL; as a path where it is ours, so that a shop reached by two names keeps the one in use."""
    settings: Settings = request.app.state.settings
    path = payment.return_url.removeprefix(settings.base_url)
    return path if path.startswith("/") and not path.startswith("//") else payment.return_url

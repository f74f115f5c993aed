"""What a shopper can do on the sandbox's pay page. Doing it again, or in another tab, changes nothing more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tidegate.payments.contracts import UnknownToken
from tidegate.payments.sandbox_cards import BY_SHOPPER, CARDS, REFUSED, Card, PaymentState
from tidegate.payments.sandbox_ledger import Payment, Telling, find_payment, move_payment
from tidegate.platform.database import Connection
from tidegate.platform.texts import text as _

PAYMENT_ID = re.compile(r"pay_[0-9a-f]{32}", re.ASCII)


class PageAction(StrEnum):
    """The buttons of the page."""

    PAY = "pay"
    CONFIRM = "confirm"
    REFUSE = "refuse"
    CANCEL = "cancel"


ONCE = Telling()


@dataclass(frozen=True, slots=True)
class Move:
    """What a button does to a payment in one of the states `was`."""

    was: tuple[PaymentState, ...]
    state: PaymentState
    token: str | None = None
    failure: str | None = None
    telling: Telling = ONCE


BUTTONS: Mapping[PageAction, Move] = MappingProxyType(
    {
        PageAction.CONFIRM: Move((PaymentState.REQUIRES_ACTION,), PaymentState.SUCCEEDED),
        PageAction.REFUSE: Move((PaymentState.REQUIRES_ACTION,), PaymentState.FAILED, failure=REFUSED),
        PageAction.CANCEL: Move(
            (PaymentState.OPEN, PaymentState.REQUIRES_ACTION), PaymentState.CANCELLED, failure=BY_SHOPPER
        ),
    }
)
"""All buttons but PAY, whose card decides."""


def pay_with(card: Card, *, late_s: float) -> Move:
    """What PAY does with a card; the late card's webhook is sent `late_s` seconds after its payment."""
    telling = Telling(card.webhooks, late_s if card.late else 0.0)
    return Move((PaymentState.OPEN,), card.state, token=card.token, failure=card.failure, telling=telling)


async def look_at_payment(conn: Connection, *, payment_id: str) -> Payment | None:
    """The payment whose page this is, or None."""
    if PAYMENT_ID.fullmatch(payment_id) is None:
        return None
    return await find_payment(conn, payment_id=payment_id)


def card_on_page(token: str) -> Card:
    """A card that the page offers. Raises: UnknownToken."""
    card = CARDS.get(token)
    if card is None or not card.title:
        raise UnknownToken(_("Choose one of the test cards. Nothing was paid."))
    return card


async def act_on_payment(conn: Connection, *, payment_id: str, move: Move) -> Payment | None:
    """Do what a button says, where the payment still allows it. The payment as it then stands, or None."""
    if PAYMENT_ID.fullmatch(payment_id) is None:
        return None
    return await move_payment(
        conn,
        payment_id=payment_id,
        was=move.was,
        state=move.state,
        token=move.token,
        failure=move.failure,
        telling=move.telling,
    )

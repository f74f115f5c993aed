"""The sandbox's test cards: one token, one way in which a payment goes well or wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tidegate.platform.texts import text as _

HOSTED = "hosted"
"""The method that opens a page where the shopper picks a card."""


class PaymentState(StrEnum):
    """A payment in the sandbox's ledger: open -> (requires_action ->) succeeded | failed | cancelled."""

    OPEN = "open"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self not in (PaymentState.OPEN, PaymentState.REQUIRES_ACTION)


@dataclass(frozen=True, slots=True)
class Card:
    """How the sandbox treats a token.

    `title` and `hint` are what the pay page says of it ("" keeps it off that page). `says_processing`: the call is
    answered before there is an outcome. `webhooks` counts how often the outcome is told, `late` whether long after.
    """

    token: str
    title: str
    hint: str
    state: PaymentState
    failure: str | None = None
    slow: bool = False
    loses_answer: bool = False
    says_processing: bool = False
    webhooks: int = 1
    late: bool = False


OK, DECLINED, ASKS = PaymentState.SUCCEEDED, PaymentState.FAILED, PaymentState.REQUIRES_ACTION

CARDS: Mapping[str, Card] = MappingProxyType(
    {
        card.token: card
        for card in (
            Card("tok_ok", _("Card that works"), _("The payment is made at once."), OK),
            Card(
                "tok_declined",
                _("Card that is declined"),
                _("The bank says no, and no money is taken."),
                DECLINED,
                failure="card_declined",
            ),
            Card("tok_confirm", _("Card that asks you to confirm"), _("The bank asks you on the next page."), ASKS),
            Card("tok_slow", _("Card that takes its time"), _("The answer comes after some seconds."), OK, slow=True),
            Card("tok_error_after_charge", "", "", OK, loses_answer=True),
            Card(
                "tok_webhook_twice",
                _("Card whose payment is reported twice"),
                _("The shop hears of it two times and counts it once."),
                OK,
                says_processing=True,
                webhooks=2,
            ),
            Card(
                "tok_webhook_late",
                _("Card whose payment is reported late"),
                _("The shop asks before it is told."),
                OK,
                says_processing=True,
                late=True,
            ),
            Card(
                "tok_webhook_never",
                _("Card whose payment is never reported"),
                _("The shop has to ask."),
                OK,
                says_processing=True,
                webhooks=0,
            ),
        )
    }
)

REFUSED = "confirmation_refused"
BY_SHOPPER = "cancelled_by_shopper"
BY_SHOP = "ended_by_shop"
"""Failures that no card brings: what the shopper or the shop did."""

"""Stripe's test payment methods, as far as they are played here: what becomes of a payment with each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """`status` is the payment's after it was confirmed; a declined one says `code` and `decline_code`."""

    status: str = "succeeded"
    code: str | None = None
    decline_code: str | None = None


CARDS = {
    "pm_card_visa": Card(),
    "pm_card_mastercard": Card(),
    "pm_card_chargeDeclined": Card("requires_payment_method", "card_declined", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Card("requires_payment_method", "card_declined", "insufficient_funds"),
    "pm_card_chargeDeclinedLostCard": Card("requires_payment_method", "card_declined", "lost_card"),
    "pm_card_chargeDeclinedExpiredCard": Card("requires_payment_method", "expired_card"),
    "pm_card_chargeDeclinedProcessingError": Card("requires_payment_method", "processing_error"),
    "pm_card_authenticationRequired": Card("requires_action"),
    "pm_card_threeDSecure2Required": Card("requires_action"),
    "pm_usBankAccount_success": Card("processing"),
}

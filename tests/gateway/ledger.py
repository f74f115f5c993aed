"""The gateway's books: payments, pages, refunds and the events that tell of them. Objects are JSON as Stripe's are."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.gateway.cards import CARDS, Card

Json = dict[str, Any]
MIN_SESSION_S, MAX_SESSION_S = 1_800, 86_400


class GatewayError(Exception):
    """An error as Stripe would answer it. `executed`: the call began to do something, so its key keeps the answer."""

    def __init__(self, status: int, *, executed: bool = False, **error: object) -> None:
        super().__init__(str(error))
        self.status, self.executed, self.body = status, executed, {"error": error}


def invalid(message: str, *, param: str = "", code: str = "parameter_invalid", executed: bool = False) -> GatewayError:
    """A call that cannot be carried out."""
    return GatewayError(
        400, executed=executed, type="invalid_request_error", code=code, param=param or None, message=message
    )


@dataclass(slots=True)
class Ledger:
    """All objects by id. `tell` is called with each new event; `ahead_s` moves the gateway's clock."""

    url: str = ""
    payments: dict[str, Json] = field(default_factory=dict)
    charges: dict[str, Json] = field(default_factory=dict)
    sessions: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    tell: Callable[[Json], None] = lambda event: None
    ahead_s: float = 0.0
    search_lag_s: float = 0.0

    def now(self) -> float:
        """Unix seconds at the gateway."""
        return time.time() + self.ahead_s

    def captures(self, reference: str | None = None) -> list[Json]:
        """What was taken and, given a reference, for it."""
        return [
            payment
            for payment in self.payments.values()
            if payment["status"] == "succeeded" and reference in (None, payment["metadata"].get("tidegate_ref"))
        ]

    def taken(self, currency: str = "gbp") -> int:
        """Money kept: taken and not given back, in the smallest units."""
        return sum(
            charge["amount"] - charge["amount_refunded"]
            for charge in self.charges.values()
            if charge["currency"] == currency
        )

    # Payments

    def create_payment(self, params: Json) -> Json:
        """Make a payment, and confirm it where that is asked for."""
        amount, currency = _amount(params.get("amount"), "amount"), _currency(params)
        confirm, method = params.get("confirm") == "true", params.get("payment_method", "")
        if confirm and not method:
            raise invalid("You cannot confirm without a payment method.", param="payment_method")
        if method and method not in CARDS:
            raise invalid(f"No such PaymentMethod: '{method}'", param="payment_method", code="resource_missing")
        if confirm and not params.get("return_url"):
            raise invalid("A return_url is needed to confirm.", param="return_url")
        payment = self._new_payment(amount, currency, params.get("metadata", {}), params.get("description"))
        payment["status"] = "requires_confirmation" if method else "requires_payment_method"
        if confirm:
            self._confirm(payment, CARDS[method], method, params["return_url"])
        return payment

    def cancel_payment(self, payment_id: str) -> Json:
        """Cancel what is not paid and not under way."""
        payment = self.payment(payment_id)
        if payment["status"] in ("succeeded", "canceled", "processing"):
            raise invalid(
                f"You cannot cancel this PaymentIntent because it has a status of {payment['status']}.",
                code="payment_intent_unexpected_state",
                executed=True,
            )
        payment |= {"status": "canceled", "next_action": None, "canceled_at": int(self.now())}
        self._tell("payment_intent.canceled", payment)
        return payment

    def authenticate(self, payment_id: str, *, succeed: bool) -> Json:
        """The shopper confirms with the bank, or refuses."""
        payment = self.payment(payment_id)
        if payment["status"] != "requires_action":
            raise invalid("This PaymentIntent waits for nobody.", code="payment_intent_unexpected_state")
        payment["next_action"] = None
        if succeed:
            self._succeed(payment)
        else:
            self._decline(payment, Card("requires_payment_method", "payment_intent_authentication_failure"))
        return payment

    def finish_processing(self, payment_id: str, *, succeed: bool) -> Json:
        """A slow payment ends."""
        payment = self.payment(payment_id)
        if payment["status"] != "processing":
            raise invalid("This PaymentIntent is not processing.", code="payment_intent_unexpected_state")
        session = next((each for each in self.sessions.values() if each["payment_intent"] == payment_id), None)
        if succeed:
            self._succeed(payment)
            if session is not None:
                session["payment_status"] = "paid"
                self._tell("checkout.session.async_payment_succeeded", session)
        else:
            self._decline(payment, Card("requires_payment_method", "payment_method_provider_decline"))
            if session is not None:
                self._tell("checkout.session.async_payment_failed", session)
        return payment

    def payment(self, payment_id: str) -> Json:
        """A payment by its id."""
        return _found(self.payments, payment_id, "payment_intent")

    def search_payments(self, query: str) -> list[Json]:
        """Payments whose metadata has what a query `metadata["NAME"]:"VALUE"` asks for, and that are old enough."""
        name, colon, value = query.removeprefix('metadata["').partition('"]:"')
        if not colon or not query.startswith('metadata["'):
            raise invalid("This gateway searches by one name in the metadata.", param="query")
        known_at = self.now() - self.search_lag_s
        return [
            payment
            for payment in self.payments.values()
            if payment["metadata"].get(name) == value.removesuffix('"') and payment["created"] <= known_at
        ]

    # Pages

    def open_session(self, params: Json) -> Json:
        """Open a page for one payment."""
        if params.get("mode") != "payment":
            raise invalid("Only mode=payment is played here.", param="mode")
        if not params.get("success_url", "").startswith("http"):
            raise invalid("Not a valid URL", param="success_url", code="url_invalid")
        items = [item for _, item in sorted(params.get("line_items", {}).items())]
        if not items:
            raise invalid("A session needs line_items.", param="line_items")
        currency = _currency(items[0]["price_data"])
        amount = sum(_amount(item["price_data"]["unit_amount"], "line_items") * int(item["quantity"]) for item in items)
        ends_at = int(params.get("expires_at", self.now() + MAX_SESSION_S))
        if not MIN_SESSION_S <= ends_at - self.now() <= MAX_SESSION_S:
            raise invalid("expires_at must be 30 minutes to 24 hours from now.", param="expires_at")
        session_id = f"cs_test_{secrets.token_hex(24)}"
        session = {
            "id": session_id,
            "object": "checkout.session",
            "status": "open",
            "payment_status": "unpaid",
            "mode": "payment",
            "url": f"{self.url}/c/pay/{session_id}",
            "amount_total": amount,
            "currency": currency,
            "client_reference_id": params.get("client_reference_id"),
            "metadata": params.get("metadata", {}),
            "payment_intent": None,
            "expires_at": ends_at,
            "created": int(self.now()),
            "success_url": params["success_url"],
            "cancel_url": params.get("cancel_url"),
            "livemode": False,
            "_payment": params.get("payment_intent_data", {}),
        }
        self.sessions[session_id] = session
        return session

    def expire_session(self, session_id: str) -> Json:
        """Close an open page."""
        session = self.session(session_id)
        if session["status"] != "open":
            raise invalid(
                f'Only Checkout Sessions with a status in ["open"] can be expired; this one is {session["status"]}.',
                executed=True,
            )
        session |= {"status": "expired", "url": None}
        self._tell("checkout.session.expired", session)
        return session

    def pay_session(self, session_id: str, method: str = "pm_card_visa", *, amount: int | None = None) -> Json:
        """The shopper pays on the page. A declined card leaves it open. `amount` plays a shop's page gone wrong."""
        session = self.session(session_id)
        if session["status"] != "open":
            raise invalid(f"This page is {session['status']}.", code="checkout_session_closed")
        if amount is not None:
            session["amount_total"] = amount
        wish = session["_payment"]
        payment = (
            self.payments[session["payment_intent"]]
            if session["payment_intent"]
            else self._new_payment(
                session["amount_total"], session["currency"], wish.get("metadata", {}), wish.get("description")
            )
        )
        session["payment_intent"] = payment["id"]
        card = CARDS[method]
        if card.status == "requires_payment_method":
            self._decline(payment, card)
            return session
        session |= {"status": "complete", "url": None}
        if card.status == "processing":
            payment["status"] = "processing"
        else:
            session["payment_status"] = "paid"
            self._succeed(payment)
        self._tell("checkout.session.completed", session)
        return session

    def session(self, session_id: str) -> Json:
        """A page by its id; one whose time is over is expired by now."""
        session = _found(self.sessions, session_id, "checkout.session")
        if session["status"] == "open" and session["expires_at"] <= self.now():
            session |= {"status": "expired", "url": None}
            self._tell("checkout.session.expired", session)
        return session

    # Refunds

    def create_refund(self, params: Json) -> Json:
        """Give back a part or all of a payment."""
        payment = self.payment(params.get("payment_intent", ""))
        charge = self.charges.get(payment["latest_charge"] or "")
        if payment["status"] != "succeeded" or charge is None:
            raise invalid("This PaymentIntent has no successful charge.", code="charge_not_refundable", executed=True)
        left = charge["amount"] - charge["amount_refunded"]
        amount = _amount(params["amount"], "amount") if "amount" in params else left
        if left == 0:
            raise invalid("Charge has already been refunded.", code="charge_already_refunded", executed=True)
        if amount > left:
            raise invalid("Refund amount is greater than unrefunded amount on charge.", param="amount", executed=True)
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        refund = {
            "id": f"re_{secrets.token_hex(12)}",
            "object": "refund",
            "amount": amount,
            "currency": payment["currency"],
            "payment_intent": payment["id"],
            "charge": charge["id"],
            "status": params.get("_status", "succeeded"),
            "failure_reason": None,
            "metadata": params.get("metadata", {}),
            "created": int(self.now()),
        }
        self.refunds[refund["id"]] = refund
        self._tell("refund.created", refund)
        return refund

    def finish_refund(self, refund_id: str, *, status: str) -> Json:
        """A slow refund ends as succeeded or failed."""
        refund = _found(self.refunds, refund_id, "refund")
        refund["status"] = status
        if status == "failed":
            refund["failure_reason"] = "expired_or_canceled_card"
            charge = self.charges[refund["charge"]]
            charge |= {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False}
        self._tell("refund.updated", refund)
        return refund

    def refunds_of(self, payment_id: str) -> list[Json]:
        """Refunds of a payment, the newest first."""
        return [refund for refund in reversed(self.refunds.values()) if refund["payment_intent"] == payment_id]

    # Within

    def _new_payment(self, amount: int, currency: str, metadata: Mapping[str, str], description: str | None) -> Json:
        payment_id = f"pi_{secrets.token_hex(12)}"
        payment = {
            "id": payment_id,
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "currency": currency,
            "status": "requires_payment_method",
            "metadata": dict(metadata),
            "description": description,
            "client_secret": f"{payment_id}_secret_{secrets.token_hex(12)}",
            "payment_method": None,
            "next_action": None,
            "last_payment_error": None,
            "cancellation_reason": None,
            "latest_charge": None,
            "created": int(self.now()),
            "livemode": False,
        }
        self.payments[payment_id] = payment
        return payment

    def _confirm(self, payment: Json, card: Card, method: str, return_url: str) -> None:
        payment["payment_method"] = method
        if card.status == "succeeded":
            self._succeed(payment)
        elif card.status == "requires_action":
            page = {"url": f"{self.url}/c/confirm/{payment['id']}", "return_url": return_url}
            payment |= {"status": card.status, "next_action": {"type": "redirect_to_url", "redirect_to_url": page}}
            self._tell("payment_intent.requires_action", payment)
        elif card.status == "processing":
            payment["status"] = card.status
            self._tell("payment_intent.processing", payment)
        else:
            self._decline(payment, card)
            raise GatewayError(
                402, executed=True, **payment["last_payment_error"], payment_intent=json.loads(json.dumps(payment))
            )

    def _succeed(self, payment: Json) -> None:
        charge = {
            "id": f"ch_{secrets.token_hex(12)}",
            "object": "charge",
            "amount": payment["amount"],
            "currency": payment["currency"],
            "payment_intent": payment["id"],
            "amount_refunded": 0,
            "refunded": False,
        }
        self.charges[charge["id"]] = charge
        payment |= {
            "status": "succeeded",
            "amount_received": payment["amount"],
            "latest_charge": charge["id"],
            "last_payment_error": None,
        }
        self._tell("payment_intent.succeeded", payment)

    def _decline(self, payment: Json, card: Card) -> None:
        error = {"type": "card_error", "code": card.code, "message": "Your card was declined."}
        if card.decline_code:
            error["decline_code"] = card.decline_code
        payment |= {"status": "requires_payment_method", "last_payment_error": error}
        self._tell("payment_intent.payment_failed", payment)

    def _tell(self, kind: str, about: Json) -> None:
        event = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "type": kind,
            "created": int(self.now()),
            "livemode": False,
            "data": {"object": shown(about)},
        }
        self.events.append(event)
        self.tell(event)


def shown(thing: Json) -> Json:
    """A copy of an object as it stands, without what only the gateway knows."""
    copy: Json = json.loads(json.dumps({name: value for name, value in thing.items() if not name.startswith("_")}))
    return copy


def _found(things: Mapping[str, Json], thing_id: str, kind: str) -> Json:
    if thing_id not in things:
        raise GatewayError(
            404, type="invalid_request_error", code="resource_missing", message=f"No such {kind}: '{thing_id}'"
        )
    return things[thing_id]


def _amount(text: object, param: str) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and 1 <= int(text) <= 99_999_999):
        raise invalid(f"Invalid integer: {text}", param=param, code="parameter_invalid_integer")
    return int(text)


def _currency(params: Json) -> str:
    currency = params.get("currency", "")
    if not (isinstance(currency, str) and len(currency) == 3 and currency.islower()):
        raise invalid(f"Invalid currency: {currency}", param="currency")
    return currency

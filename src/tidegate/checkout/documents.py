"""Holds and orders as JSON documents: what the API answers, and what is stored for an idempotency key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidegate.checkout.contracts import BoughtLine, Charges, HoldView, OrderView
from tidegate.platform.ids import HoldId
from tidegate.platform.money import Money


def money_document(money: Money) -> dict[str, Any]:
    """`amount` in minor units."""
    return {"amount": money.amount, "currency": money.currency}


def discount_document(discount: Money) -> dict[str, Any] | None:
    """What was taken off the lines; None when nothing was."""
    return money_document(discount) if discount.amount else None


def shipping_document(charges: Charges) -> dict[str, Any] | None:
    """How it is sent and what that costs; None where the shop has no ways to send."""
    chosen = charges.shipping
    if chosen is None:
        return None
    return {"method": chosen.code, "name": chosen.name, "amount": money_document(chosen.amount)}


def tax_document(charges: Charges, currency: str) -> dict[str, Any] | None:
    """The taxes by rate; None where there are none."""
    if not charges.taxes:
        return None
    return {
        "included": charges.tax_included,
        "amount": money_document(Money(charges.tax_amount, currency)),
        "lines": [
            {
                "name": each.name,
                "rate_bp": each.rate_bp,
                "base": money_document(Money(each.base, currency)),
                "amount": money_document(Money(each.amount, currency)),
            }
            for each in charges.taxes
        ],
    }


def goods_members(*, total: Money, discount: Money, lines: Sequence[BoughtLine]) -> bytes:
    """The last members of a hold's document, encoded: what all who hold the same have in common."""
    members = {
        "total": money_document(total),
        "discount": discount_document(discount),
        "lines": [_line(line) for line in lines],
    }
    return msgspec.json.encode(members)[1:]


def hold_body(hold_id: HoldId, *, expires_at: str, members: bytes) -> bytes:
    """The document of a hold, encoded. `members`: `goods_members`; `expires_at` in ISO 8601."""
    return f'{{"id":"{hold_id}","expires_at":"{expires_at}",'.encode() + members


def hold_document(hold: HoldView) -> bytes:
    """A hold, encoded; its total is that of the goods, less its discount."""
    members = goods_members(total=hold.total, discount=hold.discount, lines=hold.lines)
    return hold_body(hold.id, expires_at=hold.expires_at.isoformat(), members=members)


def order_document(order: OrderView) -> dict[str, Any]:
    """An order without personal data: the buyer knows it, and answers are stored."""
    action = order.next_action
    return {
        "id": str(order.id),
        "number": order.number,
        "hold_id": str(order.hold_id),
        "state": order.state.value,
        "total": money_document(order.total),
        "discount": discount_document(order.discount),
        "shipping": shipping_document(order.charges),
        "tax": tax_document(order.charges, order.total.currency),
        "next_action": {"type": action.kind, "url": action.url} if action else None,
        "failure": order.failure,
        "pay_until": order.pay_until.isoformat(),
        "lines": [_line(line) for line in order.lines],
    }


def _line(line: BoughtLine) -> dict[str, Any]:
    return {
        "sku": line.sku,
        "title": line.title,
        "quantity": line.quantity,
        "unit_price": money_document(line.unit),
    }

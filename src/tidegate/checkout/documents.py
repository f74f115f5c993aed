"""Holds and orders as JSON documents: what the API answers, and what is stored for an idempotency key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from tidegate.checkout.contracts import BoughtLine, Charges, HoldView, OrderView
from tidegate.platform.ids import HoldId
from tidegate.platform.money import Money

KEPT_PARTS: Final = 256
"""Parts of documents that are kept, those used last."""


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
        "id": order.id,
        "number": order.number,
        "hold_id": order.hold_id,
        "state": order.state,
        **_bought(order.total, order.discount, order.charges, order.lines),
        "next_action": {"type": action.kind, "url": action.url} if action else None,
        "failure": order.failure,
        "pay_until": order.pay_until.isoformat(),
    }


def order_body(order: OrderView) -> bytes:
    """The document of an order, encoded: written once, and kept beside its fields, where it makes no difference."""
    kept: dict[str, bytes] = order.__dict__
    body = kept.get("body")
    if body is None:
        body = kept["body"] = msgspec.json.encode(order_document(order))
    return body


@lru_cache(maxsize=KEPT_PARTS)
def _bought(total: Money, discount: Money, charges: Charges, lines: tuple[BoughtLine, ...]) -> Mapping[str, Any]:
    """What all orders of the same goods have in common; of a sale these are nearly all."""
    return {**sum_document(total, discount, charges), "lines": [_line(line) for line in lines]}


def sum_document(total: Money, discount: Money, charges: Charges) -> dict[str, Any]:
    """What is to be paid, and what it is made of besides the goods."""
    return {
        "total": money_document(total),
        "discount": discount_document(discount),
        "shipping": shipping_document(charges),
        "tax": tax_document(charges, total.currency),
    }


def _line(line: BoughtLine) -> dict[str, Any]:
    return {
        "sku": line.sku,
        "title": line.title,
        "quantity": line.quantity,
        "unit_price": money_document(line.unit),
    }

"""A recount of the shop's books from its tables, against what buyers were told and what the sandbox's ledger says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.faults.buyers import PURCHASES, Receipts
from tests.faults.wire import Line
from tests.servers import Shop, wait_until
from tidegate.checkout.contracts import OrderState
from tidegate.checkout.rules import TRANSITIONS

SETTLE_S = 75.0
REPLAYS = 300
"""How many keys are asked for their answers again."""

OPEN_THINGS = """
SELECT 'charge', order_id::text, state, asked::text FROM payments.charges WHERE state IN ('intent', 'requires_action')
UNION ALL SELECT 'refund', order_id::text, state, asked::text FROM payments.refunds WHERE state = 'intent'
UNION ALL SELECT 'webhook', event_id, tries::text, '' FROM payments.webhook_events WHERE applied_at IS NULL
UNION ALL SELECT 'key', key, subject_id::text, '' FROM platform.idempotency_keys WHERE state = 'claimed'
UNION ALL SELECT 'hold', id::text, state, expires_at::text FROM inventory.holds WHERE state IN ('held', 'ordered')
UNION ALL SELECT 'order', id::text, state, pay_until::text FROM checkout.orders
    WHERE state IN ('awaiting_payment', 'payment_failed')
"""

UNTOLD = """
SELECT 'event', id::text, state, coalesce(last_error, '') FROM platform.outbox WHERE state <> 'done'
UNION ALL SELECT 'message', event_id::text, state, coalesce(last_error, '') FROM notify.deliveries WHERE state <> 'sent'
"""

STOCK = """
SELECT s.variant_id::text, s.on_hand, s.held, s.sold,
    (SELECT coalesce(sum(l.quantity), 0) FROM inventory.hold_lines AS l JOIN inventory.holds AS h ON h.id = l.hold_id
     WHERE l.variant_id = s.variant_id AND h.state = 'confirmed')::int,
    (SELECT coalesce(sum(l.quantity), 0) FROM checkout.order_lines AS l JOIN checkout.orders AS o ON o.id = l.order_id
     WHERE l.variant_id = s.variant_id AND o.state IN ('paid', 'fulfilled'))::int
FROM inventory.stock AS s
"""

LIMITS = """
SELECT coalesce(l.rule_id, o.rule_id)::text, coalesce(l.buyer_id, o.buyer_id)::text,
    coalesce(l.used, 0), coalesce(o.used, 0), l.live_hold_id::text
FROM (
    SELECT rule_id, buyer_id, used, live_hold_id FROM inventory.buyer_limits WHERE rule_id = ANY(%(limited)s::uuid[])
) AS l
FULL JOIN (
    SELECT r.rule_id, r.buyer_id, sum(r.used)::int AS used
    FROM checkout.orders AS o
    JOIN inventory.holds AS h ON h.id = o.hold_id
    CROSS JOIN LATERAL (
        SELECT i.drop_id, o.buyer_id, l.quantity FROM checkout.order_lines AS l
        JOIN catalog.drop_items AS i ON i.variant_id = l.variant_id WHERE l.order_id = o.id
        UNION ALL SELECT h.voucher_id, o.buyer_id, 1 WHERE o.discount_amount > 0
        UNION ALL SELECT h.voucher_id, '00000000-0000-0000-0000-000000000000', 1 WHERE o.discount_amount > 0
    ) AS r (rule_id, buyer_id, used)
    WHERE o.state IN ('paid', 'fulfilled') AND r.rule_id = ANY(%(limited)s::uuid[])
    GROUP BY r.rule_id, r.buyer_id
) AS o ON o.rule_id = l.rule_id AND o.buyer_id = l.buyer_id
"""

LIMITED = """
SELECT id::text, per_buyer, NULL::int FROM catalog.drops
UNION ALL SELECT id::text, per_buyer, total FROM catalog.vouchers
"""
"""What bounds buyers, how much of it each may have, and everybody together."""
EVERYBODY = "00000000-0000-0000-0000-000000000000"

LEDGER = """
SELECT o.id::text, o.state, o.total_amount,
    count(*) FILTER (WHERE p.amount > p.refunded), coalesce(sum(p.amount - p.refunded), 0)::bigint
FROM checkout.orders AS o LEFT JOIN payments.sandbox_payments AS p
    ON split_part(p.reference, '.', 1) = o.id::text AND p.state = 'succeeded'
GROUP BY o.id, o.state, o.total_amount
"""

Rows = list[tuple[Any, ...]]


def rows(shop: Shop, statement: str, *arguments: Any, **named: Any) -> Rows:
    """Rows of a query on the shop's database."""
    with psycopg.connect(shop.endpoints()["database_url"], autocommit=True) as conn:
        return conn.execute(statement, named or arguments).fetchall()


@dataclass(frozen=True, slots=True)
class Opening:
    """How the books stood before a fault: items of each variant, orders that were there already, refunds made."""

    on_hand: dict[str, int]
    orders: frozenset[str]
    refunds: int

    @classmethod
    def of(cls, shop: Shop) -> Opening:
        """As they stand now."""
        on_hand: dict[str, int] = dict(rows(shop, "SELECT variant_id::text, on_hand FROM inventory.stock"))
        orders = frozenset(row[0] for row in rows(shop, "SELECT id::text FROM checkout.orders"))
        return cls(on_hand, orders, len(rows(shop, "SELECT 1 FROM payments.refunds")))


async def recount(
    shop: Shop, opening: Opening, receipts: Receipts, *, refunded: int | None = 0, told: bool = False
) -> None:
    """Everything that must hold once a fault is over: waits until all is settled, then counts.

    `refunded`: how many payments must have been given back, None: any number. `told`: also wait for messages.
    """
    assert not receipts.strange, "\n".join(receipts.strange[:10])
    assert "deadlock detected" not in said_by_postgres(shop)
    await asyncio.to_thread(wait_until_settled, shop, OPEN_THINGS)
    if told:
        await asyncio.to_thread(wait_until_settled, shop, UNTOLD)
    check_orders(shop, opening, receipts)
    check_stock(shop, opening)
    check_limits(shop)
    check_money(shop, refunds=None if refunded is None else opening.refunds + refunded)
    check_messages(shop, told=told)
    await check_replays(shop, receipts)
    check_books(shop)


def wait_until_settled(shop: Shop, statement: str, *, timeout_s: float = SETTLE_S) -> None:
    """Wait until nothing is open any more; says what is, if that takes too long."""
    left: Rows = []

    def is_settled() -> bool:
        left[:] = rows(shop, f"{statement} LIMIT 10")
        return not left

    try:
        wait_until(is_settled, timeout_s=timeout_s)
    except AssertionError as error:
        raise AssertionError(f"not settled within {timeout_s:g} s: {left}") from error


def check_orders(shop: Shop, opening: Opening, receipts: Receipts) -> None:
    """What was acknowledged is there once and has not gone backwards, and nothing else is there."""
    acknowledged = receipts.orders()
    stand: dict[str, str] = dict(rows(shop, "SELECT id::text, state FROM checkout.orders"))
    new = {order_id: state for order_id, state in stand.items() if order_id not in opening.orders}
    assert set(acknowledged) - set(new) == set(), "acknowledged orders are missing"
    assert set(new) - set(acknowledged) == set(), "orders that nobody was told of"
    for order_id, told in acknowledged.items():
        assert OrderState(new[order_id]) in _later(OrderState(told)), f"{order_id} was {told}, is {new[order_id]}"
    bought = {
        (request.headers["idempotency-key"], answer.json()["id"])
        for request, answer in receipts.answered
        if request.path == PURCHASES and answer.status == 201
    }
    assert len(bought) == len({key for key, _ in bought}), "one key was given two orders"
    assert len(bought) == len({order_id for _, order_id in bought}), "two keys were given one order"
    released = rows(shop, "SELECT id::text, state FROM inventory.holds WHERE id = ANY(%s::uuid[])", receipts.released)
    assert len(released) == len(set(receipts.released))
    assert {state for _, state in released} <= {"released", "expired"}


def check_stock(shop: Shop, opening: Opening) -> None:
    """Every item is there, sold in exactly one paid order, and none is held by nobody."""
    for variant, on_hand, held, sold, confirmed, paid in rows(shop, STOCK):
        assert on_hand == opening.on_hand[variant], f"{variant}: items appeared or vanished"
        assert (held, sold) == (0, confirmed), f"{variant}: held {held}, sold {sold}, in confirmed holds {confirmed}"
        assert sold == paid, f"{variant}: sold {sold}, in paid orders {paid}"


def check_limits(shop: Shop) -> None:
    """What was counted under limits per buyer and of codes is what paid orders took of them, and nobody has more."""
    bounds = {rule: (each, everybody) for rule, each, everybody in rows(shop, LIMITED)}
    for rule, buyer, used, ordered, live in rows(shop, LIMITS, limited=list(bounds)):
        most = bounds[rule][1] if buyer == EVERYBODY else bounds[rule][0]
        assert (used, live) == (ordered, None), (
            f"{buyer} under {rule}: {used} counted, {ordered} in orders, live {live}"
        )
        assert used <= most, f"{buyer} has {used} of {most} under {rule}"


def check_money(shop: Shop, *, refunds: int | None) -> None:
    """The sandbox has one payment for each paid order and none for any other. `refunds`: how many there are in all."""
    for order_id, state, total, payments, kept in rows(shop, LEDGER):
        due = (1, total) if state in ("paid", "fulfilled") else (0, 0)
        assert (payments, kept) == due, f"{order_id} is {state}: {payments} payments of {kept} in all, {due} were due"
    made = rows(shop, "SELECT state FROM payments.refunds")
    assert made == [("done",)] * (len(made) if refunds is None else refunds)


def check_messages(shop: Shop, *, told: bool) -> None:
    """One event for each order that was paid; with `told`, one mail and one inbox message for each."""
    paid = [row[0] for row in rows(shop, "SELECT id::text FROM checkout.orders WHERE state IN ('paid', 'fulfilled')")]
    events = rows(shop, "SELECT payload->>'order_id' FROM platform.outbox WHERE topic = 'order.paid'")
    assert sorted(row[0] for row in events) == sorted(paid)
    if told:
        sent: dict[str, int] = dict(
            rows(shop, "SELECT channel, count(*) FROM notify.deliveries WHERE state = 'sent' GROUP BY 1")
        )
        assert sent == {"email": len(paid), "inbox": len(paid)}


async def check_replays(shop: Shop, receipts: Receipts) -> None:
    """A key that was answered gives the same answer ever after, to the letter; not refusals that time may change."""
    kept = [(r, a) for r, a in receipts.answered if a.kind in ("", "sold-out", "limit-reached", "code-used-up")]
    with Line(shop.port) as line:
        for request, answer in kept[:: max(1, len(kept) // REPLAYS)]:
            again = await line.ask("POST", request.path, request.body, request.headers)
            assert again == answer, f"{request} is answered differently later: {answer}, then {again}"


def said_by_postgres(shop: Shop) -> str:
    """PostgreSQL's log, without what was trimmed away."""
    return (shop.home / "log" / "postgres.log").read_text(errors="replace")


def check_books(shop: Shop) -> None:
    """The shop's own books close too."""
    done = shop.run("books", "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def _later(state: OrderState) -> set[OrderState]:
    """A state and all that may follow it."""
    found = {state}
    while more := {after for before in found for after in TRANSITIONS[before]} - found:
        found |= more
    return found

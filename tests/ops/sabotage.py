"""Ways to break each rule of the books and no other, on the database that `market.trade` leaves behind."""

from __future__ import annotations


def one(table: str, condition: str, *, column: str = "id", named: str = "id") -> str:
    """A condition that is true of one row of those that meet `condition`."""
    return f"{named} = (SELECT {column} FROM {table} WHERE {condition} ORDER BY 1 LIMIT 1)"


AWAITING = one("checkout.orders", "state = 'awaiting_payment'")
CANCELLED = one("checkout.orders", "state = 'cancelled'")
DECLINED = one("checkout.orders", "state = 'payment_failed'")
PAID = one("checkout.orders", "state = 'paid'")
OF_PAID = one("checkout.orders", "state = 'paid'", named="order_id")
OF_AWAITING = one("checkout.orders", "state = 'awaiting_payment'", named="order_id")
HELD_FOR_PAID = one("checkout.orders", "state = 'paid'", column="hold_id", named="hold_id")
HELD_FOR_AWAITING = one("checkout.orders", "state = 'awaiting_payment'", column="hold_id", named="hold_id")
A_LAMP = one("catalog.variants", "sku = 'LAMP'", named="variant_id")
A_KEY = one("platform.idempotency_keys", "subject_id IS NOT NULL", column="subject_id", named="subject_id")
AN_EVENT = one("platform.outbox", "topic = 'order.paid'")
IN_FLASH = one("catalog.drops", "slug = 'flash-drop'", named="rule_id")
IN_NOON = one("catalog.drops", "slug = 'noon-drop'", named="rule_id")
OF_TENOFF = one("catalog.vouchers", "code = 'TENOFF'", named="rule_id")
DISCOUNTED = one("checkout.orders", "discount_amount > 0")
OF_DISCOUNTED = one("checkout.orders", "discount_amount > 0", named="order_id")

TAXED_WITHIN = one("checkout.orders", "tax_amount > 0 AND tax_included")
OF_TAXED_WITHIN = one("checkout.orders", "tax_amount > 0 AND tax_included", named="order_id")

CAPTURE = """
    INSERT INTO payments.charges
        (order_id, attempt, provider, method, state, amount, currency, return_url, description, settled_at)
    SELECT {order_id}, 9, 'sandbox', 'tok_ok', 'captured', {amount}, 'GBP', '', '', now()
"""

ROOM = """
    INSERT INTO gate.rooms
        (id, drop_id, slug, mode, lobby_opens_at, opens_at, commitment, seed, size, frontier, root)
    SELECT gen_random_uuid(), gen_random_uuid(), 'a-room', 'draw', now(), now(), sha256('seed'), {seed}, {size},
        substring(sha256('root') FOR least({size}, 1) * 32), sha256('root')
"""

SABOTAGE: dict[str, dict[str, str]] = {
    "stock-within-bounds": {
        "more sold and held than there is": f"""
            ALTER TABLE inventory.stock DROP CONSTRAINT stock_within_on_hand;
            UPDATE inventory.stock SET on_hand = held + sold - 1 WHERE {A_LAMP}
        """,
    },
    "stock-held": {
        "too many": f"UPDATE inventory.stock SET held = held + 1 WHERE {A_LAMP}",
        "too few": f"UPDATE inventory.stock SET held = held - 1 WHERE {A_LAMP}",
        "held by nobody": "INSERT INTO inventory.stock (variant_id, on_hand, held) VALUES (gen_random_uuid(), 5, 5)",
    },
    "hold-has-lines": {
        "no lines": "DELETE FROM inventory.hold_lines WHERE hold_id IN (SELECT id FROM inventory.holds"
        " WHERE state = 'expired')",
        "lines of no hold": """
            INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency)
            VALUES (gen_random_uuid(), gen_random_uuid(), 1, 250, 'GBP')
        """,
    },
    "room-log-whole": {
        "an entry without its place": ROOM.format(seed="NULL", size=1),
    },
    "room-index-in-log": {
        "two entries of one index": f"""
            {ROOM.format(seed="NULL", size=2)};
            INSERT INTO gate.places (id, room_id, buyer_id, index) SELECT id, id, id, 0 FROM gate.rooms;
            INSERT INTO gate.former_entries (room_id, index, entry) SELECT id, 0, root FROM gate.rooms
        """,
    },
    "room-seed-kept": {
        "another seed": ROOM.format(seed="sha256('another')", size=0),
    },
    "limit-used": {
        "a purchase forgotten": f"""
            UPDATE inventory.buyer_limits SET used = used - 1 WHERE {IN_FLASH} AND live_hold_id IS NULL AND used > 0
        """,
        "a live hold forgotten": f"UPDATE inventory.buyer_limits SET used = 0 WHERE {IN_FLASH} AND used > 0",
        "too many": f"UPDATE inventory.buyer_limits SET used = used + 1, quota = quota + 1 WHERE {IN_FLASH}",
        "a buyer forgotten": f"DELETE FROM inventory.buyer_limits WHERE {IN_FLASH} AND live_hold_id IS NULL",
        "a replay that forgot live holds": f"UPDATE inventory.buyer_limits SET used = 0 WHERE {IN_NOON} AND used > 0",
        "more than since a replay": f"""
            UPDATE inventory.buyer_limits SET used = used + 1, quota = quota + 1 WHERE {IN_NOON} AND used > 0
        """,
        "a purchase since a replay forgotten": f"""
            UPDATE inventory.buyer_limits SET used = used - 1
            WHERE {IN_NOON} AND live_hold_id IS NULL AND used > 0
        """,
        "marks of a replay lost": f"""
            UPDATE inventory.buyer_limits SET carried_hold_id = NULL WHERE {IN_NOON} AND live_hold_id IS NULL
        """,
    },
    "limit-names-live-hold": {
        "a hold that is not there": f"""
            UPDATE inventory.buyer_limits SET live_hold_id = gen_random_uuid() WHERE {IN_FLASH} AND live_hold_id IS NULL
        """,
        "a hold that is over": """
            UPDATE inventory.buyer_limits AS l SET live_hold_id = h.id FROM inventory.holds AS h
            WHERE h.drop_id = l.rule_id AND h.buyer_id = l.buyer_id AND h.state = 'confirmed' AND l.live_hold_id IS NULL
        """,
    },
    "voucher-used": {
        "too many": f"UPDATE inventory.buyer_limits SET used = used + 1, quota = quota + 1 WHERE {OF_TENOFF}",
        "too few": f"UPDATE inventory.buyer_limits SET used = used - 1 WHERE {OF_TENOFF} AND used > 0",
        "nobody": f"DELETE FROM inventory.buyer_limits WHERE {OF_TENOFF}",
        "a hold that forgot it": """
            UPDATE inventory.holds SET voucher_id = gen_random_uuid() WHERE discount_amount > 0 AND state = 'confirmed'
        """,
    },
    "one-live-hold": {
        "a mark that was lost": f"UPDATE inventory.buyer_limits SET live_hold_id = NULL WHERE {IN_FLASH}",
    },
    "hold-ends-in-time": {
        "no sweeper": "UPDATE inventory.holds SET expires_at = now() - interval '2 minutes' WHERE state = 'held'",
    },
    "room-hold-has-pass": {
        "holds without a pass": "UPDATE catalog.drops SET room = 'arrival' WHERE slug = 'flash-drop'",
        "a pass without a hold": """
            INSERT INTO inventory.spent_passes (place_id, hold_id, drop_id, items)
            VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1)
        """,
    },
    "captured-charge-has-order": {
        "no order": CAPTURE.format(order_id="gen_random_uuid()", amount=250),
        "an order that does not count": f"{CAPTURE} FROM checkout.orders WHERE {CANCELLED}".format(
            order_id="id", amount=250
        ),
        "a refund that was refused": """
            UPDATE payments.refunds SET state = 'failed', settled_at = now() WHERE reason = 'paid-twice'
        """,
        "a refund that is too small": "UPDATE payments.refunds SET amount = amount - 1 WHERE reason = 'stock-gone'",
    },
    "refund-within-charge": {
        "too much": "UPDATE payments.refunds SET amount = amount + 1 WHERE reason = 'paid-twice'",
        "for nothing": """
            INSERT INTO payments.refunds (order_id, attempt, reason, state, amount, currency)
            SELECT order_id, attempt, 'kind', 'intent', 1, currency FROM payments.charges WHERE state = 'cancelled'
                AND failure <> 'captured-twice'
        """,
    },
    "charge-is-resolved": {
        "a day old": """
            UPDATE payments.charges SET created_at = now() - interval '1 day' WHERE state = 'requires_action'
        """,
    },
    "refund-is-resolved": {
        "a day old": """
            UPDATE payments.refunds SET state = 'intent', settled_at = NULL, created_at = now() - interval '1 day'
        """,
    },
    "stock-sold": {
        "too many": f"UPDATE inventory.stock SET sold = sold + 1 WHERE {A_LAMP}",
        "too few": f"UPDATE inventory.stock SET sold = sold - 1 WHERE {A_LAMP}",
    },
    "order-total": {
        "one less": f"UPDATE checkout.orders SET total_amount = total_amount - 1 WHERE {CANCELLED}",
        "more off, and the total as it was": f"""
            UPDATE checkout.orders SET discount_amount = discount_amount + 1 WHERE {DISCOUNTED};
            UPDATE inventory.holds SET discount_amount = discount_amount + 1
            WHERE {OF_DISCOUNTED}
        """,
        "delivery that nobody pays": f"""
            UPDATE checkout.orders SET shipping_amount = shipping_amount + 1, shipping_code = 'x', shipping_name = 'x'
            WHERE {CANCELLED}
        """,
        "lines of no order": """
            INSERT INTO checkout.order_lines (order_id, line_no, variant_id, sku, title, quantity, unit_amount)
            VALUES (gen_random_uuid(), 1, gen_random_uuid(), 'LAMP', 'Lamp', 1, 0)
        """,
        "no lines": f"DELETE FROM checkout.order_lines WHERE {one('checkout.orders', CANCELLED, named='order_id')}",
    },
    "order-taxes": {
        "a tax that is in no rate": f"UPDATE checkout.orders SET tax_amount = tax_amount + 1 WHERE {TAXED_WITHIN}",
        "a rate forgotten": f"DELETE FROM checkout.order_taxes WHERE {OF_TAXED_WITHIN}",
        "reckoned wrongly": f"""
            UPDATE checkout.orders SET tax_amount = tax_amount + 1 WHERE {TAXED_WITHIN};
            UPDATE checkout.order_taxes SET tax_amount = tax_amount + 1 WHERE {OF_TAXED_WITHIN}
        """,
        "of more than there was": f"""
            UPDATE checkout.order_taxes SET base_amount = base_amount + 100000, rate_bp = 0 WHERE {OF_TAXED_WITHIN};
            UPDATE checkout.order_taxes SET tax_amount = 0 WHERE {OF_TAXED_WITHIN};
            UPDATE checkout.orders SET tax_amount = 0 WHERE {TAXED_WITHIN}
        """,
    },
    "order-discount-was-promised": {
        "less was promised": f"""
            UPDATE inventory.holds SET discount_amount = discount_amount - 1
            WHERE {OF_DISCOUNTED}
        """,
    },
    "order-has-hold": {
        "another hold": f"UPDATE checkout.orders SET hold_id = gen_random_uuid() WHERE {CANCELLED}",
        "another buyer": f"UPDATE checkout.orders SET buyer_id = gen_random_uuid() WHERE {CANCELLED}",
        "an order that is not there": """
            UPDATE inventory.holds SET order_id = gen_random_uuid() WHERE state = 'expired'
        """,
        "an order that is pending for somebody else": """
            UPDATE inventory.holds SET order_id = (
                SELECT subject_id FROM platform.idempotency_keys WHERE pending_sealed IS NOT NULL
            ) WHERE state = 'expired'
        """,
    },
    "order-lines-are-held": {
        "another variant": f"UPDATE checkout.order_lines SET variant_id = gen_random_uuid() WHERE {OF_AWAITING}",
        "another price": f"UPDATE inventory.hold_lines SET unit_amount = unit_amount + 1 WHERE {HELD_FOR_PAID}",
        "another currency": f"UPDATE inventory.hold_lines SET currency = 'EUR' WHERE {HELD_FOR_AWAITING}",
    },
    "hold-follows-order": {
        "cancelled, and the stock is kept": f"UPDATE checkout.orders SET state = 'cancelled' WHERE {AWAITING}",
        "payable, and the stock is gone": f"""
            UPDATE checkout.orders SET state = 'payment_failed', pay_until = now() WHERE {CANCELLED}
        """,
    },
    "paid-order-has-charge": {
        "another sum": f"UPDATE payments.charges SET amount = amount + 1 WHERE {OF_PAID} AND state = 'captured'",
        "another currency": f"UPDATE payments.charges SET currency = 'EUR' WHERE {OF_PAID} AND state = 'captured'",
        "nothing": f"UPDATE payments.charges SET state = 'failed' WHERE {OF_PAID} AND state = 'captured'",
        "twice": f"""
            DROP INDEX payments.charges_one_capture;
            {CAPTURE.format(order_id="id", amount="total_amount")} FROM checkout.orders WHERE {PAID}
        """,
    },
    "order-ends-in-time": {
        "an hour ago": f"UPDATE checkout.orders SET pay_until = now() - interval '1 hour' WHERE {DECLINED}",
    },
    "paid-order-is-told": {
        "not at all": f"DELETE FROM platform.outbox WHERE {AN_EVENT}",
        "twice": f"""
            INSERT INTO platform.outbox (id, topic, payload)
            SELECT gen_random_uuid(), topic, payload FROM platform.outbox WHERE {AN_EVENT}
        """,
    },
    "refunded-order-is-told": {
        "not at all": "DELETE FROM platform.outbox WHERE topic = 'order.refunded'",
        "as paid": "UPDATE platform.outbox SET topic = 'order.forgotten' WHERE topic = 'order.refunded'",
    },
    "key-agrees-with-order": {
        "a refusal": f"UPDATE platform.idempotency_keys SET status = 409 WHERE {A_KEY}",
        "no order": f"UPDATE platform.idempotency_keys SET subject_id = gen_random_uuid() WHERE {A_KEY}",
        "another buyer": f"UPDATE platform.idempotency_keys SET buyer_id = gen_random_uuid() WHERE {A_KEY}",
        "another total": f"""
            UPDATE platform.idempotency_keys SET body = jsonb_set(body::jsonb, '{{total,amount}}', '1')::json
            WHERE {A_KEY}
        """,
        "no document": f"UPDATE platform.idempotency_keys SET body = '7' WHERE {A_KEY}",
    },
    "key-is-answered": {
        "claimed a day ago": f"""
            UPDATE platform.idempotency_keys
            SET state = 'claimed', status = NULL, body = NULL, claimed_at = now() - interval '1 day' WHERE {A_KEY}
        """,
    },
    "pending-order-is-held": {
        "written as well": f"""
            UPDATE platform.idempotency_keys
            SET state = 'claimed', status = NULL, body = NULL, claimed_at = now(), pending_sealed = '1' WHERE {A_KEY}
        """,
        "by nothing": """
            INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, subject_id, pending_sealed)
            VALUES (gen_random_uuid(), 'k', sha256('k'), 'claimed', gen_random_uuid(), '1')
        """,
    },
}

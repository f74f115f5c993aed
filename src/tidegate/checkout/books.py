"""The books of orders, across stock, holds, charges, events and idempotency keys.

`paid_at` is set when an order's stock is sold and stays: an order that is refunded afterwards keeps its sale but for
lines that were put back on the shelf, and one with `cancelled_at` has undone its sale. One whose money came back
because the stock was gone never had a sale, nor a `paid_at`.

They count over all orders that ever were: whoever removes old partitions of orders must remove those of their holds
and charges with them, and take their sales out of `inventory.stock`. Today nothing removes them.
"""

from __future__ import annotations

from tidegate.platform.invariants import Invariant

PENDING = """EXISTS (
    SELECT FROM platform.idempotency_keys AS k
    WHERE k.subject_id = h.order_id AND k.buyer_id = h.buyer_id AND k.state = 'claimed' AND k.pending_sealed IS NOT NULL
)"""
"""Of a hold `h`: whether its order is pending, and so in its request's key and nowhere else."""

STOCK_SOLD = Invariant(
    name="stock-sold",
    says="A variant's sold items are those of its confirmed holds, and of its paid orders, less what came back.",
    sql="""
    SELECT variant_id, s.sold AS recorded, h.sold AS in_confirmed_holds, o.sold AS in_paid_orders
    FROM inventory.stock AS s
    FULL JOIN (
        SELECT l.variant_id, sum(l.quantity)::bigint AS sold
        FROM (
            SELECT l.hold_id, l.variant_id, l.quantity FROM inventory.hold_lines AS l
            UNION ALL SELECT hold_id, variant_id, -quantity FROM inventory.returns
        ) AS l JOIN inventory.holds AS h ON l.hold_id = h.id
        WHERE h.state = 'confirmed'
        GROUP BY l.variant_id
    ) AS h USING (variant_id)
    FULL JOIN (
        SELECT l.variant_id, sum(l.quantity)::bigint AS sold
        FROM checkout.orders AS o
        JOIN (
            SELECT order_id, variant_id, quantity FROM checkout.order_lines
            UNION ALL
            SELECT b.order_id, l.variant_id, -b.quantity FROM checkout.refunded_lines AS b
            JOIN checkout.order_lines AS l ON l.order_id = b.order_id AND l.line_no = b.line_no
            WHERE b.restocked
        ) AS l ON l.order_id = o.id
        WHERE o.paid_at IS NOT NULL AND o.cancelled_at IS NULL
        GROUP BY l.variant_id
    ) AS o USING (variant_id)
    WHERE coalesce(s.sold, 0) <> coalesce(h.sold, 0) OR coalesce(s.sold, 0) <> coalesce(o.sold, 0)
    """,
)

ORDER_TOTAL = Invariant(
    name="order-total",
    says="An order's total is the sum of its lines less its discount, with delivery, and with taxes that are not within"
    " the prices; no line is without its order.",
    sql="""
    SELECT order_id, o.total_amount AS total, o.discount_amount AS discount, o.added, l.amount AS in_lines
    FROM (
        SELECT id AS order_id, total_amount, discount_amount,
            shipping_amount + CASE WHEN tax_included THEN 0 ELSE tax_amount END AS added
        FROM checkout.orders
    ) AS o
    FULL JOIN (
        SELECT order_id, sum(quantity * unit_amount)::bigint AS amount FROM checkout.order_lines GROUP BY order_id
    ) AS l USING (order_id)
    WHERE o.total_amount + o.discount_amount - o.added IS DISTINCT FROM l.amount
    """,
)

ORDER_TAXES = Invariant(
    name="order-taxes",
    says="An order's taxes are those of its rates, each reckoned on its base, and the bases are goods and delivery.",
    # A product may be of a class without a rate, so the bases may be less than everything, never more.
    sql="""
    SELECT order_id, o.tax_amount AS tax, t.amount AS in_rates, t.base, o.taxable, t.wrong
    FROM (
        SELECT id AS order_id, tax_amount,
            total_amount - CASE WHEN tax_included THEN 0 ELSE tax_amount END AS taxable
        FROM checkout.orders
    ) AS o
    FULL JOIN (
        SELECT t.order_id, sum(t.tax_amount)::bigint AS amount, sum(t.base_amount)::bigint AS base,
            count(*) FILTER (WHERE t.tax_amount <> CASE
                WHEN w.tax_included
                    THEN (2 * t.base_amount * t.rate_bp + 10000 + t.rate_bp) / (2 * (10000 + t.rate_bp))
                ELSE (2 * t.base_amount * t.rate_bp + 10000) / 20000
            END) AS wrong
        FROM checkout.order_taxes AS t LEFT JOIN checkout.orders AS w ON w.id = t.order_id
        GROUP BY t.order_id
    ) AS t USING (order_id)
    WHERE o.tax_amount IS DISTINCT FROM coalesce(t.amount, 0) OR t.base > o.taxable OR t.wrong > 0
    """,
)

ORDER_DISCOUNT_WAS_PROMISED = Invariant(
    name="order-discount-was-promised",
    says="An order takes off what its hold had promised.",
    sql="""
    SELECT o.id AS order_id, o.discount_amount AS discount, h.discount_amount AS promised, h.voucher_id
    FROM checkout.orders AS o JOIN inventory.holds AS h ON h.id = o.hold_id AND h.order_id = o.id
    WHERE o.discount_amount <> h.discount_amount
    """,
)

ORDER_HAS_HOLD = Invariant(
    name="order-has-hold",
    says="An order and its hold name each other and belong to the same buyer, and no two share one. Of an order that is"
    " pending its request's key tells.",
    sql=f"""
    SELECT o.id AS order_id, o.hold_id AS order_names, h.id AS hold_id, h.order_id AS hold_names
    FROM checkout.orders AS o
    FULL JOIN (SELECT id, buyer_id, order_id FROM inventory.holds WHERE order_id IS NOT NULL) AS h
        ON h.id = o.hold_id AND h.order_id = o.id AND h.buyer_id = o.buyer_id
    WHERE h.id IS NULL OR (
        o.id IS NULL AND NOT {PENDING}
    )
    """,  # noqa: S608
)

ORDER_LINES_ARE_HELD = Invariant(
    name="order-lines-are-held",
    says="An order that keeps or sold stock has the lines of its hold: variants, quantities, prices and currency.",
    sql=f"""
    SELECT order_id, variant_id, h.quantity AS held, h.unit_amount AS held_at, o.quantity AS ordered,
        o.unit_amount AS ordered_at
    FROM (
        SELECT h.order_id, l.variant_id, l.quantity, l.unit_amount, l.currency
        FROM inventory.holds AS h JOIN inventory.hold_lines AS l ON l.hold_id = h.id
        WHERE h.state = 'confirmed' OR (
            h.state = 'ordered' AND NOT {PENDING}
        )
    ) AS h
    FULL JOIN (
        SELECT o.id AS order_id, l.variant_id, l.quantity, l.unit_amount, o.currency
        FROM checkout.orders AS o
        JOIN checkout.order_lines AS l ON l.order_id = o.id
        JOIN inventory.holds AS h ON h.id = o.hold_id AND h.order_id = o.id
        WHERE h.state IN ('ordered', 'confirmed')
    ) AS o USING (order_id, variant_id)
    WHERE (h.quantity, h.unit_amount, h.currency) IS DISTINCT FROM (o.quantity, o.unit_amount, o.currency)
    """,  # noqa: S608
)

HOLD_FOLLOWS_ORDER = Invariant(
    name="hold-follows-order",
    says="A hold is confirmed while its order is paid and not cancelled, and keeps its stock while it may be paid.",
    sql="""
    SELECT o.id AS order_id, o.state AS order_state, o.paid_at, h.id AS hold_id, h.state AS hold_state
    FROM checkout.orders AS o JOIN inventory.holds AS h ON h.id = o.hold_id AND h.order_id = o.id
    WHERE (h.state = 'confirmed') <> (o.paid_at IS NOT NULL AND o.cancelled_at IS NULL)
        OR (o.paid_at IS NOT NULL AND o.state NOT IN ('paid', 'fulfilled', 'refunded'))
        OR (h.state = 'ordered') <> (o.state IN ('awaiting_payment', 'payment_failed'))
    """,
)

PAID_ORDER_HAS_CHARGE = Invariant(
    name="paid-order-has-charge",
    says="An order that was paid has exactly one captured charge, of its total and currency.",
    sql="""
    SELECT o.id AS order_id, o.total_amount AS total, o.currency, coalesce(c.captures, 0) AS captures, c.amount
    FROM checkout.orders AS o
    LEFT JOIN (
        SELECT order_id, count(*) AS captures, sum(amount)::bigint AS amount, min(currency) AS currency
        FROM payments.charges WHERE state = 'captured' GROUP BY order_id
    ) AS c ON c.order_id = o.id
    WHERE o.state IN ('paid', 'fulfilled', 'refunded')
        AND (c.captures, c.amount, c.currency) IS DISTINCT FROM (1, o.total_amount, o.currency)
    """,
)

ORDER_ENDS_IN_TIME = Invariant(
    name="order-ends-in-time",
    says="An order that was not paid in time is cancelled, unless its payment is still open.",
    sql="""
    SELECT o.id AS order_id, o.state, o.pay_until FROM checkout.orders AS o
    WHERE o.state IN ('awaiting_payment', 'payment_failed')
        AND o.pay_until < now() - make_interval(secs => %(order_late_s)s)
        AND NOT EXISTS (
            SELECT FROM payments.charges AS c
            WHERE c.order_id = o.id AND c.state IN ('intent', 'requires_action')
        )
    """,
)

PAID_ORDER_IS_TOLD = Invariant(
    name="paid-order-is-told",
    says="An order that was paid has told so in exactly one event, as long as events are kept.",
    sql="""
    SELECT o.id AS order_id, o.paid_at, coalesce(e.events, 0) AS events
    FROM checkout.orders AS o
    LEFT JOIN (
        SELECT payload ->> 'order_id' AS order_id, count(*) AS events
        FROM platform.outbox WHERE topic = 'order.paid' GROUP BY 1
    ) AS e ON e.order_id = o.id::text
    WHERE o.paid_at > now() - make_interval(secs => %(events_kept_s)s) AND e.events IS DISTINCT FROM 1
    """,
)

REFUNDED_ORDER_IS_TOLD = Invariant(
    name="refunded-order-is-told",
    says="An order that was refunded has told so in exactly one event, as long as events are kept.",
    # The refund is recorded in the transaction that writes the event. Without one, another rule is broken.
    sql="""
    SELECT o.id AS order_id, r.refunded_at, coalesce(e.events, 0) AS events
    FROM checkout.orders AS o
    JOIN (
        SELECT order_id, max(created_at) AS refunded_at FROM payments.refunds GROUP BY order_id
    ) AS r ON r.order_id = o.id
    LEFT JOIN (
        SELECT payload ->> 'order_id' AS order_id, count(*) AS events
        FROM platform.outbox WHERE topic = 'order.refunded' GROUP BY 1
    ) AS e ON e.order_id = o.id::text
    WHERE o.state = 'refunded' AND r.refunded_at > now() - make_interval(secs => %(events_kept_s)s)
        AND e.events IS DISTINCT FROM 1
    """,
)

KEY_AGREES_WITH_ORDER = Invariant(
    name="key-agrees-with-order",
    # Each answer is parsed once, which is most of what this rule costs.
    says="The answer that is kept for an order's idempotency key tells of that order: id, number, total and buyer.",
    sql="""
    SELECT k.subject_id AS order_id, k.buyer_id, k.status, o.number, k.claimed_at
    FROM (
        SELECT subject_id, buyer_id, status, claimed_at, answer.id, answer.number,
            answer.total ->> 'amount' AS amount, answer.total ->> 'currency' AS currency
        FROM platform.idempotency_keys
        LEFT JOIN LATERAL json_to_record(CASE json_typeof(body) WHEN 'object' THEN body END)
            AS answer (id text, number text, total json) ON true
        WHERE state = 'final' AND subject_id IS NOT NULL
    ) AS k
    LEFT JOIN checkout.orders AS o ON o.id = k.subject_id
    WHERE (201, k.buyer_id, k.id, k.number, k.amount, k.currency)
        IS DISTINCT FROM (k.status, o.buyer_id, o.id::text, o.number, o.total_amount::text, o.currency)
    """,
)

KEY_IS_ANSWERED = Invariant(
    name="key-is-answered",
    says="A request with an idempotency key gets its answer in time, also when the first process died.",
    sql="""
    SELECT subject_id AS order_id, buyer_id, claimed_at FROM platform.idempotency_keys
    WHERE state = 'claimed' AND claimed_at < now() - make_interval(secs => %(unresolved_s)s)
    """,
)

PENDING_ORDER_IS_HELD = Invariant(
    name="pending-order-is-held",
    says="An order that is pending is written nowhere else, and a hold keeps its stock.",
    sql="""
    SELECT k.subject_id AS order_id, k.buyer_id, k.claimed_at, o.state AS written_as, h.id AS hold_id,
        h.state AS hold_state
    FROM platform.idempotency_keys AS k
    LEFT JOIN inventory.holds AS h ON h.order_id = k.subject_id AND h.buyer_id = k.buyer_id
    LEFT JOIN checkout.orders AS o ON o.id = k.subject_id
    WHERE k.state = 'claimed' AND k.pending_sealed IS NOT NULL
        AND (o.id IS NOT NULL OR h.state IS DISTINCT FROM 'ordered')
    """,
)

INVARIANTS = (
    STOCK_SOLD,
    ORDER_TOTAL,
    ORDER_TAXES,
    ORDER_DISCOUNT_WAS_PROMISED,
    ORDER_HAS_HOLD,
    ORDER_LINES_ARE_HELD,
    HOLD_FOLLOWS_ORDER,
    PAID_ORDER_HAS_CHARGE,
    ORDER_ENDS_IN_TIME,
    PAID_ORDER_IS_TOLD,
    REFUNDED_ORDER_IS_TOLD,
    KEY_AGREES_WITH_ORDER,
    KEY_IS_ANSWERED,
    PENDING_ORDER_IS_HELD,
)

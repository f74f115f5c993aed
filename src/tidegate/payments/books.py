"""The books of charges and refunds.

A refund counts from when it is decided; one that the provider refused counts for nothing. A charge whose failure is
`captured-twice` took money, too: another attempt had paid its order first.
"""

from __future__ import annotations

from tidegate.platform.invariants import Invariant

CAPTURED_CHARGE_HAS_ORDER = Invariant(
    name="captured-charge-has-order",
    says="Money that was taken belongs to a paid order, or a refund covers it.",
    sql="""
    SELECT c.order_id, c.attempt, c.amount, c.currency, o.state AS order_state, r.amount AS refunded
    FROM payments.charges AS c
    LEFT JOIN checkout.orders AS o ON o.id = c.order_id
    LEFT JOIN (
        SELECT order_id, attempt, currency, sum(amount)::bigint AS amount FROM payments.refunds
        WHERE state <> 'failed' GROUP BY order_id, attempt, currency
    ) AS r ON r.order_id = c.order_id AND r.attempt = c.attempt AND r.currency = c.currency
    WHERE coalesce(r.amount, 0) < c.amount AND (
        c.failure = 'captured-twice'
        OR (c.state = 'captured' AND coalesce(o.state, '') NOT IN ('paid', 'fulfilled'))
    )
    """,
)

REFUND_WITHIN_CHARGE = Invariant(
    name="refund-within-charge",
    says="Refunds give back at most what their charge took, in its currency.",
    sql="""
    SELECT r.order_id, r.attempt, c.state AS charge_state, c.amount AS charged, r.amount AS refunded
    FROM (
        SELECT order_id, attempt, currency, sum(amount)::bigint AS amount FROM payments.refunds
        WHERE state <> 'failed' GROUP BY order_id, attempt, currency
    ) AS r
    LEFT JOIN payments.charges AS c
        ON c.order_id = r.order_id AND c.attempt = r.attempt AND c.currency = r.currency
        AND (c.state = 'captured' OR c.failure = 'captured-twice')
    WHERE r.amount > coalesce(c.amount, 0)
    """,
)

CHARGE_IS_RESOLVED = Invariant(
    name="charge-is-resolved",
    says="What became of a charge is known in time.",
    sql="""
    SELECT order_id, attempt, provider, state, asked, created_at FROM payments.charges
    WHERE state IN ('intent', 'requires_action') AND created_at < now() - make_interval(secs => %(unresolved_s)s)
    """,
)

REFUND_IS_RESOLVED = Invariant(
    name="refund-is-resolved",
    says="What became of a refund is known in time.",
    sql="""
    SELECT order_id, attempt, reason, state, asked, created_at FROM payments.refunds
    WHERE state = 'intent' AND created_at < now() - make_interval(secs => %(unresolved_s)s)
    """,
)

INVARIANTS = (CAPTURED_CHARGE_HAS_ORDER, REFUND_WITHIN_CHARGE, CHARGE_IS_RESOLVED, REFUND_IS_RESOLVED)

"""The books of stock and holds.

They count over all holds that ever were: whoever removes old partitions of holds must take their sales out of
`stock.sold` (and `on_hand`) in the same transaction. Today nothing removes them.
"""

from __future__ import annotations

from tidegate.platform.invariants import Invariant

STOCK_WITHIN_BOUNDS = Invariant(
    name="stock-within-bounds",
    says="Held and sold are not negative, and together they are at most what is on hand.",
    sql="""
    SELECT variant_id, on_hand, held, sold FROM inventory.stock
    WHERE held < 0 OR sold < 0 OR held::bigint + sold > on_hand
    """,
)

STOCK_HELD = Invariant(
    name="stock-held",
    says="A variant's held items are those of its live holds.",
    sql="""
    SELECT variant_id, s.held AS recorded, h.held AS in_live_holds
    FROM inventory.stock AS s
    FULL JOIN (
        SELECT l.variant_id, sum(l.quantity)::bigint AS held
        FROM inventory.holds AS h JOIN inventory.hold_lines AS l ON l.hold_id = h.id
        WHERE h.state IN ('held', 'ordered')
        GROUP BY l.variant_id
    ) AS h USING (variant_id)
    WHERE coalesce(s.held, 0) <> coalesce(h.held, 0)
    """,
)

HOLD_HAS_LINES = Invariant(
    name="hold-has-lines",
    says="A hold has lines, and no line is without its hold.",
    # No foreign key says so: between partitioned tables its checks would cost more than all else on a line.
    sql="""
    SELECT hold_id, h.state, l.lines
    FROM (SELECT id AS hold_id, state FROM inventory.holds) AS h
    FULL JOIN (SELECT hold_id, count(*) AS lines FROM inventory.hold_lines GROUP BY hold_id) AS l USING (hold_id)
    WHERE h.state IS NULL OR l.lines IS NULL
    """,
)

LIMIT_USED = Invariant(
    name="limit-used",
    says="What a buyer has used of a drop's limit is what their live and confirmed holds in it take.",
    # Opening a drop again forgets what was confirmed before, but for what was live then. A limit that was made or
    # cleared since it has these marks tells exactly what counts. An older one does not, nor does one that was deleted:
    # what was made since the drop opened counts, live holds do, and maybe more. `opens_at` is never before the moment
    # of opening again. Limits that are not drops' are not looked at.
    sql="""
    SELECT rule_id, buyer_id, l.used AS recorded, t.at_least, t.at_most
    FROM (
        SELECT rule_id, buyer_id, used FROM inventory.buyer_limits WHERE rule_id IN (SELECT id FROM catalog.drops)
    ) AS l
    FULL JOIN (
        SELECT h.drop_id AS rule_id, h.buyer_id,
            coalesce(sum(n.quantity) FILTER (WHERE h.live OR h.created_at >= h.surely_from), 0)::bigint AS at_least,
            coalesce(sum(n.quantity) FILTER (WHERE h.live OR h.created_at >= h.maybe_from), 0)::bigint AS at_most
        FROM (
            SELECT h.id, h.drop_id, h.buyer_id, h.created_at,
                h.state <> 'confirmed' OR h.id IS NOT DISTINCT FROM l.carried_hold_id AS live,
                CASE WHEN isfinite(l.counts_from) THEN l.counts_from ELSE d.opens_at END AS surely_from,
                coalesce(l.counts_from, '-infinity') AS maybe_from
            FROM inventory.holds AS h
            JOIN catalog.drops AS d ON d.id = h.drop_id
            LEFT JOIN inventory.buyer_limits AS l ON l.rule_id = h.drop_id AND l.buyer_id = h.buyer_id
            WHERE h.state IN ('held', 'ordered', 'confirmed')
        ) AS h
        JOIN inventory.hold_lines AS n ON n.hold_id = h.id
        GROUP BY h.drop_id, h.buyer_id
    ) AS t USING (rule_id, buyer_id)
    WHERE coalesce(l.used, 0) NOT BETWEEN coalesce(t.at_least, 0) AND coalesce(t.at_most, 0)
    """,
)

LIMIT_NAMES_LIVE_HOLD = Invariant(
    name="limit-names-live-hold",
    says="The live hold that a drop's limit names is a live hold of that buyer in that drop.",
    sql="""
    SELECT l.rule_id, l.buyer_id, l.live_hold_id
    FROM inventory.buyer_limits AS l
    JOIN catalog.drops AS d ON d.id = l.rule_id
    LEFT JOIN inventory.holds AS h
        ON h.id = l.live_hold_id AND h.drop_id = l.rule_id AND h.buyer_id = l.buyer_id
        AND h.state IN ('held', 'ordered')
    WHERE l.live_hold_id IS NOT NULL AND h.id IS NULL
    """,
)

VOUCHER_USED = Invariant(
    name="voucher-used",
    says="How often a voucher was used, by everyone and by each buyer, is in how many live and confirmed holds it is.",
    # All zeros stand for everyone.
    sql="""
    SELECT rule_id AS voucher_id, buyer_id, l.used AS recorded, t.used AS in_holds
    FROM (
        SELECT rule_id, buyer_id, used FROM inventory.buyer_limits WHERE rule_id IN (SELECT id FROM catalog.vouchers)
    ) AS l
    FULL JOIN (
        SELECT v.id AS rule_id, b.buyer_id, count(*) AS used
        FROM inventory.holds AS h
        JOIN catalog.vouchers AS v ON v.id = h.voucher_id
        CROSS JOIN LATERAL (
            VALUES (h.buyer_id), ('00000000-0000-0000-0000-000000000000'::uuid)
        ) AS b (buyer_id)
        WHERE h.state IN ('held', 'ordered', 'confirmed')
        GROUP BY v.id, b.buyer_id
    ) AS t USING (rule_id, buyer_id)
    WHERE coalesce(l.used, 0) <> coalesce(t.used, 0)
    """,
)

ONE_LIVE_HOLD = Invariant(
    name="one-live-hold",
    says="A buyer has at most one live hold in a drop: the one that their limit names.",
    sql="""
    SELECT h.drop_id, h.buyer_id, h.id AS hold_id, l.live_hold_id
    FROM inventory.holds AS h
    JOIN catalog.drops AS d ON d.id = h.drop_id
    LEFT JOIN inventory.buyer_limits AS l ON l.rule_id = h.drop_id AND l.buyer_id = h.buyer_id
    WHERE h.state IN ('held', 'ordered') AND l.live_hold_id IS DISTINCT FROM h.id
    """,
)

HOLD_ENDS_IN_TIME = Invariant(
    name="hold-ends-in-time",
    says="A hold that nobody ordered gives its stock back when its time is over.",
    sql="""
    SELECT id AS hold_id, expires_at FROM inventory.holds
    WHERE state = 'held' AND expires_at < now() - make_interval(secs => %(hold_late_s)s)
    """,
)

ROOM_HOLD_HAS_PASS = Invariant(
    name="room-hold-has-pass",
    says="Every hold in a drop with a room spent exactly one pass of that room, and every spent pass has its hold.",
    # That it is at most one is said by the table's keys. Places of rooms that are long over have left.
    sql="""
    SELECT hold_id, p.place_id, coalesce(h.drop_id, p.drop_id) AS drop_id
    FROM (
        SELECT h.id AS hold_id, h.drop_id FROM inventory.holds AS h
        JOIN catalog.drops AS d ON d.id = h.drop_id WHERE d.room <> 'none'
    ) AS h
    FULL JOIN inventory.spent_passes AS p USING (hold_id)
    LEFT JOIN gate.places AS l ON l.id = p.place_id
    LEFT JOIN gate.rooms AS r ON r.id = l.room_id
    WHERE h.hold_id IS NULL OR p.place_id IS NULL OR p.drop_id IS DISTINCT FROM h.drop_id
        OR r.drop_id IS DISTINCT FROM h.drop_id AND NOT (
            l.id IS NULL AND EXISTS (SELECT FROM gate.rooms AS o WHERE o.drop_id = h.drop_id AND o.cleared > 0)
        )
    """,
)

INVARIANTS = (
    STOCK_WITHIN_BOUNDS,
    STOCK_HELD,
    HOLD_HAS_LINES,
    LIMIT_USED,
    LIMIT_NAMES_LIVE_HOLD,
    VOUCHER_USED,
    ONE_LIVE_HOLD,
    HOLD_ENDS_IN_TIME,
    ROOM_HOLD_HAS_PASS,
)

"""Past orders: what a shop of some age has in its tables, made with INSERT ... SELECT in bounded pieces.

Orders lie evenly in the 90 days before the benchmark, with ids of their time, in their months' partitions: hold, hold
line, order, order line, captured charge, buyer's limit and finished outbox event; an idempotency key with its answer
for the last 30 days, as long as keys live.
"""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.goods import CURRENCY, PRICE
from benchmarks.probes import say
from tidegate.platform.ids import id_floor, new_id
from tidegate.platform.partitions import GROWING, months

DAYS = 90
KEY_DAYS = 30
PIECE = 100_000
LATEST = timedelta(minutes=5)
"""How old the youngest past order is, so that ids tell past orders from the benchmark's own."""

Connection = psycopg.Connection[tuple[Any, ...]]

PAST = """
CREATE TEMPORARY TABLE past ON COMMIT DROP AS
SELECT n, at, gen_random_uuid() AS buyer_id, uuidv7(at - clock_timestamp()) AS hold_id,
    uuidv7(at + interval '1 second' - clock_timestamp()) AS order_id,
    uuidv7(at + interval '2 seconds' - clock_timestamp()) AS event_id,
    upper(substr(md5(n::text), 1, 4) || '-' || substr(md5(n::text), 5, 4)) AS number,
    decode(repeat(md5(n::text), 3), 'hex') AS email, decode(repeat(md5(n::text), 9), 'hex') AS shipping
FROM (
    SELECT n, %(end)s::timestamptz - make_interval(secs => %(span_s)s * (1 - n::float8 / %(total)s)) AS at
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
) AS numbered
"""

INSERTS = (
    """
    INSERT INTO inventory.buyer_limits (rule_id, buyer_id, quota, used, counts_from)
    SELECT %(drop)s, buyer_id, 1, 1, at FROM past
    """,
    """
    INSERT INTO inventory.holds (id, buyer_id, drop_id, state, order_id, expires_at, created_at)
    SELECT hold_id, buyer_id, %(drop)s, 'confirmed', order_id, at + interval '10 minutes', at FROM past
    """,
    """
    INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency)
    SELECT hold_id, %(variant)s, 1, %(price)s, %(currency)s FROM past
    """,
    """
    INSERT INTO checkout.orders (id, number, buyer_id, hold_id, state, total_amount, currency, email_sealed,
        shipping_sealed, email_fingerprint, pay_until, created_at, paid_at)
    SELECT order_id, number, buyer_id, hold_id, 'paid', %(price)s, %(currency)s, email, shipping,
        decode(md5('e-mail ' || n::text), 'hex'), at + interval '10 minutes', at, at FROM past
    """,
    """
    INSERT INTO checkout.order_lines (order_id, line_no, variant_id, sku, title, quantity, unit_amount)
    SELECT order_id, 1, %(variant)s, 'PAST-000001', 'A lamp of the past', 1, %(price)s FROM past
    """,
    """
    INSERT INTO payments.charges (order_id, attempt, provider, method, state, amount, currency, return_url,
        description, provider_ref, next_ask_at, created_at, settled_at)
    SELECT order_id, 1, 'instant', 'tok_ok', 'captured', %(price)s, %(currency)s,
        'http://127.0.0.1:8000/orders/' || order_id || '?returned=1', number, order_id || '.1', at, at, at FROM past
    """,
    """
    INSERT INTO platform.outbox (id, topic, payload, state, attempts, next_attempt_at, created_at)
    SELECT event_id, 'order.paid', jsonb_build_object('order_id', order_id, 'number', number, 'buyer_id', buyer_id,
        'lines', jsonb_build_array(jsonb_build_object('sku', 'PAST-000001', 'title', 'A lamp of the past'))),
        'done', 1, at, at FROM past
    """,
    """
    INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, subject_id, status, body, claimed_at)
    SELECT buyer_id, 'purchase-' || n, decode(repeat(md5(n::text), 2), 'hex'), 'final', order_id, 201,
        json_build_object('id', order_id, 'number', number, 'state', 'paid', 'pay_until', at, 'failure', NULL,
            'next_action', NULL, 'total', json_build_object('amount', %(price)s::int, 'currency', %(currency)s::text),
            'lines', json_build_array(json_build_object('sku', 'PAST-000001', 'title', 'A lamp of the past'))), at
    FROM past WHERE at > %(end)s::timestamptz - make_interval(days => %(key_days)s)
    """,
)

TABLES = (
    "inventory.buyer_limits", "inventory.holds", "inventory.hold_lines", "checkout.orders", "checkout.order_lines",
    "payments.charges", "platform.outbox", "platform.idempotency_keys",
)  # fmt: skip


def make_past_partitions(conn: Connection, *, now: datetime) -> None:
    """The partitions of the months that past orders lie in; the coming ones are there already."""
    starts = months((now - timedelta(days=DAYS)).astimezone(UTC), 5)
    this_month = months(now.astimezone(UTC), 1)[0]
    for table in GROWING:
        schema, name = table.split(".")
        for start, end in itertools.pairwise(starts):
            if start < this_month:
                conn.execute(
                    sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                        sql.Identifier(schema, f"{name}_{start:%Y_%m}"),
                        sql.Identifier(schema, name),
                        sql.Literal(str(id_floor(start))),
                        sql.Literal(str(id_floor(end))),
                    )
                )


def add_orders(conn: Connection, *, count: int, end: datetime) -> None:
    """`count` paid orders in the 90 days before `end`, then VACUUM and ANALYZE: autovacuum would have been there."""
    began = time.monotonic()
    given = {
        "drop": new_id(),
        "variant": new_id(),
        "price": PRICE,
        "currency": CURRENCY,
        "end": end - LATEST,
        "key_days": KEY_DAYS,
        "span_s": DAYS * 86_400,
        "total": count,
    }
    if count <= 0:
        return
    for first in range(1, count + 1, PIECE):
        bounds = {"first": first, "last": min(first + PIECE - 1, count)}
        with conn.transaction():
            conn.execute(PAST, given | bounds)
            for statement in INSERTS:
                conn.execute(statement, given)
        if first % (10 * PIECE) == 1:
            say(f"past orders: {bounds['last']:,} of {count:,} after {time.monotonic() - began:.0f} s")
    for table in TABLES:
        conn.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(*table.split("."))))

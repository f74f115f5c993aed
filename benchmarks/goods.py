"""What a benchmark sells, and to whom: written with COPY, since nothing of it is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from redis import Redis

from benchmarks.visits import token_of
from tidegate.accounts.contracts import Person, Role
from tidegate.accounts.session_cache import SESSION_KEY, kept_record
from tidegate.accounts.sessions import token_hash
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.sealing import current_sealer

DROP = "benchmark-drop"
CODE = "BENCHMARK"
SKU_FORMAT = "HOT-%06d"
CURRENCY = "GBP"
PRICE = 1_999
"""Minor units."""
STOCK = 1_000_000_000
"""More than any run can sell: what is measured is buying, not refusing."""
KNOWN_S = 900
"""How long Valkey knows those who have looked around: longer than any stretch of load."""
KNOWN_AT_ONCE = 2_000

Connection = psycopg.Connection[tuple[Any, ...]]


def sell(conn: Connection, *, variants: int, on_hand: int = STOCK) -> tuple[UUID, list[UUID]]:
    """One product with `variants` variants in one open drop, one each per buyer; returns drop and variants."""
    product, drop = new_id(), new_id()
    ids = [new_id() for _ in range(variants)]
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(
            "INSERT INTO catalog.products (id, slug, title) VALUES (%s, 'benchmark-lamp', 'The benchmark lamp')",
            (product,),
        )
        cursor.execute(
            "INSERT INTO catalog.drops (id, slug, title, opens_at, per_buyer, room, guests)"
            " VALUES (%s, %s, 'The benchmark drop', clock_timestamp() - interval '1 minute', 1, 'none', true)",
            (drop, DROP),
        )
        with cursor.copy("COPY catalog.variants (id, product_id, sku, options, position) FROM STDIN") as copy:
            for number, variant in enumerate(ids):
                copy.write_row((variant, product, SKU_FORMAT % number, Jsonb([]), number))
        with cursor.copy("COPY catalog.prices (variant_id, currency, amount) FROM STDIN") as copy:
            for variant in ids:
                copy.write_row((variant, CURRENCY, PRICE))
        with cursor.copy("COPY catalog.drop_items (drop_id, variant_id, quantity) FROM STDIN") as copy:
            for variant in ids:
                copy.write_row((drop, variant, on_hand))
        with cursor.copy("COPY inventory.stock (variant_id, on_hand) FROM STDIN") as copy:
            for variant in ids:
                copy.write_row((variant, on_hand))
    conn.execute("ANALYZE catalog.products, catalog.variants, catalog.prices, catalog.drop_items, inventory.stock")
    return drop, ids


def add_code(conn: Connection) -> str:
    """A voucher that each buyer may use once: ten percent off. Returns its code."""
    conn.execute(
        "INSERT INTO catalog.vouchers (id, code, percent_off, total, per_buyer, starts_at)"
        " VALUES (%s, %s, 10, 999999999, 1, clock_timestamp() - interval '1 minute')",
        (new_id(), CODE),
    )
    return CODE


def add_buyers(conn: Connection, *, first: int, count: int) -> list[UUID]:
    """`count` customers with a session each; their tokens follow from their numbers. Returns their ids."""
    people = [new_id() for _ in range(count)]
    sealed = current_sealer().seal("buyer@example.com", column="accounts.people.email_sealed")
    with conn.transaction(), conn.cursor() as cursor:
        columns = "id, role, email_sealed, email_fingerprint"
        with cursor.copy(f"COPY accounts.people ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(("uuid", "text", "bytea", "bytea"))
            for number, person in enumerate(people, start=first):
                fingerprint = hashlib.sha256(b"email %d" % number).digest()
                copy.write_row((person, "customer", sealed, fingerprint))
        row = cursor.execute("SELECT clock_timestamp() + interval '1 day'").fetchone()
        assert row is not None
        columns = "token_hash, person_id, expires_at"
        with cursor.copy(f"COPY accounts.sessions ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(("bytea", "uuid", "timestamptz"))
            for number, person in enumerate(people, start=first):
                copy.write_row((token_hash(token_of(number)), person, row[0]))
    conn.execute("ANALYZE accounts.people, accounts.sessions")
    return people


def look_around(valkey_url: str, people: Sequence[UUID], *, first: int) -> None:
    """Leave in Valkey what it knows of those who have opened a page before they buy: their sessions."""
    with Redis.from_url(valkey_url) as valkey:
        line = valkey.pipeline(transaction=False)
        for number, person in enumerate(people):
            record = kept_record(Person(PersonId(person), Role.CUSTOMER))
            line.set(SESSION_KEY + token_hash(token_of(first + number)), record, ex=KNOWN_S)
            if len(line) == KNOWN_AT_ONCE:
                line.execute()
        line.execute()

"""Erasing what belongs to somebody or something from all tables of a schema, also those that came later."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from psycopg.sql import SQL, Composed, Identifier, Literal

from tidegate.platform.database import Connection

TABLES = """
SELECT c.relname FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE n.nspname = %s AND a.attname = %s AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
    AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname
"""


CHILDREN = """
SELECT c.relname, ARRAY(
        SELECT a.attname FROM unnest(f.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.number ORDER BY k.place
    ), ARRAY(
        SELECT a.attname FROM unnest(f.confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute AS a ON a.attrelid = f.confrelid AND a.attnum = k.number ORDER BY k.place
    )
FROM pg_constraint AS f
JOIN pg_class AS c ON c.oid = f.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS p ON p.oid = f.confrelid
WHERE f.contype = 'f' AND f.confdeltype IN ('a', 'r') AND f.conparentid = 0 AND n.nspname = %(schema)s
    AND p.relname = %(table)s AND p.relnamespace = n.oid AND c.oid <> p.oid
"""
DEEPEST = 5
"""Tables that refer to tables that refer to ..."""


async def delete_rows(conn: Connection, *, schema: str, column: str, ids: Collection[UUID]) -> int:
    """Delete the rows of every table of `schema` whose uuid `column` is one of `ids`; returns how many.

    Rows of the same schema that refer to them go first.
    """
    if not ids:
        return 0
    found = await conn.execute(TABLES, (schema, column))
    tables = [row[0] for row in await found.fetchall()]
    return sum([await delete_from(conn, schema=schema, table=table, column=column, ids=ids) for table in tables])


async def delete_from(conn: Connection, *, schema: str, table: str, column: str, ids: Collection[UUID]) -> int:
    """Delete the rows of one table, and before them those of the same schema that refer to them."""
    chosen = SQL("{} = ANY({})").format(Identifier(column), Literal(list(ids)))
    return await _delete(conn, schema, table, chosen, DEEPEST)


async def _delete(conn: Connection, schema: str, table: str, chosen: Composed, depth: int) -> int:
    children = await conn.execute(CHILDREN, {"schema": schema, "table": table})
    for child, columns, referred in await children.fetchall() if depth else []:
        parents = SQL("({}) IN (SELECT {} FROM {} WHERE {})").format(
            _names(columns), _names(referred), Identifier(schema, table), chosen
        )
        await _delete(conn, schema, child, parents, depth - 1)
    return (await conn.execute(SQL("DELETE FROM {} WHERE {}").format(Identifier(schema, table), chosen))).rowcount


def _names(columns: Sequence[str]) -> Composed:
    return SQL(", ").join(Identifier(column) for column in columns)


async def forget_subjects(conn: Connection, *, order_ids: Collection[UUID], people: Collection[UUID]) -> None:
    """Delete idempotency keys and events of orders, and the keys of people."""
    await conn.execute("DELETE FROM platform.idempotency_keys WHERE subject_id = ANY(%s)", (list(order_ids),))
    await conn.execute("DELETE FROM platform.idempotency_keys WHERE buyer_id = ANY(%s)", (list(people),))
    await conn.execute(
        "DELETE FROM platform.outbox WHERE payload ->> 'order_id' = ANY(%s)", ([str(id) for id in order_ids],)
    )

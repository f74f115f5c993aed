"""Erasing follows what refers to a row, within its schema, whatever tables came later."""

from __future__ import annotations

from uuid import UUID

from tidegate.platform.database import Database
from tidegate.platform.erasing import delete_from, delete_rows
from tidegate.platform.ids import new_id

LATER = """
CREATE SCHEMA later;
CREATE TABLE later.parcels (id uuid PRIMARY KEY, order_id uuid NOT NULL);
CREATE TABLE later.contents (parcel_id uuid NOT NULL REFERENCES later.parcels (id), line integer NOT NULL,
    PRIMARY KEY (parcel_id, line));
CREATE TABLE later.marks (parcel_id uuid, line integer,
    FOREIGN KEY (parcel_id, line) REFERENCES later.contents (parcel_id, line));
CREATE TABLE later.notes (order_id uuid NOT NULL, text text) PARTITION BY RANGE (order_id);
CREATE TABLE later.notes_default PARTITION OF later.notes DEFAULT;
CREATE TABLE later.named (order_id text);
"""
TABLES = ("parcels", "contents", "marks", "notes", "named")


async def fill(database: Database) -> tuple[UUID, UUID]:
    """Two orders with the same in every table."""
    orders = new_id(), new_id()
    async with database.transaction() as conn:
        await conn.execute(LATER)
        for order in orders:
            parcel = new_id()
            await conn.execute("INSERT INTO later.parcels VALUES (%s, %s)", (parcel, order))
            await conn.execute("INSERT INTO later.contents VALUES (%s, 1)", (parcel,))
            await conn.execute("INSERT INTO later.marks VALUES (%s, 1)", (parcel,))
            await conn.execute("INSERT INTO later.notes VALUES (%s, 'x')", (order,))
            await conn.execute("INSERT INTO later.named VALUES (%s)", (str(order),))
    return orders


async def left(database: Database) -> list[int]:
    async with database.connection() as conn:
        rows = [await (await conn.execute(f"SELECT count(*) FROM later.{t}".encode())).fetchone() for t in TABLES]
    return [row[0] for row in rows if row is not None]


async def test_what_refers_to_a_row_goes_with_it_and_nothing_else(database: Database) -> None:
    first, _ = await fill(database)
    async with database.transaction() as conn:
        assert await delete_rows(conn, schema="later", column="order_id", ids=[first]) == 2
    assert await left(database) == [1, 1, 1, 1, 2], "a column of another type is not looked at"


async def test_nothing_of_nobody(database: Database) -> None:
    await fill(database)
    async with database.transaction() as conn:
        assert await delete_rows(conn, schema="later", column="order_id", ids=[]) == 0
        assert await delete_from(conn, schema="later", table="parcels", column="id", ids=[new_id()]) == 0
    assert await left(database) == [2, 2, 2, 2, 2]

"""Drops: made once, closed, opened again; one live drop per variant."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.catalog.makers import a_product, write
from tidegate.catalog import (
    Drop,
    DropExists,
    DropTerms,
    Room,
    UnknownDrop,
    UnknownVariant,
    VariantInDrop,
    close_drop,
    create_drop,
    find_drop,
    list_drops,
    purchase_terms,
    reopen_drop,
)
from tidegate.platform.database import Database
from tidegate.platform.problems import InvalidRequest, Problem

OPENS = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


async def create(database: Database, slug: str = "noon", sku: str = "TEE", **other: Any) -> Drop:
    asked: dict[str, Any] = {"title": "", "quantity": 10, "opens_at": OPENS, "per_buyer": 2} | other
    async with database.transaction() as conn:
        return await create_drop(conn, slug=slug, sku=sku, **asked)


async def terms(database: Database, sku: str = "TEE") -> DropTerms | None:
    async with database.connection() as conn:
        return (await purchase_terms(conn, skus=[sku], currency="GBP"))[sku].drop


async def test_a_drop_from_its_making_to_its_replay(database: Database) -> None:
    await write(database, a_product("tee"))
    drop = await create(database)
    assert (drop.slug, drop.title, drop.opens_at, drop.closed_at) == ("noon", "Tee", OPENS, None)
    assert [(item.sku, item.quantity) for item in drop.items] == [("TEE", 10)]
    assert await terms(database) == DropTerms(drop.id, "noon", OPENS, 2, Room.NONE)
    async with database.transaction() as conn:
        closed = await close_drop(conn, slug="noon")
        assert closed.closed_at is not None
        assert await close_drop(conn, slug="noon") == closed
    assert await terms(database) is None
    later = OPENS + timedelta(days=1)
    async with database.transaction() as conn:
        again = await reopen_drop(conn, slug="noon", opens_at=later, guests=True)
    assert (again.id, again.opens_at, again.closed_at) == (drop.id, later, None)
    assert await terms(database) == DropTerms(drop.id, "noon", later, 2, Room.NONE, guests=True)


async def test_live_drops_are_listed_first(database: Database) -> None:
    await write(database, a_product("tee", "A", "B"))
    await create(database, "first", "A", title="First")
    async with database.transaction() as conn:
        await close_drop(conn, slug="first")
    await create(database, "second", "B", opens_at=OPENS - timedelta(days=9))
    async with database.connection() as conn:
        assert [drop.slug for drop in await list_drops(conn)] == ["second", "first"]
        assert await find_drop(conn, slug="no\x00pe") is None


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"sku": "nope"}, UnknownVariant),
        ({"sku": "\x00"}, UnknownVariant),
        ({"slug": "No Slug"}, InvalidRequest),
        ({"title": "x" * 256}, InvalidRequest),
        ({"quantity": 0}, InvalidRequest),
        ({"quantity": 2**40}, InvalidRequest),
        ({"per_buyer": 0}, InvalidRequest),
        ({"per_buyer": 11}, InvalidRequest),
    ],
)
async def test_what_cannot_be_a_drop(database: Database, other: dict[str, Any], error: type[Problem]) -> None:
    await write(database, a_product("tee"))
    with pytest.raises(error):
        await create(database, **other)


async def test_names_and_variants_are_taken_once(database: Database) -> None:
    await write(database, a_product("tee", "A", "B"))
    await create(database, "first", "A")
    with pytest.raises(DropExists):
        await create(database, "first", "B")
    with pytest.raises(VariantInDrop):
        await create(database, "second", "A")
    async with database.transaction() as conn:
        await close_drop(conn, slug="first")
    await create(database, "second", "A")
    async with database.transaction() as conn:
        with pytest.raises(VariantInDrop):
            await reopen_drop(conn, slug="first", opens_at=OPENS, guests=False)
        with pytest.raises(UnknownDrop):
            await close_drop(conn, slug="third")


async def test_of_many_that_make_the_same_drop_one_does(database: Database) -> None:
    await write(database, a_product("tee"))
    made = await asyncio.gather(*(create(database, f"drop-{n}") for n in range(5)), return_exceptions=True)
    assert sum(isinstance(one, Drop) for one in made) == 1
    assert sum(isinstance(one, VariantInDrop) for one in made) == 4

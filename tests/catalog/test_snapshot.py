"""What a process keeps of the catalogue: never older than what is committed, and bounded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
import pytest

from tests.catalog.files import product_file
from tests.catalog.makers import Importing, a_product, a_voucher, write
from tidegate.catalog import (
    Snapshot,
    Status,
    Terms,
    VoucherTerms,
    close_drop,
    close_voucher,
    create_drop,
    find_variants,
    reopen_drop,
)
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import VariantId, new_id
from tidegate.platform.settings import Settings

OPENS = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
TABLES = ("products", "variants", "prices", "drops", "drop_items", "vouchers")


@pytest.fixture
def snapshot() -> Snapshot:
    return new_snapshot()


def new_snapshot(max_entries: int = 100) -> Snapshot:
    return Snapshot(currency="GBP", max_entries=max_entries)


async def terms_in(snapshot: Snapshot, conn: Connection, *skus: str) -> dict[str, Terms]:
    found, _ = await snapshot.answer_with_rates(conn, await snapshot.ask(conn), skus)
    return found


async def terms(snapshot: Snapshot, database: Database, *skus: str) -> dict[str, Terms]:
    async with database.transaction() as conn:
        return await terms_in(snapshot, conn, *skus)


async def vouchers(snapshot: Snapshot, database: Database, *codes: str) -> dict[str, VoucherTerms]:
    async with database.transaction() as conn:
        return await snapshot.vouchers(conn, codes)


async def price(snapshot: Snapshot, database: Database, sku: str = "TEE") -> int | None:
    found = await terms(snapshot, database, sku)
    return found[sku].price.amount if sku in found else None


async def revision(conn: Connection) -> int:
    row = await (await conn.execute("SELECT sum(counter)::bigint FROM catalog.revision")).fetchone()
    assert row is not None
    return int(row[0])


async def set_price(conn: Connection, amount: int) -> None:
    await conn.execute("UPDATE catalog.prices SET amount = %s", (amount,))


async def asked_again(snapshot: Snapshot, database: Database, skus: Sequence[str]) -> set[str]:
    """Which of these SKUs the snapshot does not know by itself: the catalogue is hidden from its transaction."""
    async with database.connection() as conn, conn.transaction(force_rollback=True):
        await conn.execute("ALTER TABLE catalog.variants RENAME TO hidden")
        unknown = set()
        for sku in skus:
            try:
                async with conn.transaction():
                    await terms_in(snapshot, conn, sku)
            except psycopg.errors.UndefinedTable:
                unknown.add(sku)
        return unknown


async def test_what_is_known_is_not_asked_again(database: Database, snapshot: Snapshot) -> None:
    await write(database, a_product("tee"), a_product("draft", status=Status.DRAFT))
    first = await terms(snapshot, database, "TEE", "DRAFT", "FORGED", "TEE")
    assert list(first) == ["TEE"]
    assert await asked_again(snapshot, database, ["TEE", "DRAFT", "FORGED", "NEW"]) == {"NEW"}
    assert await terms(snapshot, database, "TEE") == first


async def test_a_change_by_hand_is_seen_by_the_next_transaction(database: Database, snapshot: Snapshot) -> None:
    await write(database, a_product("tee"))
    assert await price(snapshot, database) == 100
    async with database.connection() as conn:
        await set_price(conn, 250)
    assert await price(snapshot, database) == 250
    async with database.connection() as conn:
        await conn.execute("UPDATE catalog.products SET status = 'archived'")
    assert await price(snapshot, database) is None


async def test_an_import_is_seen_and_one_that_changes_nothing_counts_nothing(
    database: Database, snapshot: Snapshot
) -> None:
    mug = {"handle": "mug", "title": "Mug", "price": "2.00"}
    assert await price(snapshot, database, "MUG") is None
    await Importing(database).run(product_file(mug))
    assert await price(snapshot, database, "MUG") == 200
    async with database.connection() as conn:
        before = await revision(conn)
        await Importing(database).run(product_file(mug))
        assert await revision(conn) == before
        await Importing(database).run(product_file(mug | {"price": "3.00"}))
        assert await revision(conn) > before
    assert await price(snapshot, database, "MUG") == 300


async def test_a_drop_is_seen_when_it_opens_closes_and_opens_again(database: Database, snapshot: Snapshot) -> None:
    await write(database, a_product("tee"))

    async def drop() -> str | None:
        found = (await terms(snapshot, database, "TEE"))["TEE"].drop
        return found.slug if found else None

    assert await drop() is None
    async with database.transaction() as conn:
        await create_drop(conn, slug="noon", title="", sku="TEE", quantity=5, opens_at=OPENS, per_buyer=1)
    assert await drop() == "noon"
    async with database.transaction() as conn:
        await close_drop(conn, slug="noon")
    assert await drop() is None
    async with database.transaction() as conn:
        await reopen_drop(conn, slug="noon", opens_at=OPENS, guests=False)
    assert await drop() == "noon"


async def test_a_change_that_is_not_committed_is_nobody_elses(database: Database, snapshot: Snapshot) -> None:
    await write(database, a_product("tee"))
    assert await price(snapshot, database) == 100
    async with database.connection() as conn:
        async with conn.transaction(force_rollback=True):
            await set_price(conn, 1)
            assert (await terms_in(snapshot, conn, "TEE"))["TEE"].price.amount == 1  # its own transaction sees it
            assert await price(snapshot, database) == 100
        assert await price(snapshot, database) == 100
        async with conn.transaction():
            await set_price(conn, 2)
            assert await price(snapshot, database) == 100
    assert await price(snapshot, database) == 2


async def test_a_load_that_a_change_overtakes_is_not_kept_under_the_new_revision(
    database: Database, snapshot: Snapshot
) -> None:
    """One transaction is asked before a change and answered after another has seen the change."""
    await write(database, a_product("tee"))
    async with database.connection() as conn, conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        asked = await snapshot.ask(conn)
        async with database.connection() as other:
            await set_price(other, 700)
        assert await terms(snapshot, database, "FORGED") == {}  # the new revision, and the SKU is not loaded
        assert (await snapshot.answer_with_rates(conn, asked, ["TEE"]))[0]["TEE"].price.amount == 100
    assert await price(snapshot, database) == 700


async def test_two_processes_see_the_same_change(
    database: Database, settings: Settings, database_url: str, snapshot: Snapshot
) -> None:
    await write(database, a_product("tee"))
    other = new_snapshot()
    for amount in (300, 400):
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute("UPDATE catalog.prices SET amount = %s", (amount,))
        assert await price(snapshot, database) == amount
        assert await price(other, database) == amount


@pytest.mark.parametrize("table", TABLES)
async def test_every_kind_of_change_counts_once_it_is_committed(database: Database, table: str) -> None:
    await write(database, a_product("tee"))
    async with database.transaction() as conn:
        await create_drop(conn, slug="noon", title="", sku="TEE", quantity=5, opens_at=OPENS, per_buyer=1)
    await a_voucher(database, "TENOFF")
    column = {"prices": "amount", "drop_items": "quantity", "drops": "per_buyer"}.get(table, "created_at")
    changes = [
        f"UPDATE catalog.{table} SET {column} = {column}",
        f"INSERT INTO catalog.{table} SELECT * FROM catalog.{table} ON CONFLICT DO NOTHING",
        f"TRUNCATE catalog.{table} CASCADE",
        f"DELETE FROM catalog.{table}",
    ]
    async with database.connection() as conn, database.connection() as watcher:
        for change in changes:
            before = await revision(watcher)
            async with conn.transaction():
                await conn.execute(change)
                assert await revision(watcher) == before
            assert await revision(watcher) > before
            before = await revision(watcher)
            async with conn.transaction(force_rollback=True):
                await conn.execute(change)
            assert await revision(watcher) == before


async def test_made_up_skus_push_nothing_real_out_and_stay_bounded(database: Database) -> None:
    snapshot = new_snapshot(max_entries=3)
    await write(database, a_product("real", "A", "B", "C", "D"))
    await terms(snapshot, database, "A", "B")
    forged = [f"forged-{n}" for n in range(50)]
    for sku in forged:
        await terms(snapshot, database, sku)
    assert await asked_again(snapshot, database, ["A", "B", *forged]) == set(forged[:-3])
    assert len(await terms(snapshot, database, "A", "B", "C", "D")) == 4
    assert await asked_again(snapshot, database, ["A", "B", "C", "D"]) == {"A"}


@pytest.mark.parametrize("sku", ["", "x" * 101, "\0", "a\0b", "\ud800"])
async def test_what_cannot_be_a_sku_is_not_looked_up(database: Database, snapshot: Snapshot, sku: str) -> None:
    assert await terms(snapshot, database, sku) == {}
    assert await asked_again(snapshot, database, [sku]) == set()


async def codes_asked_again(snapshot: Snapshot, database: Database, codes: Sequence[str]) -> set[str]:
    """As `asked_again`, of codes."""
    async with database.connection() as conn, conn.transaction(force_rollback=True):
        await conn.execute("ALTER TABLE catalog.vouchers RENAME TO hidden")
        unknown = set()
        for code in codes:
            try:
                async with conn.transaction():
                    await snapshot.vouchers(conn, [code])
            except psycopg.errors.UndefinedTable:
                unknown.add(code)
        return unknown


async def test_a_voucher_is_seen_when_it_is_made_and_closed(database: Database, snapshot: Snapshot) -> None:
    assert await vouchers(snapshot, database, "TENOFF") == {}
    made = await a_voucher(database, "TENOFF")
    assert await vouchers(snapshot, database, "TENOFF", "FORGED") == {"TENOFF": made}
    assert await codes_asked_again(snapshot, database, ["TENOFF", "FORGED", "NEW"]) == {"NEW"}
    async with database.transaction() as conn:
        closed = await close_voucher(conn, code="TENOFF")
    assert await vouchers(snapshot, database, "TENOFF") == {"TENOFF": closed}
    assert closed.closed_at is not None


async def test_made_up_codes_push_nothing_real_out_and_stay_bounded(database: Database) -> None:
    snapshot = new_snapshot(max_entries=3)
    real = [(await a_voucher(database, code)).code for code in "ABCD"]
    await vouchers(snapshot, database, "A", "B")
    forged = [f"FORGED-{n}" for n in range(50)]
    for code in forged:
        await vouchers(snapshot, database, code)
    assert await codes_asked_again(snapshot, database, ["A", "B", *forged]) == set(forged[:-3])
    assert set(await vouchers(snapshot, database, *real)) == set(real)
    assert await codes_asked_again(snapshot, database, real) == {"A"}
    impossible = ["", "X" * 65, "\0", "\ud800", "lower", "A B"]
    assert await vouchers(snapshot, database, *impossible) == {}
    assert await codes_asked_again(snapshot, database, impossible) == set(), "what cannot be a code is not looked up"


async def test_variants_have_terms_whatever_the_products_status(database: Database, snapshot: Snapshot) -> None:
    await write(database, a_product("tee", "S", "M", status=Status.DRAFT))
    async with database.transaction() as conn:
        ids = await find_variants(conn, skus=["S", "M"])
        stranger = VariantId(new_id())
        found, _ = await snapshot.by_variant_with_rates(
            conn, await snapshot.ask(conn), [ids["M"], ids["S"], ids["M"], stranger]
        )
        assert {variant: one.price.amount for variant, one in found.items()} == {ids["S"]: 100, ids["M"]: 200}
        await set_price(conn, 900)
        assert (await snapshot.by_variant_with_rates(conn, await snapshot.ask(conn), [ids["S"]]))[0][
            ids["S"]
        ].price.amount == 900


async def test_in_a_pipeline_the_revision_waits_for_nothing(database: Database, snapshot: Snapshot) -> None:
    await write(database, a_product("tee"))
    for _ in range(2):
        async with database.connection() as conn, conn.pipeline(), conn.transaction():
            asked = await snapshot.ask(conn)
            mine = await conn.execute("SELECT 7")
            assert (await snapshot.answer_with_rates(conn, asked, ["TEE"]))[0]["TEE"].price.amount == 100
            assert await mine.fetchone() == (7,)

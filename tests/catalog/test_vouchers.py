"""Making, finding, listing and closing vouchers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.errors import CheckViolation

from tests.catalog.makers import a_voucher
from tidegate.catalog import (
    UnknownVoucher,
    VoucherExists,
    VoucherTerms,
    clean_code,
    close_voucher,
    create_voucher,
    find_voucher,
    list_vouchers,
)
from tidegate.platform.database import Database
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest

STARTS = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
FIVE = Money(500, "GBP")


async def create(database: Database, **options: Any) -> VoucherTerms:
    terms: dict[str, Any] = {"code": "TENOFF", "percent_off": 10, "total": 5, "per_buyer": 1, "starts_at": STARTS}
    async with database.transaction() as conn:
        return await create_voucher(conn, **(terms | options))


async def find(database: Database, code: str) -> VoucherTerms | None:
    async with database.connection() as conn:
        return await find_voucher(conn, code=code)


async def test_a_code_is_found_in_any_case(database: Database) -> None:
    made = await create(database, code="  Spring-Sale_1 ", ends_at=STARTS + timedelta(days=1))
    assert (made.code, made.percent_off, made.amount_off) == ("SPRING-SALE_1", 10, None)
    assert (made.total, made.per_buyer, made.starts_at, made.closed_at) == (5, 1, STARTS, None)
    assert made.ends_at == STARTS + timedelta(days=1)
    for typed in ("spring-sale_1", " SPRING-SALE_1\n", "Spring-Sale_1"):
        assert await find(database, typed) == made
    for other in ("SPRING-SALE", "", "\0", "\ud800", "x" * 10_000):
        assert await find(database, other) is None


async def test_an_amount_has_its_currency(database: Database) -> None:
    made = await create(database, percent_off=None, amount_off=FIVE)
    assert (made.percent_off, made.amount_off) == (None, FIVE)


async def test_a_code_is_used_once_for_all_time(database: Database) -> None:
    await create(database)
    async with database.transaction() as conn:
        await close_voucher(conn, code="tenoff")
    with pytest.raises(VoucherExists, match="TENOFF"):
        await create(database, code="TenOff")


async def test_closing_keeps_the_first_time_and_lists_it_last(database: Database) -> None:
    for code in ("ONE", "TWO", "THREE"):
        await a_voucher(database, code)
    async with database.transaction() as conn:
        closed = await close_voucher(conn, code="three")
        assert closed.closed_at is not None
        assert await close_voucher(conn, code="THREE") == closed
        assert [each.code for each in await list_vouchers(conn)] == ["TWO", "ONE", "THREE"]
        assert [each.code for each in await list_vouchers(conn, limit=1)] == ["TWO"]
        with pytest.raises(UnknownVoucher, match="'NOPE'"):
            await close_voucher(conn, code="nope")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"code": ""}, "cannot be a voucher's code"),
        ({"code": "-A"}, "cannot be a voucher's code"),
        ({"code": "A B"}, "cannot be a voucher's code"),
        ({"code": "É"}, "cannot be a voucher's code"),
        ({"code": "A" * 65}, "cannot be a voucher's code"),
        ({"percent_off": None}, "either a percentage or an amount"),
        ({"amount_off": FIVE}, "either a percentage or an amount"),
        ({"percent_off": 0}, "1 to 100 percent"),
        ({"percent_off": 101}, "1 to 100 percent"),
        ({"percent_off": None, "amount_off": Money(0, "GBP")}, "more than nothing"),
        ({"total": 0}, "1 to 999,999,999 times"),
        ({"total": 10**9}, "1 to 999,999,999 times"),
        ({"per_buyer": 0}, "at least once"),
        ({"per_buyer": 6}, "no more often than all together"),
        ({"ends_at": STARTS}, "ends after its start"),
    ],
)
async def test_vouchers_that_cannot_be_meant(database: Database, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        await create(database, **options)


@pytest.mark.parametrize(
    "change",
    [
        "percent_off = NULL",
        "amount_off = 5, currency = 'GBP'",
        "percent_off = NULL, amount_off = 5",
        "percent_off = 101",
        "per_buyer = total + 1",
        "total = 0",
        "code = 'tenoff'",
        "ends_at = starts_at",
    ],
)
async def test_the_database_itself_keeps_the_rules(database: Database, change: str) -> None:
    await create(database)
    with pytest.raises(CheckViolation):
        async with database.transaction() as conn:
            await conn.execute(f"UPDATE catalog.vouchers SET {change}")


@pytest.mark.parametrize("typed", [" a-1 ", "A-1", "a-1\t"])
def test_cleaning(typed: str) -> None:
    assert clean_code(typed) == "A-1"

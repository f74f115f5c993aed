"""Vouchers: codes that make a basket cheaper, how often, how often each, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.errors import UniqueViolation

from tidegate.catalog.contracts import UnknownVoucher, VoucherExists, VoucherTerms
from tidegate.catalog.rules import MAX_CODE, MAX_QUANTITY, clean_code, is_code
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.money import MAX_AMOUNT, Money
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_VOUCHERS = 500
"""Most vouchers that are listed."""

_VOUCHER = (
    "SELECT id, code, percent_off, amount_off, currency, total, per_buyer, starts_at, ends_at, closed_at"
    " FROM catalog.vouchers"
)


async def create_voucher(
    conn: Connection,
    *,
    code: str,
    percent_off: int | None = None,
    amount_off: Money | None = None,
    total: int,
    per_buyer: int,
    starts_at: datetime,
    ends_at: datetime | None = None,
) -> VoucherTerms:
    """Make a code that takes `percent_off` or `amount_off` off a basket, `total` times, `per_buyer` times each.

    A code takes off at most what the goods cost; a basket that is free with it is paid without a payment provider.
    Raises: InvalidRequest, VoucherExists.
    """
    code = clean_code(code)
    _check(code, percent_off, amount_off, total, per_buyer)
    if ends_at is not None and ends_at <= starts_at:
        raise InvalidRequest(_("A voucher ends after its start."))
    try:
        async with conn.transaction():
            await conn.execute(
                "INSERT INTO catalog.vouchers"
                " (id, code, percent_off, amount_off, currency, total, per_buyer, starts_at, ends_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    new_id(),
                    code,
                    percent_off,
                    amount_off.amount if amount_off else None,
                    amount_off.currency if amount_off else None,
                    total,
                    per_buyer,
                    starts_at,
                    ends_at,
                ),
            )
    except UniqueViolation:
        raise VoucherExists(
            _("There is a voucher %(code)s already; a code is used for one voucher only.", code=code),
            field="code",
        ) from None
    return await _existing(conn, code)


async def close_voucher(conn: Connection, *, code: str) -> VoucherTerms:
    """End a voucher: nobody can use its code any more. What was promised to holds and orders stays promised.

    Closing it twice keeps the first time. Raises: UnknownVoucher.
    """
    voucher = await _existing(conn, code)
    await conn.execute(
        "UPDATE catalog.vouchers SET closed_at = clock_timestamp() WHERE id = %s AND closed_at IS NULL", (voucher.id,)
    )
    return await _existing(conn, code)


async def find_voucher(conn: Connection, *, code: str) -> VoucherTerms | None:
    """The voucher with this code, live or closed, or None."""
    return (await voucher_terms(conn, codes=[clean_code(code)])).get(clean_code(code))


async def list_vouchers(conn: Connection, *, limit: int = MAX_VOUCHERS) -> tuple[VoucherTerms, ...]:
    """Vouchers, live ones first, then the newest first."""
    rows = await conn.execute(
        f"{_VOUCHER} ORDER BY closed_at IS NULL DESC, id DESC LIMIT %s", (min(limit, MAX_VOUCHERS),)
    )
    return tuple(_voucher(row) for row in await rows.fetchall())


async def voucher_terms(conn: Connection, *, codes: Sequence[str]) -> dict[str, VoucherTerms]:
    """What these codes (as `clean_code` gives them) mean, also those that are closed; unknown codes are absent."""
    asked = [code for code in dict.fromkeys(codes) if is_code(code)]
    if not asked:
        return {}
    rows = await conn.execute(f"{_VOUCHER} WHERE code = ANY(%s)", (asked,))
    return {row[1]: _voucher(row) for row in await rows.fetchall()}


def _check(code: str, percent_off: int | None, amount_off: Money | None, total: int, per_buyer: int) -> None:
    if not is_code(code):
        raise InvalidRequest(
            _(
                "%(code)s cannot be a voucher's code: use up to %(most)s letters, digits, hyphens and underscores,"
                " the first a letter or digit.",
                code=repr(code[:40]),
                most=MAX_CODE,
            ),
            field="code",
        )
    if (percent_off is None) == (amount_off is None):
        raise InvalidRequest(_("A voucher takes off either a percentage or an amount."))
    if percent_off is not None and not 1 <= percent_off <= 100:
        raise InvalidRequest(_("A voucher takes off 1 to 100 percent."), field="off")
    if amount_off is not None and not 1 <= amount_off.amount <= MAX_AMOUNT:
        raise InvalidRequest(_("The amount that a voucher takes off must be more than nothing."), field="off")
    if not 1 <= total <= MAX_QUANTITY:
        raise InvalidRequest(
            _("A voucher may be redeemed 1 to %(most)s times.", most=f"{MAX_QUANTITY:,}"), field="total"
        )
    if not 1 <= per_buyer <= total:
        told = _("A buyer may redeem a voucher at least once, and no more often than all together.")
        raise InvalidRequest(told, field="per_buyer")


async def _existing(conn: Connection, code: str) -> VoucherTerms:
    voucher = await find_voucher(conn, code=code)
    if voucher is None:
        raise UnknownVoucher(_("There is no voucher %(code)s.", code=repr(clean_code(code)[:MAX_CODE])))
    return voucher


def _voucher(row: tuple[Any, ...]) -> VoucherTerms:
    amount_off = None if row[3] is None else Money(row[3], row[4])
    return VoucherTerms(row[0], row[1], row[2], amount_off, row[5], row[6], row[7], row[8], row[9])

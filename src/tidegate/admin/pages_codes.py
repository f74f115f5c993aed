"""The staff's room for codes: what they take off, how often they were used, and making and closing them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import Request
from starlette.responses import Response

from tidegate import catalog, inventory
from tidegate.admin.pages_shell import staff_router
from tidegate.catalog import VoucherTerms
from tidegate.checkout import Shop
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.money import Money, MoneyError, parse_amount
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, read_form, render, see_other

router = staff_router("/codes")

FIELDS = ("code", "kind", "off", "total", "per_buyer", "days")
MAX_DAYS = 3650
EMPTY = {"code": "", "kind": "percent", "off": "", "total": "100", "per_buyer": "1", "days": ""}


@dataclass(frozen=True, slots=True)
class CodeRow:
    """A code in the list; `used` counts holds and orders that redeem it."""

    voucher: VoucherTerms
    used: int
    over: bool


@dataclass(frozen=True, slots=True)
class CodesContext:
    """Context of `admin/codes.html`."""

    rows: tuple[CodeRow, ...]
    currency: str
    typed: dict[str, str]
    problem: str
    saved: bool


@router.get("")
async def show_codes(request: Request, saved: str = "") -> Response:
    """All codes, live ones first."""
    return await _show(request, EMPTY, saved=saved == "1")


@router.post("")
async def post_code(request: Request) -> Response:
    """Make a code."""
    form = await read_form(request)
    typed = {name: form.get(name)[:100] for name in FIELDS}
    try:
        async with _shop(request).database.transaction() as conn:
            await _create(conn, form, currency=_shop(request).settings.currency)
    except (InvalidRequest, catalog.VoucherExists) as problem:
        return await _show(request, typed, problem=problem)
    return see_other(request, "/admin/codes?saved=1")


@router.post("/{code}/close")
async def post_close(request: Request, code: str) -> Response:
    """Close a code; what was promised with it stays promised."""
    await read_form(request)
    async with _shop(request).database.transaction() as conn:
        await catalog.close_voucher(conn, code=code)
    return see_other(request, "/admin/codes?saved=1")


async def _create(conn: Connection, form: PostedForm, *, currency: str) -> None:
    now = await database_now(conn)
    percent, amount = None, None
    if form.get("kind") == "amount":
        try:
            amount = Money(parse_amount(form.get("off"), currency), currency)
        except MoneyError:
            raise InvalidRequest(_("Type what it takes off as a price, such as 5.00.")) from None
    else:
        percent = _whole(form.get("off"), _("Type the percentage as a whole number from 1 to 100."))
    days = form.get("days").strip()
    ends_at = None
    if days:
        words = _("Type for how many days it holds, from 1 to %(most)s, or nothing.", most=MAX_DAYS)
        number = _whole(days, words)
        if not 1 <= number <= MAX_DAYS:
            raise InvalidRequest(words)
        ends_at = now + timedelta(days=number)
    await catalog.create_voucher(
        conn,
        code=form.get("code"),
        percent_off=percent,
        amount_off=amount,
        total=_whole(form.get("total"), _("Type as a whole number how often it may be used.")),
        per_buyer=_whole(form.get("per_buyer"), _("Type as a whole number how often one person may use it.")),
        starts_at=now,
        ends_at=ends_at,
    )


def _whole(text: str, words: str) -> int:
    plain = text.strip()
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 9):
        raise InvalidRequest(words)
    return int(plain)


async def _show(
    request: Request,
    typed: dict[str, str],
    *,
    problem: InvalidRequest | catalog.VoucherExists | None = None,
    saved: bool = False,
) -> Response:
    shop = _shop(request)
    async with shop.database.connection() as conn:
        now = await database_now(conn)
        vouchers = await catalog.list_vouchers(conn)
        used = await inventory.redemptions(conn, [each.id for each in vouchers])
    context = CodesContext(
        rows=tuple(CodeRow(each, used.get(each.id, 0), _over(each, now)) for each in vouchers),
        currency=shop.settings.currency,
        typed=typed,
        problem=problem.detail if problem else "",
        saved=saved,
    )
    return render(request, "admin/codes.html", context, status=problem.status if problem else 200, headers=NOT_KEPT)


def _over(voucher: VoucherTerms, now: datetime) -> bool:
    return voucher.closed_at is not None or (voucher.ends_at is not None and voucher.ends_at <= now)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

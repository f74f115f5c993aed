"""`tidegate stock`, `tidegate drop`, `tidegate voucher`: what a merchant does from a terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import psycopg
import typer
from psycopg.errors import InvalidSchemaName, UndefinedTable

from tidegate.catalog import (
    Drop,
    Room,
    VoucherTerms,
    close_drop,
    close_voucher,
    create_voucher,
    list_drops,
    parse_moment,
)
from tidegate.ops.merchant import replay_drop, set_available, start_drop, vouchers_with_use
from tidegate.platform.clock import database_now
from tidegate.platform.database import OUTAGE, Connection, Database, open_database
from tidegate.platform.money import Money, MoneyError, parse_amount
from tidegate.platform.problems import InvalidRequest, Overloaded, Problem, StartupError
from tidegate.platform.settings import Settings, current_settings

T = TypeVar("T")

stock_app = typer.Typer(help="Set stock.", no_args_is_help=True)
drop_app = typer.Typer(help="Create, list, close and replay drops.", no_args_is_help=True)
voucher_app = typer.Typer(help="Create, list and close vouchers.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The drop's address: small letters, digits, hyphens.")]
Code = Annotated[str, typer.Argument(metavar="CODE", help="What buyers type, in any case.")]
Sku = Annotated[str, typer.Argument(metavar="SKU", help="The variant.")]
Items = Annotated[int, typer.Argument(metavar="QUANTITY", help="Items.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Moment = Annotated[
    str, typer.Option(metavar="TIME", help="now, +90s, +2m, +1h, or ISO 8601 (without an offset it is UTC).")
]


@stock_app.callback()
@drop_app.callback()
@voucher_app.callback()
def _group() -> None:
    """Keep `stock set` two words long, though there is one command in the group."""


@stock_app.command("set", context_settings={"ignore_unknown_options": True})
def stock_set(sku: Sku, quantity: Items, as_json: AsJson = False) -> None:
    """Make QUANTITY items of SKU available; what is held or sold stays so."""
    _in_transaction(lambda conn, _: set_available(conn, sku=sku, quantity=quantity))
    if as_json:
        print_json({"sku": sku, "available": quantity})
    else:
        typer.echo(f"{sku}: {quantity:,} available")


@drop_app.command("create")
def drop_create(
    *,
    slug: Slug,
    sku: Annotated[str, typer.Option(help="What it sells.")],
    stock: Annotated[int, typer.Option(help="How many items it sells; so many of SKU become available.")],
    opens_at: Moment,
    per_buyer: Annotated[int, typer.Option(help="How many items each buyer may have.")] = 1,
    room: Annotated[
        Room, typer.Option(help="Who buys when it opens: by a draw among those waiting, by arrival, or everyone.")
    ] = Room.NONE,
    guests: Annotated[
        bool, typer.Option("--guests", help="Also for people without an account, whom no limit per buyer binds.")
    ] = False,
    title: Annotated[str, typer.Option(help="Title; the product's unless given.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a drop. Until it is closed, nothing else sells what it sells."""

    async def create(conn: Connection, opens: datetime) -> Drop:
        return await start_drop(
            conn,
            slug=slug,
            title=title,
            sku=sku,
            quantity=stock,
            opens_at=opens,
            per_buyer=per_buyer,
            room=room,
            guests=guests,
        )

    _print_drop(_at_moment(opens_at, create), as_json=as_json)


@drop_app.command("replay")
def drop_replay(slug: Slug, opens_at: Moment = "now", as_json: AsJson = False) -> None:
    """Open a drop again, at once unless --opens-at says otherwise.

    All of its items are available again, and those who bought before may buy again; their orders stay.
    """
    drop = _at_moment(opens_at, lambda conn, opens: replay_drop(conn, slug=slug, opens_at=opens))
    _print_drop(drop, as_json=as_json)


@drop_app.command("close")
def drop_close(slug: Slug, as_json: AsJson = False) -> None:
    """End a drop. What is left of its stock is sold as an ordinary product from then on."""
    _print_drop(_in_transaction(lambda conn, _: close_drop(conn, slug=slug)), as_json=as_json)


@drop_app.command("list")
def drop_list(as_json: AsJson = False) -> None:
    """List drops, live ones first."""
    drops = _in_transaction(lambda conn, _: list_drops(conn))
    if as_json:
        print_json({"drops": [_drop_document(drop) for drop in drops]})
        return
    for drop in drops:
        typer.echo(_drop_line(drop))
    if not drops:
        typer.echo("There are no drops yet.")


@voucher_app.command("create")
def voucher_create(
    code: Code,
    total: Annotated[int, typer.Option(help="How often it may be used, by everyone together.")],
    percent: Annotated[int | None, typer.Option(help="What it takes off the goods, in percent.")] = None,
    amount: Annotated[
        str | None,
        typer.Option(metavar="MONEY", help="What it takes off instead, such as 5.00 in the shop's currency."),
    ] = None,
    per_buyer: Annotated[int, typer.Option(help="How often each buyer may use it.")] = 1,
    starts_at: Moment = "now",
    ends_at: Annotated[str | None, typer.Option(metavar="TIME", help="As --starts-at; never unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a voucher: a code that takes --percent or --amount off what is bought with it, at most all of it.

    What it makes free is ordered without a payment.
    """

    async def create(conn: Connection, settings: Settings) -> VoucherTerms:
        now = await database_now(conn)
        return await create_voucher(
            conn,
            code=code,
            percent_off=percent,
            amount_off=None if amount is None else _money(amount, settings.currency),
            total=total,
            per_buyer=per_buyer,
            starts_at=parse_moment(starts_at, now=now),
            ends_at=None if ends_at is None else parse_moment(ends_at, now=now),
        )

    _print_voucher(_in_transaction(create), as_json=as_json)


@voucher_app.command("close")
def voucher_close(code: Code, as_json: AsJson = False) -> None:
    """End a voucher. Who holds or has ordered something with it keeps what it took off."""
    _print_voucher(_in_transaction(lambda conn, _: close_voucher(conn, code=code)), as_json=as_json)


@voucher_app.command("list")
def voucher_list(as_json: AsJson = False) -> None:
    """List vouchers, live ones first, with how often each is used by holds and orders now."""
    vouchers = _in_transaction(lambda conn, _: vouchers_with_use(conn))
    if as_json:
        print_json({"vouchers": [_voucher_document(voucher) | {"used": used} for voucher, used in vouchers]})
        return
    for voucher, used in vouchers:
        typer.echo(f"{_voucher_line(voucher)}; used {used:,} times")
    if not vouchers:
        typer.echo("There are no vouchers yet.")


def with_database(use_case: Callable[[Database, Settings], Awaitable[T]], *, settings: Settings | None = None) -> T:
    """Run a use case on the shop's database. Raises: StartupError with one line for whatever is in the way."""
    settings = settings or current_settings()
    url = settings.require_database_url()

    async def run() -> T:
        # A connection of our own first: it fails at once and says why, where a pool would wait.
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=int(settings.database.pool_wait_s) + 1):
            pass
        async with open_database(settings) as database:
            return await use_case(database, settings)

    try:
        return asyncio.run(run())
    except (*OUTAGE, Overloaded) as error:
        raise StartupError(f"PostgreSQL does not answer: {' '.join(str(error).split())[:300]}") from error
    except Problem as error:
        raise StartupError(error.detail) from error
    except (UndefinedTable, InvalidSchemaName) as error:
        raise StartupError("the database has no shop in it yet: run `tidegate migrate` first") from error


def _in_transaction(use_case: Callable[[Connection, Settings], Awaitable[T]]) -> T:
    async def run(database: Database, settings: Settings) -> T:
        async with database.transaction() as conn:
            return await use_case(conn, settings)

    return with_database(run)


def _at_moment(text: str, use_case: Callable[[Connection, datetime], Awaitable[T]]) -> T:
    """Run a use case with the moment that `text` says, by the database's clock."""

    async def run(conn: Connection, _: Settings) -> T:
        return await use_case(conn, parse_moment(text, now=await database_now(conn)))

    return _in_transaction(run)


def _print_drop(drop: Drop, *, as_json: bool) -> None:
    if as_json:
        print_json(_drop_document(drop))
    else:
        typer.echo(_drop_line(drop))


def _drop_line(drop: Drop) -> str:
    items = ", ".join(f"{item.quantity:,} x {item.sku}" for item in drop.items)
    state = f"closed {drop.closed_at:%Y-%m-%d %H:%M:%S} UTC" if drop.closed_at else "live"
    return (
        f"{drop.slug}: {drop.title}; {items}; {drop.per_buyer:,} each; "
        f"opens {drop.opens_at:%Y-%m-%d %H:%M:%S} UTC; {state}; {current_settings().base_url}/drops/{drop.slug}"
    )


def _drop_document(drop: Drop) -> dict[str, Any]:
    return {
        "slug": drop.slug,
        "title": drop.title,
        "opens_at": drop.opens_at.isoformat(),
        "closed_at": drop.closed_at.isoformat() if drop.closed_at else None,
        "per_buyer": drop.per_buyer,
        "room": drop.room.value,
        "guests": drop.guests,
        "items": [{"sku": item.sku, "quantity": item.quantity} for item in drop.items],
        "url": f"{current_settings().base_url}/drops/{drop.slug}",
    }


def _money(text: str, currency: str) -> Money:
    """Raises: InvalidRequest."""
    try:
        return Money(parse_amount(text, currency), currency)
    except MoneyError as error:
        raise InvalidRequest(f"{error}: write it as 5.00") from None


def _print_voucher(voucher: VoucherTerms, *, as_json: bool) -> None:
    if as_json:
        print_json(_voucher_document(voucher))
    else:
        typer.echo(_voucher_line(voucher))


def _voucher_line(voucher: VoucherTerms) -> str:
    off = voucher.amount_off.format(current_settings().locale) if voucher.amount_off else f"{voucher.percent_off} %"
    end = f" until {voucher.ends_at:%Y-%m-%d %H:%M:%S} UTC" if voucher.ends_at else ""
    state = f"closed {voucher.closed_at:%Y-%m-%d %H:%M:%S} UTC" if voucher.closed_at else "live"
    return (
        f"{voucher.code}: {off} off; {voucher.total:,} times, {voucher.per_buyer:,} each; "
        f"from {voucher.starts_at:%Y-%m-%d %H:%M:%S} UTC{end}; {state}"
    )


def _voucher_document(voucher: VoucherTerms) -> dict[str, Any]:
    amount = voucher.amount_off
    return {
        "code": voucher.code,
        "percent_off": voucher.percent_off,
        "amount_off": {"amount": amount.amount, "currency": amount.currency} if amount else None,
        "total": voucher.total,
        "per_buyer": voucher.per_buyer,
        "starts_at": voucher.starts_at.isoformat(),
        "ends_at": voucher.ends_at.isoformat() if voucher.ends_at else None,
        "closed_at": voucher.closed_at.isoformat() if voucher.closed_at else None,
    }


def print_json(document: dict[str, Any]) -> None:
    """One JSON object on a line."""
    typer.echo(json.dumps(document, ensure_ascii=False))

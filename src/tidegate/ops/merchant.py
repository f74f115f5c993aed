"""What a merchant does across catalogue and stock, each in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, TextIO

from tidegate import gate
from tidegate.catalog import (
    MAX_QUANTITY,
    Drop,
    ExportReport,
    ImportReport,
    Mapped,
    Room,
    UnknownVariant,
    VoucherTerms,
    create_drop,
    edit_drop,
    export_products,
    find_drop,
    find_variants,
    import_products,
    list_vouchers,
    reopen_drop,
)
from tidegate.checkout import takes_guests
from tidegate.inventory import (
    MoveCause,
    MoveReason,
    add_missing_stock,
    available,
    clear_limits,
    redemptions,
    set_stock,
)
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import PersonId, VariantId
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.settings import Settings, current_settings


async def import_file(
    database: Database,
    settings: Settings,
    *,
    source: BinaryIO,
    mapping: Mapped | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int], None],
) -> ImportReport:
    """Import a product file; its quantities (items) become the stock of variants that have none recorded yet.

    `mapping` says what the columns of a file mean that is neither Shopify's nor WooCommerce's. With `dry_run` nothing
    is written. `on_progress` gets the bytes read so far. Raises: UnusableFile.
    """

    async def first_stock(conn: Connection, levels: Mapping[VariantId, int]) -> None:
        await add_missing_stock(conn, levels=levels, reason=MoveReason(MoveCause.IMPORT))

    return await import_products(
        database,
        source=source,
        currency=settings.currency,
        limits=settings.catalog,
        on_written=first_stock,
        today=datetime.now(UTC).date(),
        mapping=mapping,
        dry_run=dry_run,
        on_progress=on_progress,
    )


async def export_file(database: Database, settings: Settings, *, target: TextIO) -> ExportReport:
    """Write all products with their available stock as Shopify's product CSV, as of one moment."""
    async with database.transaction() as conn:
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

        async def stock_of(variant_ids: Sequence[VariantId]) -> Mapping[VariantId, int]:
            return await available(conn, variant_ids=variant_ids)

        return await export_products(
            conn, target=target, currency=settings.currency, batch=settings.catalog.import_batch, stock_of=stock_of
        )


async def set_available(conn: Connection, *, sku: str, quantity: int) -> None:
    """Make `quantity` items of a SKU available; what is held or sold stays so.

    Raises: InvalidRequest for a quantity out of bounds, UnknownVariant.
    """
    if not 0 <= quantity <= MAX_QUANTITY:
        raise InvalidRequest(f"QUANTITY must be 0 to {MAX_QUANTITY:,} items, not {quantity}.")
    variants = await find_variants(conn, skus=[sku])
    if sku not in variants:
        raise UnknownVariant(f"No variant has the SKU {sku!r}.")
    await set_stock(conn, levels={variants[sku]: quantity}, reason=MoveReason(MoveCause.COMMAND))


async def start_drop(
    conn: Connection,
    *,
    slug: str,
    title: str,
    sku: str,
    quantity: int,
    opens_at: datetime,
    per_buyer: int,
    room: Room = Room.NONE,
    guests: bool = False,
    by: PersonId | None = None,
) -> Drop:
    """Make a drop and make exactly its `quantity` of items available. Raises: as `catalog.create_drop`.

    `guests` lets people without an account wait and buy. `by` is who does it, for the history of the stock.
    """
    drop = await create_drop(
        conn,
        slug=slug,
        title=title,
        sku=sku,
        quantity=quantity,
        opens_at=opens_at,
        per_buyer=per_buyer,
        room=room,
        guests=guests,
    )
    await _offer(conn, drop, by=by)
    await _make_room(conn, drop)
    return drop


async def change_drop(
    conn: Connection,
    *,
    slug: str,
    title: str,
    quantity: int,
    opens_at: datetime,
    per_buyer: int,
    guests: bool,
    by: PersonId,
) -> Drop:
    """Change a drop that has not opened yet; its new quantity becomes available. Raises: as `catalog.edit_drop`.

    Who waits in a room that was made is settled: there `guests` is to be what it was.
    """
    drop = await edit_drop(
        conn, slug=slug, title=title, quantity=quantity, opens_at=opens_at, per_buyer=per_buyer, guests=guests
    )
    await _offer(conn, drop, by=by)
    if drop.room is not Room.NONE:
        await gate.reschedule(conn, slug=slug, opens_at=opens_at)
    return drop


async def replay_drop(conn: Connection, *, slug: str, opens_at: datetime, by: PersonId | None = None) -> Drop:
    """Open a drop again with all of its items, and let those who bought before buy again; guests take part if they did.

    It opens now at the earliest: the books take it that nothing held since the opening was forgotten here.
    Raises: UnknownDrop, VariantInDrop.
    """
    known = await find_drop(conn, slug=slug)
    if known is not None:
        await clear_limits(conn, rule_id=known.id)
    guests = known is not None and await takes_guests(conn, known)
    drop = await reopen_drop(conn, slug=slug, opens_at=max(opens_at, await database_now(conn)), guests=guests)
    await _offer(conn, drop, by=by)
    if drop.room is not Room.NONE and await gate.find_room(conn, slug=slug) is not None:
        await gate.close_room(conn, slug=slug)
    await _make_room(conn, drop)
    return drop


async def _make_room(conn: Connection, drop: Drop) -> None:
    """Give a drop that asks for one its waiting room."""
    if drop.room is Room.NONE:
        return
    rooms = current_settings().gate
    await gate.create_room(
        conn,
        drop_id=drop.id,
        slug=drop.slug,
        mode=gate.RoomMode(drop.room.value),
        opens_at=drop.opens_at,
        lobby_opens_at=drop.opens_at - timedelta(minutes=rooms.lobby_minutes),
        guests=drop.guests,
        beacon_source=rooms.beacon_url,
    )


async def _offer(conn: Connection, drop: Drop, *, by: PersonId | None) -> None:
    """Make exactly as many items available as the drop sells."""
    reason = MoveReason(MoveCause.DROP, drop.slug, by)
    await set_stock(conn, levels={item.variant_id: item.quantity for item in drop.items}, reason=reason)


async def vouchers_with_use(conn: Connection) -> list[tuple[VoucherTerms, int]]:
    """Vouchers, live ones first, each with how often it is redeemed now, by live holds and sales."""
    vouchers = await list_vouchers(conn)
    used = await redemptions(conn, [voucher.id for voucher in vouchers])
    return [(voucher, used.get(voucher.id, 0)) for voucher in vouchers]

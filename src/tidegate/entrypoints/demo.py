"""The demo shop: its catalogue, its first stock, and a drop that opens soon after every start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.catalog import DemoDrop, demo_catalogue, find_drop, write_products
from tidegate.inventory import MoveCause, MoveReason, add_missing_stock
from tidegate.ops import replay_drop, start_drop
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, open_database
from tidegate.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class DemoNotes:
    """What the start table says about the demo."""

    drop_title: str
    drop_path: str
    """Path of the drop's page, from the shop's root."""
    opens_at: datetime


async def load(settings: Settings) -> DemoNotes:
    """Fill the shop with the demo catalogue and let the demo drop open `supervisor.demo_drop_opens_in_s` from now.

    The database is migrated. Products and stock are written once; a later start finds them and leaves what has been
    sold, held or changed since, but for the drop: it is replayed at every start.
    """
    catalogue = demo_catalogue(currency=settings.currency)
    async with open_database(settings) as database, database.transaction() as conn:
        written = await write_products(conn, products=catalogue.products, keep_edits=True)
        if written.levels:
            await add_missing_stock(conn, levels=written.levels, reason=MoveReason(MoveCause.IMPORT))
        opens_at = await database_now(conn) + timedelta(seconds=settings.supervisor.demo_drop_opens_in_s)
        await _schedule(conn, catalogue.drop, opens_at)
    return DemoNotes(catalogue.drop.title, f"/drops/{catalogue.drop.slug}", opens_at)


async def _schedule(conn: Connection, drop: DemoDrop, opens_at: datetime) -> None:
    if await find_drop(conn, slug=drop.slug) is not None:
        await replay_drop(conn, slug=drop.slug, opens_at=opens_at)
        return
    await start_drop(
        conn,
        slug=drop.slug,
        title=drop.title,
        sku=drop.sku,
        quantity=drop.quantity,
        opens_at=opens_at,
        per_buyer=drop.per_buyer,
        guests=True,  # a demo is to be tried by whoever looks at it, and by `tidegate rehearse crowd`
    )

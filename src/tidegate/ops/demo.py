"""Removing the demo: its products and drop, and everything that was only tried out with the sandbox."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.accounts import erase_people
from tidegate.catalog import archive_products, find_demo, remove_products, sweep_pictures
from tidegate.checkout import erase_orders, forget_buyers, forget_variants, ordered_variants, take_up_all
from tidegate.inventory import clear_limits, erase_holds, erase_stock
from tidegate.notify import erase_messages
from tidegate.payments import erase_sandbox, sandbox_orders
from tidegate.platform.database import Connection, Database
from tidegate.platform.erasing import forget_subjects
from tidegate.platform.files import LocalFiles
from tidegate.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class DemoRemoved:
    """What went, by number, and `kept`: titles of products that real orders name; they are archived."""

    products: int
    drops: int
    orders: int
    people: int
    ledger_kept: bool
    kept: tuple[str, ...]


async def remove_demo_pictures(database: Database, settings: Settings) -> int:
    """Remove all pictures that nothing shows, after the demo's products went; how many."""
    files, removed = LocalFiles(settings.pictures_folder), 0
    while part := await sweep_pictures(database, files, unused_hours=0, limit=settings.pictures.sweep_batch):
        removed += part
    return removed


async def remove_demo(conn: Connection) -> DemoRemoved:
    """Remove the demo in the caller's transaction, so that the books add up before and after.

    An order is real when another provider than the sandbox was asked for its money: it stays, and so do its buyer and
    the products that it names, which are archived. Staff stay, whatever they tried.
    """
    await take_up_all(conn)
    demo = await find_demo(conn)
    orders = await sandbox_orders(conn)
    variants = [variant for each in demo.products.values() for variant in each]
    real = await ordered_variants(conn, variant_ids=variants, but=orders)
    gone = {product: each for product, each in demo.products.items() if not each & real}
    kept = [product for product in demo.products if product not in gone]
    gone_variants = [variant for each in gone.values() for variant in each]

    people = await erase_orders(conn, order_ids=orders)
    ledger_went = await erase_sandbox(conn, order_ids=orders)
    await erase_holds(conn, order_ids=orders, variant_ids=gone_variants)
    erased = await erase_people(conn, people=people)
    await forget_buyers(conn, people=erased)
    await erase_messages(conn, people=erased)
    await forget_subjects(conn, order_ids=orders, people=erased)
    drops = await remove_products(conn, products=gone)
    await archive_products(conn, products=kept)
    for drop in drops:
        await clear_limits(conn, rule_id=drop)
    await forget_variants(conn, variant_ids=gone_variants)
    await erase_stock(conn, variant_ids=gone_variants)
    return DemoRemoved(
        products=len(gone),
        drops=len(drops),
        orders=len(orders),
        people=len(erased),
        ledger_kept=not ledger_went,
        kept=tuple(sorted(demo.titles[product] for product in kept)),
    )

"""The demo shop: complete, written once, with a drop that opens anew at every start."""

from __future__ import annotations

from datetime import timedelta

from tests.catalog.makers import row_versions
from tidegate.catalog import demo_catalogue, find_drop, list_collections, list_products, purchase_terms
from tidegate.catalog.rules import is_slug
from tidegate.entrypoints.demo import load
from tidegate.inventory import available
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

CATALOGUE = demo_catalogue(currency="GBP")


def test_the_catalogue_is_sound() -> None:
    variants = [variant for product in CATALOGUE.products for variant in product.variants]
    assert len(CATALOGUE.products) >= 48
    assert len({product.slug for product in CATALOGUE.products}) == len(CATALOGUE.products)
    assert len({variant.sku for variant in variants}) == len(variants)
    for product in CATALOGUE.products:
        assert is_slug(product.slug)
        assert product.kind
        assert 20 < len(product.description) < 300
        assert len({variant.options for variant in product.variants}) == len(product.variants)
    stock = [variant.quantity for variant in variants]
    assert (stock.count(0), stock.count(3)) == (1, 1)
    assert all(variant.price.amount > 0 for variant in variants)
    assert CATALOGUE.drop.sku in {variant.sku for variant in variants}


def test_the_figures_are_taken_in_the_shops_currency() -> None:
    prices = {v.sku: v.price for p in demo_catalogue(currency="JPY").products for v in p.variants}
    assert (prices["22423"].amount, prices["22423"].currency) == (13, "JPY")


async def test_a_second_start_changes_nothing_but_the_drop(database: Database, settings: Settings) -> None:
    first = await load(settings)
    async with database.connection() as conn:
        page = await list_products(conn, limit=100, currency="GBP")
        assert len(page.items) == len(CATALOGUE.products)
        assert len(await list_collections(conn)) == 7
        terms = await purchase_terms(conn, skus=["22423", CATALOGUE.drop.sku], currency="GBP")
        stock = await available(conn, variant_ids=[t.variant_id for t in terms.values()])
        assert stock[terms[CATALOGUE.drop.sku].variant_id] == CATALOGUE.drop.quantity
        soon = await database_now(conn) + timedelta(seconds=settings.supervisor.demo_drop_opens_in_s)
    assert terms["22423"].drop is None
    assert abs(first.opens_at - soon) < timedelta(seconds=30)
    touched = {"drops", "drop_items", "stock"}
    before = await row_versions(database)
    second = await load(settings)
    after = await row_versions(database)
    assert [row for row in before if row[0] not in touched] == [row for row in after if row[0] not in touched]
    assert len(set(before) - set(after)) == 2, "the drop, and the stock of what it sells"
    assert second.opens_at > first.opens_at
    async with database.connection() as conn:
        drop = await find_drop(conn, slug=CATALOGUE.drop.slug)
    assert drop is not None
    assert drop.opens_at == second.opens_at
    assert second.drop_path == f"/drops/{drop.slug}"

"""`tidegate demo remove`: nothing of the demo is left, nothing real goes, and the books add up."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from tests.catalog.makers import a_product, write
from tests.checkout.conftest import Stock, sell, shop  # noqa: F401 - fixtures
from tests.ops.market import buy, hold, somebody, trade
from tests.pictures import a_picture
from tidegate.catalog import (
    Darkroom,
    add_picture,
    demo_catalogue,
    find_demo,
    move_product,
    product_to_edit,
    store_picture,
)
from tidegate.checkout import Actor, LinePart, Shop, cancel, give_back
from tidegate.entrypoints.demo import load
from tidegate.ops.books import check_books
from tidegate.ops.demo import DemoRemoved, remove_demo, remove_demo_pictures
from tidegate.ops.demo_cli import demo_app
from tidegate.platform.files import LocalFiles
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings, current_settings

DEMO = demo_catalogue(currency="GBP")
APP = typer.Typer()
APP.add_typer(demo_app, name="demo")


async def count(shop: Shop, table: str) -> int:  # noqa: F811
    async with shop.database.connection() as conn:
        row = await (await conn.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
    assert row is not None
    return int(row[0])


async def remove(shop: Shop) -> DemoRemoved:  # noqa: F811
    async with shop.database.transaction() as conn:
        return await remove_demo(conn)


async def broken(shop: Shop) -> dict[str, object]:  # noqa: F811
    books = await check_books(shop.database, shop.settings)
    return {result.name: result.rows for result in books.broken}


async def test_a_demo_that_was_played_with_goes_and_the_rest_stays(shop: Shop, sell: Stock) -> None:  # noqa: F811
    await trade(shop, sell)
    await load(shop.settings)
    # What somebody bought with real money, tried once in the sandbox, and put into a basket.
    bought, tried, other = "22423", "85123A", DEMO.products[3].variants[0].sku
    real = await buy(shop, bought, "LAMP")
    await buy(shop, tried, "VASE")
    await hold(shop, somebody(), other, "LAMP")
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE payments.charges SET provider = 'stripe' WHERE order_id = %s", (real.id,))
    assert await broken(shop) == {}

    removed = await remove(shop)
    assert (removed.products, removed.drops) == (len(DEMO.products) - 1, 1)
    title = next(p.title for p in DEMO.products if any(v.sku == bought for v in p.variants))
    assert removed.kept == (title,)
    assert not removed.ledger_kept
    assert removed.orders > 20
    assert await broken(shop) == {}
    assert await count(shop, "checkout.orders") == 1
    assert await count(shop, "checkout.order_lines") == 2
    assert await count(shop, "payments.charges") == 1
    assert await count(shop, "payments.sandbox_payments") == 0
    assert await count(shop, "catalog.products") == 6, "what the merchant sells, and what somebody bought"
    assert await count(shop, "catalog.products WHERE status = 'archived'") == 1
    assert await count(shop, "catalog.drops") == 2, "the merchant's own"
    async with shop.database.connection() as conn:
        assert len((await find_demo(conn)).products) == 1

    again = await remove(shop)
    assert (again.products, again.drops, again.orders, again.people) == (0, 0, 0, 0)
    assert again.kept == (title,)
    assert await broken(shop) == {}


async def test_what_a_refund_put_back_on_the_shelf_is_not_put_back_again(shop: Shop, sell: Stock) -> None:  # noqa: F811
    await sell("LAMP", stock=5)
    staff = Actor(somebody(), "staff")
    given_back, cancelled = await buy(shop, "LAMP", quantity=3), await buy(shop, "LAMP", quantity=2)
    for placed in (given_back, cancelled):
        await give_back(shop, order_id=placed.id, by=staff, key="a", parts=(LinePart(1, 1),), restock=True)
    await cancel(shop, order_id=cancelled.id, by=staff)
    assert await broken(shop) == {}

    assert (await remove(shop)).orders == 2
    assert await broken(shop) == {}
    assert await count(shop, "inventory.returns") == 0
    assert await count(shop, "inventory.stock WHERE (on_hand, held, sold) = (5, 0, 0)") == 1


async def test_people_of_the_demo_go_and_staff_and_buyers_stay(shop: Shop, sell: Stock) -> None:  # noqa: F811
    await sell("LAMP", stock=9)
    guest, staff, buyer = somebody(), somebody(), somebody()
    async with shop.database.transaction() as conn:
        for person, role in ((guest, "guest"), (staff, "staff"), (buyer, "guest")):
            email = None if role == "guest" else person.bytes * 2
            await conn.execute(
                "INSERT INTO accounts.people (id, role, email_sealed, email_fingerprint) VALUES (%s, %s, %s, %s)",
                (person, role, email, email),
            )
    for person in (guest, staff, buyer):
        await buy(shop, "LAMP", buyer=person)
    real = await buy(shop, "LAMP", buyer=buyer)
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE payments.charges SET provider = 'stripe' WHERE order_id = %s", (real.id,))
    removed = await remove(shop)
    assert (removed.orders, removed.people) == (3, 1)
    async with shop.database.connection() as conn:
        rows = await (await conn.execute("SELECT id FROM accounts.people")).fetchall()
    assert {row[0] for row in rows} == {staff, buyer}
    assert await broken(shop) == {}


async def test_a_product_of_the_merchants_at_a_demo_address_stays(shop: Shop) -> None:  # noqa: F811
    await write(shop.database, a_product(DEMO.products[0].slug, "MY-OWN"))
    assert (await remove(shop)).products == 0
    assert await count(shop, "catalog.products") == 1


async def test_the_files_of_its_pictures_go_and_others_stay(shop: Shop) -> None:  # noqa: F811
    await write(shop.database, a_product("lamp"))
    await load(shop.settings)
    files, darkroom = LocalFiles(shop.settings.pictures_folder), Darkroom(shop.settings.pictures)
    moved, shown = DEMO.products[0], ""
    for slug, colour in ((moved.slug, "#b8502f"), ("lamp", "#2b5866")):
        uploaded = a_picture(width=160, height=160, colour=colour)
        picture = await store_picture(shop.database, files, darkroom, uploaded=uploaded)
        async with shop.database.transaction() as conn:
            found = await product_to_edit(conn, slug=slug)
            found = await add_picture(conn, product_id=found.id, digest=picture.digest, alt="", most=9)
            shown = picture.digest
            if slug == moved.slug:
                await move_product(conn, product_id=found.id, seen=found.updated_at, slug="the-first-one")
    darkroom.close()
    await load(shop.settings)
    removed = await remove(shop)
    assert removed.products == len(DEMO.products), "also what has another address now, and was not made again"
    assert await remove_demo_pictures(shop.database, shop.settings) == 1
    left = [path.name for path in shop.settings.pictures_folder.rglob("*.webp")]
    assert left == [f"{shown}-160.webp"]


def test_the_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(APP, ["demo", "remove", "--yes", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["products"] == 0
    assert json.loads(done.stdout)["pictures"] == 0
    assert CliRunner().invoke(APP, ["demo", "remove"], input="n\n").exit_code == 1
    monkeypatch.setenv("TIDEGATE_DEMO", "true")
    current_settings.cache_clear()
    refused = CliRunner().invoke(APP, ["demo", "remove", "--yes"])
    assert isinstance(refused.exception, StartupError)
    assert "demo mode" in str(refused.exception)
    assert "stop it, then run this again" in str(refused.exception)

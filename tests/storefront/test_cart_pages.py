"""The cart's pages, as a browser without scripts gets them."""

from __future__ import annotations

import pytest

from tests.statements import statements
from tests.storefront.conftest import Open, Reader, Sell, text_of
from tests.storefront.test_pages import order
from tidegate.catalog import find_variants
from tidegate.inventory import set_stock
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio


async def add(reader: Reader, slug: str, sku: str, quantity: str = "1", **more: str) -> None:
    response = await reader.send(f"/products/{slug}", "/cart/add", sku=sku, quantity=quantity, **more)
    assert (response.status_code, response.headers["location"]) == (303, "/cart"), text_of(response)


async def test_a_cart_is_filled_changed_ordered_and_empty_again(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", price=1000)
    await sell("Blue Vase", price=500)
    assert "nothing in your cart" in text_of(await reader.get("/cart"))
    await add(reader, "red-lamp", "RED-LAMP", "2")
    await add(reader, "blue-vase", "BLUE-VASE")
    assert reader.client.cookies["tidegate_cart"] == "3"
    assert "£25.00" in text_of(await reader.get("/cart"))
    changed = await reader.send("/cart", "/cart/lines", sku="RED-LAMP", quantity="1")
    assert changed.status_code == 303
    await reader.send("/cart", "/cart/lines", sku="BLUE-VASE", quantity="1", remove="yes")
    page = text_of(await reader.get("/cart"))
    assert "Blue Vase" not in page
    assert "£10.00" in page
    held = await reader.send("/cart", "/cart/checkout")
    assert held.headers["location"].startswith("/checkout/")
    await order(reader, held.headers["location"])
    assert "tidegate_cart" not in reader.client.cookies
    assert "nothing in your cart" in text_of(await reader.get("/cart"))


async def test_wrong_fields_are_told_and_kept(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    await add(reader, "red-lamp", "RED-LAMP", "2")
    for typed in ("many", "5000", "-1"):
        response = await reader.send("/cart", "/cart/lines", sku="RED-LAMP", quantity=typed)
        assert response.status_code == 422
        assert f'name="quantity" value="{typed}"' in response.text
        assert "must be a whole number" in text_of(response)
    response = await reader.send("/cart", "/cart/code", code="no<pe")
    assert response.status_code == 422
    assert 'name="code" value="no&lt;pe"' in response.text
    assert 'name="quantity" value="2"' in (await reader.get("/cart")).text


async def test_short_lines_are_named_with_what_is_left(reader: Reader, sell: Sell, database: Database) -> None:
    await sell("Red Lamp", stock=5)
    await add(reader, "red-lamp", "RED-LAMP", "3")
    async with database.transaction() as conn:
        ids = await find_variants(conn, skus=["RED-LAMP"])
        await set_stock(conn, levels={ids["RED-LAMP"]: 2})
    response = await reader.send("/cart", "/cart/checkout")
    assert response.status_code == 409
    assert "Only 2 left" in text_of(response)
    assert 'name="quantity" value="3"' in response.text


async def test_goods_of_a_drop_keep_their_own_way(reader: Reader, sell: Sell, open_drop: Open) -> None:
    slug = await sell("Red Lamp")
    await sell("Blue Vase")
    await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=-1)
    assert "/cart/add" not in (await reader.get("/drops/lamp-night")).text
    assert "/cart/add" not in (await reader.get(f"/products/{slug}")).text
    response = await reader.send("/products/blue-vase", "/cart/add", sku="RED-LAMP")
    assert response.status_code == 422
    assert "/drops/lamp-night" in response.text


async def test_another_person_sees_another_cart(reader: Reader, other: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    await add(reader, "red-lamp", "RED-LAMP")
    assert "nothing in your cart" in text_of(await other.get("/cart"))
    gone = await other.send("/products/red-lamp", "/cart/checkout")
    assert gone.headers["location"] == "/cart"


async def test_guessing_codes_ends_in_plain_words(reader: Reader, sell: Sell) -> None:
    slug = await sell("Red Lamp")
    await reader.send(f"/products/{slug}", "/cart/add", sku="RED-LAMP", quantity="1")
    for n in range(10):
        assert (await reader.send("/cart", "/cart/code", code=f"GUESS{n}")).status_code == 422
    refused = await reader.send("/cart", "/cart/code", code="ONE-MORE")
    assert refused.status_code == 429
    assert "Too many codes that do not exist were tried." in text_of(refused)
    assert 'value="ONE-MORE"' in refused.text, "what was typed is kept"
    bought = await reader.send(f"/products/{slug}", "/holds", sku="RED-LAMP", quantity="1", code="TWO-MORE")
    assert bought.status_code == 429
    assert "Nothing was held" in text_of(bought)
    assert (await reader.send(f"/products/{slug}", "/holds", sku="RED-LAMP", quantity="1")).status_code == 303


async def test_a_checkout_asks_the_database_little_and_knows_what_has_changed(
    reader: Reader, sell: Sell, database: Database
) -> None:
    await sell("Blue Lamp")
    taken = await reader.send("/products/blue-lamp", "/holds", sku="BLUE-LAMP", quantity="1")
    checkout = taken.headers["location"]
    assert "Blue Lamp" in text_of(await reader.get(checkout))
    with statements() as seen:
        shown = await reader.get(checkout)
    assert len(seen) <= 5, seen  # the hold, the catalogue's revision twice, the picture; the session at most
    assert "/art/blue-lamp.svg" in shown.text
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.products SET title = 'Azure Lamp'")
    assert "Azure Lamp" in text_of(await reader.get(checkout)), "another title is another revision"
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.products SET status = 'archived'")
    assert "Azure Lamp" in text_of(await reader.get(checkout)), "what is held stays to be ordered"

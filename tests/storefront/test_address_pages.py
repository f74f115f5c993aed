"""The address book of an account, and at the checkout."""

from __future__ import annotations

import re

import pytest

from tests.guests import make_guest
from tests.storefront.conftest import Reader, Sell, text_of
from tests.storefront.test_pages import FORM, hold, order
from tidegate.platform.database import Database
from tidegate.platform.sealing import current_sealer

pytestmark = pytest.mark.anyio

ADDRESS = {name: value for name, value in FORM.items() if name != "email"}


async def sign_in(reader: Reader, database: Database, email: str) -> None:
    """Give a reader the session of an account."""
    async with database.transaction() as conn:
        made = await make_guest(conn)
        sealed = current_sealer().seal(email, column="accounts.people.email_sealed")
        await conn.execute(
            "UPDATE accounts.people SET role = 'customer', email_sealed = %s, email_fingerprint = sha256(%s)"
            " WHERE id = %s",
            (sealed, email.encode(), made.person.id),
        )
    reader.client.cookies.set("tidegate_session", made.token)


async def test_addresses_are_kept_changed_and_removed(reader: Reader, other: Reader, database: Database) -> None:
    await sign_in(reader, database, "ada@post.example")
    await sign_in(other, database, "bob@post.example")
    page = "/account/addresses"
    wrong = await reader.send(page, page, **(ADDRESS | {"city": ""}))
    assert wrong.status_code == 422
    assert "Enter the town." in text_of(wrong)
    assert f'value="{ADDRESS["postal_code"]}"' in wrong.text
    for _ in range(2):
        assert (await reader.send(page, page, **ADDRESS)).status_code == 303
    shown = await reader.get(page)
    ids = re.findall(r'href="/account/addresses/([0-9a-f-]{36})"', shown.text)
    assert len(ids) == 1, "the same address twice is kept once"
    assert (await reader.send(page, f"{page}/{ids[0]}", **(ADDRESS | {"city": "Leeds"}))).status_code == 303
    assert "SW1Y 4JH Leeds" in text_of(await reader.get(page))
    assert (await other.get(f"{page}/{ids[0]}")).status_code == 404
    assert (await other.send(page, f"{page}/{ids[0]}", **ADDRESS)).status_code == 404
    assert (await other.send(page, f"{page}/{ids[0]}/remove")).status_code == 404
    assert "Leeds" in text_of(await reader.get(page))
    async with database.connection() as conn:
        rows = await (await conn.execute("SELECT address_sealed FROM checkout.addresses")).fetchall()
    assert b"Lovelace" not in bytes(rows[0][0])
    await reader.send(page, f"{page}/{ids[0]}/remove")
    assert "kept no address" in text_of(await reader.get(page))


async def test_an_address_book_has_bounds(reader: Reader, database: Database) -> None:
    await sign_in(reader, database, "ada@post.example")
    page = "/account/addresses"
    for number in range(20):
        assert (await reader.send(page, page, **(ADDRESS | {"line1": f"{number} Long Lane"}))).status_code == 303
    full = await reader.send(page, page, **(ADDRESS | {"line1": "21 Long Lane"}))
    assert full.status_code == 409
    assert 'value="21 Long Lane"' in full.text


async def test_the_checkout_offers_and_keeps_addresses(reader: Reader, sell: Sell, database: Database) -> None:
    await sign_in(reader, database, "ada@post.example")
    slug = await sell("Red Lamp")
    await order(reader, await hold(reader, slug, "RED-LAMP"), keep="yes")
    checkout_page = await hold(reader, slug, "RED-LAMP", "2")
    shown = await reader.get(checkout_page)
    assert 'name="city" type="text" value="London"' in shown.text
    await reader.send("/account/addresses", "/account/addresses", **(ADDRESS | {"city": "Leeds"}))
    choices = re.findall(r'href="(/checkout/[^"]+address=[^"]+)"', (await reader.get(checkout_page)).text)
    towns = [re.findall(r'name="city" type="text" value="(\w+)"', (await reader.get(each)).text) for each in choices]
    assert towns == [["Leeds"], ["London"]]


async def test_guests_have_no_book_and_a_deleted_account_leaves_none(
    reader: Reader, sell: Sell, database: Database
) -> None:
    slug = await sell("Red Lamp")
    page = await hold(reader, slug, "RED-LAMP")
    assert 'name="keep"' not in (await reader.get(page)).text
    await order(reader, page, keep="yes")
    await sign_in(reader, database, "ada@post.example")
    await reader.send("/account/addresses", "/account/addresses", **ADDRESS)
    assert (await reader.send("/account", "/account/delete", sure="yes")).status_code == 303
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT count(*) FROM checkout.addresses")).fetchone()
    assert row == (0,)


async def test_a_bill_for_another_address_is_kept_checked_and_shown(reader: Reader, sell: Sell) -> None:
    checkout_page = await hold(reader, await sell("Red Lamp"), "RED-LAMP")
    bill = {f"billing_{name}": value for name, value in ADDRESS.items()} | {"billing_name": "Analytical Engines Ltd"}
    wrong = FORM | bill | {"billing_other": "yes", "billing_city": "", "country": "US"}
    refused = await reader.send(checkout_page, checkout_page, **wrong)
    assert refused.status_code == 422
    assert "On the bill: Enter the town." in text_of(refused)
    assert "Enter the state or province" in text_of(refused)
    assert 'value="Analytical Engines Ltd"' in refused.text
    assert 'name="billing_other" value="yes" checked' in refused.text
    where = await order(reader, checkout_page, **bill, billing_other="yes", phone="020 7946 0958")
    shown = text_of(await reader.get("/orders/" + (await order_id_of(reader))))
    assert where
    assert "Goes to Ada Lovelace" in shown
    assert "020 7946 0958" in shown
    assert "Bill for Analytical Engines Ltd" in shown


async def test_a_bill_is_for_the_same_address_unless_said_otherwise(reader: Reader, sell: Sell) -> None:
    checkout_page = await hold(reader, await sell("Red Lamp"), "RED-LAMP")
    await order(reader, checkout_page, billing_name="Somebody Else", billing_city="")
    shown = text_of(await reader.get("/orders/" + (await order_id_of(reader))))
    assert "Bill for The same address" in shown
    assert "Somebody Else" not in shown


async def order_id_of(reader: Reader) -> str:
    """The newest order of a reader's."""
    found = re.search(r'href="/orders/([0-9a-f-]{36})"', (await reader.get("/account/orders")).text)
    assert found is not None
    return found[1]

"""The staff's room for customers: accounts and guests who ordered, found by address; sessions that end."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_orders import SAME_SITE, send_form
from tests.admin.test_pages import sign_in
from tests.checkout.buying import guest, post, purchase_body
from tests.guests import make_guest
from tests.storefront.conftest import Sell, app, reading, sell, text_of
from tidegate import accounts, checkout
from tidegate.accounts import Role
from tidegate.accounts.people import add_person
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

__all__ = ["app", "sell"]

pytestmark = pytest.mark.anyio

CUSTOMERS = "/admin/customers"
ME: dict[str, str] = {}


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


async def order(client: httpx.AsyncClient, who: dict[str, str], email: str, quantity: int = 1, **more: Any) -> str:
    """The id of an order of lamps at £10 each."""
    body = purchase_body(("LAMP", quantity), email=email, **more)
    bought = await post(client, "/api/v1/purchases", body, who)
    assert bought.status_code == 201, bought.text
    order_id: str = bought.json()["id"]
    return order_id


def found_ids(response: httpx.Response) -> list[str]:
    """The customers that a list shows, in its order."""
    return re.findall(r'<th scope="row"><a href="/admin/customers/([0-9a-f-]{36})"', response.text)


async def staff_of(client: httpx.AsyncClient, database: Database) -> dict[str, str]:
    """Headers of somebody of the staff who is no administrator."""
    async with database.transaction() as conn:
        made = await make_guest(conn)
        await conn.execute(
            "UPDATE accounts.people SET role = 'staff', email_fingerprint = sha256('staff'),"
            " email_sealed = (SELECT email_sealed FROM accounts.people WHERE role = 'admin' LIMIT 1) WHERE id = %s",
            (made.person.id,),
        )
    return {"authorization": f"Bearer {made.token}"}


async def test_guests_who_ordered_are_listed_with_what_they_spent(
    client: httpx.AsyncClient, database: Database, sell: Sell
) -> None:
    await sell("Lamp", price=1000, stock=50)
    mira, tom = await guest(client), await guest(client)
    await guest(client)
    first = await order(client, mira, "Mira@Post.example", 2)
    await order(client, mira, "mira@post.example")
    await order(client, tom, "tom@post.example", payment={"provider": "sandbox", "token": "tok_declined"})
    await sign_in(client, database)
    refund = await send_form(client, f"/admin/orders/{first}", f"/admin/orders/{first}/refund", ME, amount="5.00")
    assert refund.status_code == 303
    listed = await client.get(CUSTOMERS)
    words = text_of(listed)
    assert len(found_ids(listed)) == 3, "two guests who ordered, and the administrator; not who only looked"
    assert re.search(r"mira@post\.example Guest .* 2 £25\.00", words)
    assert re.search(r"tom@post\.example Guest .* 1 Nothing", words)
    assert "admin@tidegate.example Yes" in words
    page = await client.get(f"{CUSTOMERS}/{found_ids(listed)[-1]}")
    assert "mira@post.example" in page.text
    assert "£25.00" in text_of(page)
    assert first in page.text
    assert "12 St James" in page.text, "an administrator sees addresses"
    assert "Sign them out" not in page.text, "a guest has no account to be signed out of"


async def test_what_was_written_to_a_customer_and_what_became_of_it_is_shown(
    client: httpx.AsyncClient, database: Database, sell: Sell
) -> None:
    await sell("Lamp", price=1000)
    ada = await guest(client)
    await order(client, ada, "ada@example.com")
    await sign_in(client, database)
    customer = found_ids(await client.get(CUSTOMERS))[-1]
    page = f"{CUSTOMERS}/{customer}"
    async with database.connection() as conn:
        await conn.execute("DELETE FROM notify.deliveries")
        assert "None that is still kept." in text_of(await client.get(page))
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, last_error,
                address_sealed)
            VALUES (uuidv7(), %s, 'email', 'order_paid', '{}', 'failed', '550 no such mailbox', '')
            """,
            (customer,),
        )
    shown = await client.get(page)
    assert "An order is paid" in text_of(shown)
    assert "550 no such mailbox" in text_of(shown)
    letter = re.search(r'href="(/admin/dead-letters/[^"]+)"', shown.text)
    assert letter is not None
    assert (await client.get(letter[1])).status_code == 200


async def test_an_address_finds_accounts_and_what_guests_ordered_with_it(
    client: httpx.AsyncClient, database: Database, sell: Sell
) -> None:
    await sell("Lamp", price=1000, stock=50)
    account = await add_person(database, email="mira@post.example", role=Role.CUSTOMER, password_hash=None)
    order_id = await order(client, await guest(client), "MIRA@post.example")
    await order(client, await guest(client), "tom@post.example")
    await sign_in(client, database)
    found = await client.get(CUSTOMERS, params={"email": " Mira@Post.Example "})
    assert len(found_ids(found)) == 2
    assert str(account) in found_ids(found)
    assert found_ids(await client.get(CUSTOMERS, params={"email": "mira"})) == [], "only whole addresses"
    orders = await client.get("/admin/orders", params={"email": "mira@post.example"})
    assert order_id in orders.text
    assert "1 order 1 £10.00" in text_of(orders)


async def test_the_list_goes_on_where_the_page_before_ended(
    client: httpx.AsyncClient, database: Database, sell: Sell, app: Any
) -> None:
    await sell("Lamp", price=1000, stock=50)
    for name in ("a", "b"):
        await add_person(database, email=f"{name}@post.example", role=Role.CUSTOMER, password_hash=None)
        who = await guest(client)
        await order(client, who, f"{name}@guest.example")
        await order(client, who, f"{name}@guest.example")
    await sign_in(client, database)
    everyone = found_ids(await client.get(CUSTOMERS))
    assert everyone == sorted(everyone, reverse=True)
    assert len(everyone) == 5
    small: Settings = app.app.state.settings
    app.app.state.settings = small.model_copy(update={"accounts": small.accounts.model_copy(update={"people_page": 2})})
    seen: list[str] = []
    address = CUSTOMERS
    while address:
        page = await client.get(address)
        seen += found_ids(page)
        more = re.search(r'class="button" href="(/admin/customers\?[^"]+)"', page.text)
        address = more[1].replace("&amp;", "&") if more else ""
    assert seen == everyone


async def test_staff_see_no_addresses_and_end_no_sessions(
    client: httpx.AsyncClient, database: Database, sell: Sell
) -> None:
    await sell("Lamp", price=1000, stock=50)
    await order(client, await guest(client), "mira@post.example")
    await accounts.ensure_admin(database)
    staff = await staff_of(client, database)
    listed = await client.get(CUSTOMERS, headers=staff)
    assert len(found_ids(listed)) == 3
    for each in found_ids(listed):
        shown = await client.get(f"{CUSTOMERS}/{each}", headers=staff)
        assert shown.status_code == 200
        assert "12 St James" not in shown.text
        assert "Only administrators see the addresses" in text_of(shown)
        assert "sign-out" not in shown.text


async def test_an_administrator_signs_somebody_out(client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    async with database.transaction() as conn:
        made = await make_guest(conn)
        await conn.execute(
            "UPDATE accounts.people SET role = 'customer', email_fingerprint = sha256('x'),"
            " email_sealed = (SELECT email_sealed FROM accounts.people WHERE role = 'admin' LIMIT 1) WHERE id = %s",
            (made.person.id,),
        )
    other = {"authorization": f"Bearer {made.token}"}
    page = f"{CUSTOMERS}/{made.person.id}"
    assert "Signed in on 1 device." in text_of(await client.get(page))
    done = await send_form(client, page, f"{page}/sign-out", ME)
    assert done.status_code == 303
    assert (await client.get("/api/v1/sessions", headers=other)).status_code == 401
    assert "Signed in on 0 devices." in text_of(await client.get(done.headers["location"]))
    assert "Signed out everywhere" in text_of(await client.get(f"/admin/people/{made.person.id}"))
    form = re.search(r'name="form_token" value="([^"]+)"', (await client.get(page)).text)
    assert form is not None
    nobody = f"{CUSTOMERS}/0192a000-0000-7000-8000-000000000000"
    assert (await client.get(nobody)).status_code == 404
    answer = await client.post(f"{nobody}/sign-out", data={"form_token": form[1]}, headers=SAME_SITE)
    assert answer.status_code == 404


async def test_orders_of_before_are_made_findable(
    client: httpx.AsyncClient, database: Database, sell: Sell, app: Any
) -> None:
    await sell("Lamp", price=1000, stock=50)
    order_id = await order(client, await guest(client), "mira@post.example")
    async with database.transaction() as conn:
        await conn.execute("UPDATE checkout.orders SET email_fingerprint = NULL")
    await sign_in(client, database)
    address = "/admin/orders?email=mira@post.example"
    assert order_id not in (await client.get(address)).text
    assert await checkout.fingerprint_orders_once(app.app.state.shop) == 1
    assert order_id in (await client.get(address)).text
    assert await checkout.fingerprint_orders_once(app.app.state.shop) == 0

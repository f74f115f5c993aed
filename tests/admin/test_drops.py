"""The staff's drops: made, changed before they open, closed and opened again, with figures that add up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_orders import send_form
from tests.admin.test_pages import buy, sign_in
from tests.checkout.buying import guest, post, purchase_body
from tests.storefront.conftest import Open, Sell, app, open_drop, reading, sell, text_of
from tidegate.platform.database import Database

__all__ = ["app", "open_drop", "sell"]

pytestmark = pytest.mark.anyio

NEW = {
    "title": "Lamp night",
    "slug": "lamp-night",
    "sku": "NIGHT-LAMP",
    "quantity": "10",
    "per_buyer": "2",
    "opens_at": "2099-11-30T12:00",
}


@pytest.fixture
async def client(app: Any, database: Database, sell: Sell) -> AsyncIterator[httpx.AsyncClient]:
    """A member of the staff, in a shop with one lamp."""
    await sell("Night Lamp", price=1000, stock=50)
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def send_new(client: httpx.AsyncClient, **changes: str) -> httpx.Response:
    return await send_form(client, "/admin/drops/new", "/admin/drops/new", {}, **(NEW | changes))


async def act(client: httpx.AsyncClient, action: str, **fields: str) -> httpx.Response:
    page = f"/admin/drops/lamp-night/{action}"
    return await send_form(client, page, page, {}, **fields)


async def test_made_changed_closed_and_opened_again(client: httpx.AsyncClient) -> None:
    assert "There are no drops yet." in text_of(await client.get("/admin/drops"))
    assert (await send_new(client)).headers["location"] == "/admin/drops/lamp-night?changed=1"
    assert "Offered 10 Held 0 Paid 0 Left 10" in text_of(await client.get("/admin/drops/lamp-night"))
    changed = await act(client, "edit", title="Lamp day", quantity="12", per_buyer="3", opens_at=NEW["opens_at"])
    assert changed.status_code == 303
    words = text_of(await client.get("/admin/drops/lamp-night"))
    assert "Lamp day Scheduled" in words
    assert "Offered 12 Held 0 Paid 0 Left 12" in words
    assert "At most 3 items for each buyer." in words
    assert "12 items are left and sold as ordinary products" in text_of(
        await client.get("/admin/drops/lamp-night/close")
    )
    assert (await act(client, "close")).status_code == 303
    assert "Lamp day Closed" in text_of(await client.get("/admin/drops"))
    assert "12 items become free" in text_of(await client.get("/admin/drops/lamp-night/reopen"))
    assert (await act(client, "reopen")).status_code == 303
    assert "Lamp day Open" in text_of(await client.get("/admin/drops/lamp-night"))


@pytest.mark.parametrize("guests", ["", "1"])
async def test_guests_wait_only_where_the_merchant_says_so(
    client: httpx.AsyncClient, database: Database, guests: str
) -> None:
    refused = await send_new(client, sku="", guests=guests)
    assert ('name="guests" value="1" checked' in refused.text) == bool(guests), "what was typed is kept"
    assert (await send_new(client, room="arrival", guests=guests)).status_code == 303
    words = text_of(await client.get("/admin/drops/lamp-night/room"))
    assert ("People without an account may wait, too" in words) == bool(guests)
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.drops SET guests = NOT guests")  # some were made before drops knew it
    words = text_of(await client.get("/admin/drops/lamp-night"))
    assert ("People without an account take part, too." in words) == bool(guests), "the room has the say"
    assert 'name="guests"' not in (await client.get("/admin/drops/lamp-night/edit")).text
    rest = {"title": "Lamp day", "quantity": "12", "per_buyer": "3", "opens_at": NEW["opens_at"]}
    assert (await act(client, "edit", guests="" if guests else "1", **rest)).status_code == 303
    words = text_of(await client.get("/admin/drops/lamp-night/room"))
    assert ("People without an account may wait, too" in words) == bool(guests), "people may be waiting already"


@pytest.mark.parametrize("guests", ["", "1"])
async def test_guests_buy_only_where_the_merchant_says_so(client: httpx.AsyncClient, app: Any, guests: str) -> None:
    assert (await send_new(client, opens_at="2020-11-30T12:00", guests=guests)).status_code == 303
    words = text_of(await client.get("/admin/drops/lamp-night"))
    assert ("People without an account take part, too." in words) == bool(guests)
    async with reading(app) as buyers:
        bought = await post(buyers, "/api/v1/purchases", purchase_body(("NIGHT-LAMP", 1)), await guest(buyers))
    assert bought.status_code == (201 if guests else 403)


async def test_who_may_buy_can_be_changed_before_the_opening(client: httpx.AsyncClient) -> None:
    assert (await send_new(client)).status_code == 303
    rest = {"title": "Lamp day", "quantity": "12", "per_buyer": "3", "opens_at": NEW["opens_at"]}
    for guests in ("1", ""):
        assert (await act(client, "edit", guests=guests, **rest)).status_code == 303
        words = text_of(await client.get("/admin/drops/lamp-night"))
        assert ("People without an account take part, too." in words) == bool(guests)
        form = (await client.get("/admin/drops/lamp-night/edit")).text
        assert ('name="guests" value="1" checked' in form) == bool(guests)


async def test_figures_are_the_drops_own(
    client: httpx.AsyncClient, app: Any, open_drop: Open, database: Database
) -> None:
    async with reading(app) as buyers:
        before = await post(buyers, "/api/v1/purchases", purchase_body(("NIGHT-LAMP", 2)), await guest(buyers))
        assert before.json()["state"] == "paid"
        await open_drop("lamp-night", "NIGHT-LAMP", stock=10, in_s=-1, per_buyer=5)
        await buy(buyers, database, 3, "tok_ok", key="paid")
        await buy(buyers, database, 1, "tok_declined", key="held")
    words = text_of(await client.get("/admin/drops/lamp-night"))
    assert "Offered 10 Held 1 Paid 3 Left 6" in words
    assert (await act(client, "close")).status_code == 303
    assert "Paid 4" in text_of(await client.get("/admin/drops/lamp-night")), "what was held may still be paid"


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"slug": "Lamp night"}, 422, "Use small letters"),
        ({"slug": "new"}, 422, "Use small letters"),
        ({"sku": "NO-LAMP"}, 422, "No variant has this SKU."),
        ({"sku": ""}, 422, "Write the SKU"),
        ({"quantity": "0"}, 422, "how many items the drop sells"),
        ({"quantity": "ten"}, 422, "how many items the drop sells"),
        ({"per_buyer": "11"}, 422, "cannot have more items than the drop sells"),
        ({"opens_at": "soon"}, 422, "the day and the time in UTC"),
        ({"title": "x" * 256}, 422, "at most 255 characters"),
    ],
)
async def test_what_is_wrong_is_said_and_the_rest_kept(
    client: httpx.AsyncClient, changes: dict[str, str], status: int, says: str
) -> None:
    refused = await send_new(client, **changes)
    assert refused.status_code == status
    assert says in text_of(refused)
    for name, value in (NEW | changes).items():
        assert f'name="{name}"' in refused.text
        assert f'value="{value}"' in refused.text, "what was typed is kept"
    assert "There are no drops yet." in text_of(await client.get("/admin/drops"))


async def test_one_address_and_one_live_drop_for_a_product(client: httpx.AsyncClient) -> None:
    assert (await send_new(client)).status_code == 303
    twice = await send_new(client)
    assert (twice.status_code, "at this address already" in text_of(twice)) == (409, True)
    rival = await send_new(client, slug="other-night")
    assert (rival.status_code, "Another live drop sells this already." in text_of(rival)) == (409, True)


async def test_what_runs_is_not_changed(client: httpx.AsyncClient, open_drop: Open) -> None:
    assert (await send_new(client)).status_code == 303
    page = "/admin/drops/lamp-night/edit"
    form = (await client.get(page)).text
    assert 'value="2099-11-30T12:00"' in form
    started = await act(client, "edit", title="", quantity="10", per_buyer="1", opens_at="2020-01-01T00:00")
    assert started.status_code == 303
    assert (await client.get(page)).status_code == 303, "it has opened, so its form leads back"
    not_closed = await act(client, "reopen")
    assert (not_closed.status_code, "This drop is not closed." in text_of(not_closed)) == (409, True)
    assert (await client.get("/admin/drops/no-such-drop")).status_code == 404
    assert (await client.get("/admin/drops/no-such-drop/close")).status_code == 404

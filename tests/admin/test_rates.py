"""The staff's rooms for delivery, taxes and codes: what is typed there is what the next order pays."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.storefront.conftest import app, reading, text_of
from tidegate.catalog import Rates, apply_standard_vat, load_rates, standard_vat
from tidegate.platform.database import Database

__all__ = ["app"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def post(client: httpx.AsyncClient, room: str, action: str = "", **typed: str) -> httpx.Response:
    page = await client.get(room)
    token = re.search(r'name="form_token" value="([^"]*)"', page.text)
    assert token is not None
    data = {"form_token": token[1], **typed}
    return await client.post(room + action, data=data, headers={"sec-fetch-site": "same-origin"})


async def kept(database: Database) -> Rates:
    async with database.connection() as conn:
        return await load_rates(conn)


async def test_a_zone_and_its_ways_to_send(client: httpx.AsyncClient, database: Database) -> None:
    assert "adds nothing" in text_of(await client.get("/admin/shipping"))
    made = await post(client, "/admin/shipping", "/zones", name="Islands", countries="gb, IE")
    assert made.headers["location"] == "/admin/shipping?saved=1"
    (zone,) = (await kept(database)).zones
    assert (zone.countries, zone.rest) == (frozenset({"GB", "IE"}), False)
    way = {"name": "Post", "code": "post", "steps": "4.00\n50: 0"}
    assert (await post(client, "/admin/shipping", f"/zones/{zone.id}/methods", **way)).status_code == 303
    (method,) = (await kept(database)).methods
    assert (method.code, method.tiers) == ("post", ((0, 400), (5000, 0)))
    page = text_of(await client.get("/admin/shipping"))
    assert "Ireland, United Kingdom" in page
    assert "from £50.00: £0.00" in page
    assert (await post(client, "/admin/shipping", "/methods/post/remove")).status_code == 303
    assert (await post(client, "/admin/shipping", f"/zones/{zone.id}/remove")).status_code == 303
    assert (await kept(database)).zones == ()


async def test_a_wrong_zone_is_told_and_kept(client: httpx.AsyncClient) -> None:
    await post(client, "/admin/shipping", "/zones", name="Home", countries="GB")
    for name, countries, words, status in (
        ("Again", "GB", "One of these countries is in another zone already", 409),
        ("Home", "FR", "There is a zone of this name already", 409),
        ("Odd", "Narnia", "NARNIA is no country", 422),
        ("", "FR", "A zone has a name", 422),
    ):
        page = await post(client, "/admin/shipping", "/zones", name=name, countries=countries)
        assert (page.status_code, words in text_of(page)) == (status, True), words
        assert f'value="{countries}"' in page.text


async def test_wrong_steps_are_told_and_kept(client: httpx.AsyncClient, database: Database) -> None:
    await post(client, "/admin/shipping", "/zones", name="World", countries="")
    (zone,) = (await kept(database)).zones
    assert zone.rest
    for steps, words in (
        ("five", "Line 1 is no price"),
        ("5: 4.00", "the first is from 0"),
        ("0: 4\n0: 3", "each is from more than the last"),
        ("0: 4\n10: -1", "Line 2 is no price"),
    ):
        way = {"name": "Post", "code": "post", "steps": steps}
        page = await post(client, "/admin/shipping", f"/zones/{zone.id}/methods", **way)
        assert (page.status_code, words in text_of(page), steps in page.text) == (422, True, True), steps
    assert (await kept(database)).methods == ()


async def test_taxes_are_set_replaced_and_removed(client: httpx.AsyncClient, database: Database) -> None:
    tax = {"country": "DE", "tax_class": "standard", "name": "MwSt."}
    assert (await post(client, "/admin/taxes", percent="16", **tax)).status_code == 303
    assert (await post(client, "/admin/taxes", percent="19,5 %", **tax)).status_code == 303
    assert [each.rate_bp for each in (await kept(database)).taxes] == [1950]
    wrong = await post(client, "/admin/taxes", percent="much", **tax)
    assert (wrong.status_code, 'value="much"' in wrong.text) == (422, True)
    assert (await post(client, "/admin/taxes", "/prices", include="0")).status_code == 303
    assert not (await kept(database)).prices_include_tax
    assert (await post(client, "/admin/taxes", "/DE/standard/remove")).status_code == 303
    assert (await kept(database)).taxes == ()
    unknown = await post(client, "/admin/taxes", "/classes", slug="nothing-here", tax_class="zero")
    assert (unknown.status_code, "There is no product at nothing-here" in text_of(unknown)) == (404, True)


async def test_codes_are_made_listed_and_closed(client: httpx.AsyncClient) -> None:
    code = {"code": "spring", "kind": "amount", "off": "5.00", "total": "10", "per_buyer": "1", "days": "7"}
    assert (await post(client, "/admin/codes", **code)).status_code == 303
    page = text_of(await client.get("/admin/codes"))
    assert "SPRING" in page
    assert "0 of 10" in page
    again = await post(client, "/admin/codes", **code)
    assert (again.status_code, 'value="5.00"' in again.text) == (409, True)
    for name, typed in (("off", "a lot"), ("days", "0"), ("total", "ten"), ("per_buyer", "11")):
        wrong = await post(client, "/admin/codes", **(code | {"code": "other", name: typed}))
        assert (wrong.status_code, f'value="{typed}"' in wrong.text) == (422, True), name
    assert (await post(client, "/admin/codes", "/SPRING/close")).status_code == 303
    assert "Closed" in text_of(await client.get("/admin/codes"))


async def test_standard_rates_are_set_by_one_button_and_nothing_of_staff_is_overwritten(
    client: httpx.AsyncClient, database: Database
) -> None:
    page = await client.get("/admin/taxes")
    assert "Check them before you rely on them" in text_of(page)
    mine = {"country": "DE", "tax_class": "standard", "name": "Mine", "percent": "1"}
    assert (await post(client, "/admin/taxes", **mine)).status_code == 303
    assert (await post(client, "/admin/taxes", "/prices", include="0")).status_code == 303
    assert (await post(client, "/admin/taxes", "/standard")).status_code == 303
    rates = await kept(database)
    found = {each.country: (each.name, each.rate_bp) for each in rates.taxes}
    assert len(found) == len(rates.taxes) == 30
    assert found["DE"] == ("Mine", 100)
    assert found["FI"] == ("ALV", 2550)
    assert found["CH"][1] == 810
    assert not rates.prices_include_tax, "a shop that had rates keeps what it chose for its prices"
    assert "/admin/taxes/standard" not in (await client.get("/admin/taxes")).text, "nothing is left to set"


async def test_the_first_rates_of_a_shop_are_within_its_prices(client: httpx.AsyncClient, database: Database) -> None:
    await post(client, "/admin/taxes", "/prices", include="0")
    await post(client, "/admin/taxes", "/standard")
    assert (await kept(database)).prices_include_tax
    async with database.transaction() as conn:
        assert await apply_standard_vat(conn) == 0, "a second time changes nothing"


def test_standard_rates_are_of_thirty_countries_and_plausible() -> None:
    rates = standard_vat().rates
    assert len({each.country for each in rates}) == len(rates) == 30
    assert all(800 <= each.rate_bp <= 2700 and each.tax_class == "standard" for each in rates)

"""The address book over HTTP: whole round, bounds, bad input, and nobody else's."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.checkout.buying import ADDRESS, guest, problem
from tests.guests import make_guest
from tidegate.checkout.address_book import MAX_ADDRESSES
from tidegate.checkout.address_rules import address_document, check_address, clean_address
from tidegate.checkout.contracts import Address
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio

BOOK = "/api/v1/addresses"
NEW_YORK = ADDRESS | {"city": "New York", "country": "US", "region": "NY", "phone": "+1 (212) 555-0100"}


async def customer(site: httpx.AsyncClient, database: Database, name: str) -> dict[str, str]:
    """Headers of somebody with an account."""
    async with database.transaction() as conn:
        made = await make_guest(conn)
        await conn.execute(
            "UPDATE accounts.people SET role = 'customer', email_sealed = %s, email_fingerprint = sha256(%s)"
            " WHERE id = %s",
            (name.encode(), name.encode(), made.person.id),
        )
    return {"authorization": f"Bearer {made.token}"}


async def test_an_address_is_added_changed_and_removed(site: httpx.AsyncClient, database: Database) -> None:
    mira, tom = [await customer(site, database, name) for name in ("mira", "tom")]
    assert (await site.get(BOOK, headers=mira)).json() == {"items": []}
    added = await site.post(BOOK, json=ADDRESS, headers=mira)
    assert added.status_code == 201
    again = await site.post(BOOK, json=ADDRESS, headers=mira)
    assert again.json() == added.json() == ADDRESS | {"id": added.json()["id"], "region": "", "phone": ""}
    one = f"{BOOK}/{added.json()['id']}"
    assert problem(await site.put(one, json=NEW_YORK, headers=tom)) == (404, "not-found")
    assert problem(await site.delete(one, headers=tom)) == (404, "not-found")
    changed = await site.put(one, json=NEW_YORK, headers=mira)
    assert changed.json() == NEW_YORK | {"id": added.json()["id"]}
    assert (await site.get(BOOK, headers=mira)).json()["items"] == [changed.json()]
    assert (await site.get(BOOK, headers=tom)).json() == {"items": []}
    async with database.connection() as conn:
        rows = await (await conn.execute("SELECT address_sealed FROM checkout.addresses")).fetchall()
    assert not any(secret in bytes(row[0]) for row in rows for secret in (b"Lovelace", b"555-0100", b"NY"))
    assert (await site.delete(one, headers=mira)).status_code == 204
    assert problem(await site.delete(one, headers=mira)) == (404, "not-found")


async def test_what_is_wrong_with_an_address_is_said_by_field(site: httpx.AsyncClient, database: Database) -> None:
    mira = await customer(site, database, "mira")
    body = ADDRESS | {"name": " ", "country": "US", "phone": "call me"}
    answer = await site.post(BOOK, json=body, headers=mira)
    assert problem(answer) == (422, "invalid-request")
    assert {each["field"] for each in answer.json()["errors"]} == {"name", "region", "phone"}
    assert problem(await site.post(BOOK, json=ADDRESS, headers=await guest(site))) == (401, "not-signed-in")


async def test_a_book_that_is_full_says_so(site: httpx.AsyncClient, database: Database) -> None:
    mira = await customer(site, database, "mira")
    for number in range(MAX_ADDRESSES):
        added = await site.post(BOOK, json=ADDRESS | {"line1": f"{number} High Street"}, headers=mira)
        assert added.status_code == 201
    assert problem(await site.post(BOOK, json=ADDRESS, headers=mira)) == (409, "address-book-full")
    assert len((await site.get(BOOK, headers=mira)).json()["items"]) == MAX_ADDRESSES


TEXTS = st.text(max_size=210)


@given(fields=st.fixed_dictionaries(dict.fromkeys(("name", "line1", "city", "postal_code", "country"), TEXTS)))
def test_a_checked_address_is_whole_and_comes_back_from_its_document(fields: dict[str, Any]) -> None:
    address = clean_address(Address(**fields))
    if not check_address(address):
        assert all(fields.values())
        assert Address(**address_document(address)) == address


@given(region=TEXTS, phone=TEXTS, country=st.sampled_from(["GB", "US", "JP"]))
def test_region_and_phone_are_checked_where_they_count(region: str, phone: str, country: str) -> None:
    address = clean_address(Address(**(ADDRESS | {"country": country, "region": region, "phone": phone})))
    wrong = check_address(address)
    assert set(wrong) <= {"region", "phone"}
    assert country == "GB" or address.region or "region" in wrong
    assert not address.phone or "phone" in wrong or sum(sign.isdigit() for sign in address.phone) <= 15
    assert "phone" in check_address(Address(**ADDRESS), phone_required=True)
    assert Address(**address_document(address)) == address

"""The shopper's pages, as a browser without scripts gets them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from tests.catalog.makers import a_voucher
from tests.checkout.rates import the_rates
from tests.storefront.conftest import Open, Reader, Sell, sign_in, text_of
from tidegate.catalog import close_voucher
from tidegate.platform.database import Database
from tidegate.platform.problems import Overloaded
from tidegate.storefront import pages_visit

pytestmark = pytest.mark.anyio

FORM = {
    "email": "ada@example.com",
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}


async def hold(reader: Reader, slug: str, sku: str, quantity: str = "1") -> str:
    """Buy as far as the checkout; its path."""
    response = await reader.send(f"/products/{slug}", "/holds", sku=sku, quantity=quantity)
    assert response.status_code == 303, text_of(response)
    return response.headers["location"]


async def order(reader: Reader, checkout: str, **changed: str) -> str:
    """Order what is held; where the payment goes on."""
    response = await reader.send(checkout, checkout, **(FORM | changed))
    assert response.status_code == 303, text_of(response)
    return response.headers["location"]


async def test_an_empty_shop_says_so(reader: Reader) -> None:
    response = await reader.get("/")
    assert response.status_code == 200
    assert "There is nothing for sale yet." in text_of(response)


async def test_home_leads_with_the_drop_and_shows_products(reader: Reader, sell: Sell, open_drop: Open) -> None:
    await sell("Red Lamp", price=1299)
    await sell("Gone Lamp", stock=0)
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=100, in_s=60)
    words = text_of(await reader.get("/"))
    assert words.startswith("Opens soon Lamp Night 100 pieces at £2.50, one each.")
    assert "Red Lamp £12.99" in words
    assert "Gone Lamp £2.50 Sold out" in words
    assert "set-cookie" not in (await reader.get("/")).headers, "looking around needs no session"


async def test_more_products_are_a_link_away(reader: Reader, sell: Sell) -> None:
    for number in range(25):
        await sell(f"Lamp {number}", popularity=number)
    first = await reader.get("/search?query=lamp")
    more = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert more is not None
    last = await reader.get(more[1].replace("&amp;", "&"))
    assert "Lamp 0 " in text_of(last) + " "
    assert 'rel="next"' not in last.text


async def test_a_search_is_shown_as_text(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    response = await reader.get("/search?query=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in response.text
    assert "Nothing fits these words." in text_of(response)


async def test_a_collection_shows_its_own(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    await sell("Red Bag", kind="Bags")
    response = await reader.get("/collections/bags")
    assert "Red Bag" in text_of(response)
    assert "Red Lamp" not in text_of(response)
    assert (await reader.get("/collections/nothing")).status_code == 404


async def test_variants_that_are_gone_cannot_be_chosen(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", sizes=("S", "M"), stock=3)
    page = (await reader.get("/products/red-lamp")).text
    assert re.search(r'name="option-1" value="S" required checked>', page)
    await sell("Blue Lamp", sizes=("S", "M"), stock=0)
    page = (await reader.get("/products/blue-lamp")).text
    assert 'action="/holds"' not in page
    assert "There is none left right now." in page


async def test_a_wish_that_no_page_makes_is_refused(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    for fields in (
        {"sku": ""},
        {"sku": "NOTHING"},
        {"sku": "RED-LAMP", "quantity": "-1"},
        {"sku": "RED-LAMP", "quantity": "1e3"},
        {"sku": "RED-LAMP", "quantity": "0"},
        {"sku": "RED-LAMP", "quantity": "9999"},
    ):
        response = await reader.send("/products/red-lamp", "/holds", **fields)
        assert response.status_code == 422, fields
        assert "text/html" in response.headers["content-type"]


async def test_a_purchase_from_product_to_pay_page(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", price=1299)
    checkout = await hold(reader, "red-lamp", "RED-LAMP", "2")
    shown = await reader.get(checkout)
    assert shown.headers["cache-control"] == "no-store"
    assert "Red Lamp 2 × £12.99 £25.98" in text_of(shown)
    pay = await order(reader, checkout)
    assert pay.startswith("/sandbox/pay/")
    waiting = await reader.get(checkout)
    assert "/orders/" in str(waiting.url), "a checkout that was ordered leads to its order"
    assert "Waiting for payment" in text_of(waiting)
    assert '<noscript><meta http-equiv="refresh" content="3; url=/orders/' in waiting.text
    paid = await reader.send(pay, pay, card="tok_ok", action="pay")
    words = text_of(await reader.get(paid.headers["location"]))
    assert words.startswith("Paid Thank you. It is yours.")
    assert "United Kingdom" in words


async def test_what_was_typed_stays_beside_the_error(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    checkout = await hold(reader, "red-lamp", "RED-LAMP")
    response = await reader.send(
        checkout, checkout, **(FORM | {"email": "nobody", "name": "<b>Ada</b>", "country": "ZZ"})
    )
    assert response.status_code == 422
    assert "Enter an e-mail address" in text_of(response)
    assert 'value="&lt;b&gt;Ada&lt;/b&gt;"' in response.text
    assert 'value="nobody"' in response.text


async def test_a_form_without_its_token_changes_nothing(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=1)
    response = await reader.client.post("/holds", data={"sku": "RED-LAMP"}, headers={"origin": "http://127.0.0.1:8000"})
    assert response.status_code == 403
    assert (await reader.get("/api/v1/products/red-lamp")).json()["variants"][0]["available"]


async def test_the_loser_is_told_plainly(reader: Reader, other: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=1)
    sent = {"sku": "RED-LAMP", "quantity": "1"}
    page = await other.get("/products/red-lamp")
    checkout = await hold(reader, "red-lamp", "RED-LAMP")
    lost = await other.client.post("/holds", data=sent | token_on(page), headers={"origin": "http://127.0.0.1:8000"})
    assert lost.status_code == 409
    words = text_of(lost)
    assert words.startswith(
        "Sold out It is gone Red Lamp is gone: someone else was a moment faster. Nothing was charged."
    )
    assert "What is not paid in time comes back" in words
    assert (await other.get(checkout)).status_code == 404
    stolen = await other.client.post(
        f"{checkout}/give-up", data=token_on(page), headers={"origin": "http://127.0.0.1:8000"}
    )
    assert stolen.status_code == 404


async def test_wanting_more_than_there_is_says_how_many_are_left(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=2)
    response = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="3")
    assert response.status_code == 409
    assert "Only 2 of Red Lamp are left." in text_of(response)
    assert 'href="/products/red-lamp"' in response.text


async def test_the_same_wish_twice_is_one_hold(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=2)
    first = await hold(reader, "red-lamp", "RED-LAMP")
    assert await hold(reader, "red-lamp", "RED-LAMP") == first
    assert "1 item is held for you" in text_of(await reader.get("/"))


async def test_a_code_is_shown_wherever_the_total_is(reader: Reader, sell: Sell, database: Database) -> None:
    await sell("Red Lamp", price=1250)
    await a_voucher(database, "TENOFF", percent_off=10)
    assert "I have a code" in text_of(await reader.get("/products/red-lamp"))
    plain = await hold(reader, "red-lamp", "RED-LAMP")
    assert "Your code" not in text_of(await reader.get(plain))
    sent = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="1", code=" tenoff ")
    checkout = sent.headers["location"]
    assert checkout != plain, "what is held without the code is another hold"
    again = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="1", code="TENOFF")
    assert again.headers["location"] == checkout, "a form that was sent twice takes once"
    words = text_of(await reader.get(checkout))
    assert "Your code −£1.25 Total £11.25" in words
    assert "Order and pay £11.25" in words
    pay = await order(reader, checkout)
    assert "£11.25" in text_of(await reader.get(pay))
    paid = await reader.send(pay, pay, card="tok_ok", action="pay")
    assert "Your code −£1.25 Total £11.25" in text_of(await reader.get(paid.headers["location"]))


async def test_what_a_code_makes_free_is_ordered_without_a_payment(
    reader: Reader, sell: Sell, database: Database
) -> None:
    await sell("Red Lamp")
    await a_voucher(database, "GIFT", percent_off=100)
    sent = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="1", code="gift")
    checkout = sent.headers["location"]
    assert "There is nothing to pay." in text_of(await reader.get(checkout))
    ordered = await reader.send(checkout, checkout, **FORM)
    assert "Thank you. It is yours." in text_of(await reader.get(ordered.headers["location"]))


async def test_codes_that_cannot_be_used_are_told_plainly(
    reader: Reader, other: Reader, sell: Sell, database: Database
) -> None:
    await sell("Red Lamp")
    await a_voucher(database, "ONCE", total=1)
    closed = await a_voucher(database, "CLOSED")
    async with database.transaction() as conn:
        await close_voucher(conn, code=closed.code)
    await other.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="1", code="once")
    for code, status, words in (
        ("nope", 422, "There is no such code"),
        ("closed", 409, "This code cannot be used"),
        ("once", 409, "This code is used up"),
    ):
        refused = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="1", code=code)
        assert refused.status_code == status
        assert words in text_of(refused)
        assert "Nothing was held and nothing was charged." in text_of(refused)


async def test_giving_up_gives_back(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=1)
    checkout = await hold(reader, "red-lamp", "RED-LAMP")
    response = await reader.send(checkout, f"{checkout}/give-up")
    over = await reader.get(response.headers["location"])
    assert over.status_code == 410
    assert text_of(over).startswith("Given back You gave it up Red Lamp went back to the shop. Nothing was charged.")
    assert (await reader.get("/api/v1/products/red-lamp")).json()["variants"][0]["available"]


async def test_a_hold_that_ran_out_is_told_and_cannot_be_ordered(
    reader: Reader, sell: Sell, database: Database
) -> None:
    await sell("Red Lamp", stock=1)
    checkout = await hold(reader, "red-lamp", "RED-LAMP")
    page = await reader.get(checkout)
    async with database.transaction() as conn:
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp() - interval '1 second'")
    over = await reader.get(checkout)
    assert over.status_code == 410
    assert "The time is over" in text_of(over)
    late = await reader.client.post(checkout, data=FORM | token_on(page), headers={"origin": "http://127.0.0.1:8000"})
    assert late.status_code == 410
    assert "Nothing was charged." in text_of(late)


async def test_a_declined_card_and_another_try(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    checkout = await hold(reader, "red-lamp", "RED-LAMP")
    pay = await order(reader, checkout)
    failed = await reader.send(pay, pay, card="tok_declined", action="pay")
    path = failed.headers["location"].split("?")[0]
    shown = await reader.get(failed.headers["location"])
    assert "The bank declined the card. Nothing was charged." in text_of(shown)
    again = await reader.send(path, f"{path}/pay")
    assert again.headers["location"].startswith("/sandbox/pay/")
    assert again.headers["location"] != pay
    paid = await reader.send(again.headers["location"], again.headers["location"], card="tok_ok", action="pay")
    assert "Thank you. It is yours." in text_of(await reader.get(paid.headers["location"]))
    too_late = await reader.send("/login", f"{path}/pay")
    assert too_late.headers["location"] == path, "a paid order is not paid again"


async def test_a_drop_before_during_and_after(
    reader: Reader, other: Reader, sell: Sell, open_drop: Open, database: Database
) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=1, in_s=60)
    await sign_in(reader, database)
    early = await reader.get("/drops/lamp-night")
    assert text_of(early).startswith("Opens soon")
    assert re.search(r'id="buy" data-waiting inert', early.text), "the form's space is kept, the form is out of reach"
    assert re.search(r'<noscript><meta http-equiv="refresh" content="(5\d|6[01])">', early.text)
    refused = await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")
    assert refused.status_code == 409
    assert "It is not open yet" in text_of(refused)
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.drops SET opens_at = clock_timestamp()")
    taken = await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")
    assert taken.headers["location"].startswith("/checkout/")
    assert str((await reader.get("/drops/lamp-night")).url).endswith(taken.headers["location"])
    words = text_of(await other.get("/drops/lamp-night"))
    assert words.startswith("Sold out")
    assert "1 of them is held by someone who has not paid yet." in words
    assert "This is sold in a drop." in text_of(await other.get("/products/night-lamp"))


@pytest.mark.parametrize("in_s", [60, -1])
async def test_a_drop_asks_people_to_sign_in_before_they_type_anything(
    reader: Reader, sell: Sell, open_drop: Open, database: Database, in_s: float
) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=5, in_s=in_s, per_buyer=2)
    guest = (await reader.client.post("/api/v1/guests")).json()["token"]
    asking = re.compile(r'<div class="stack"( hidden)? *>\s*<p>There are at most 2 for each person')
    buying = re.compile(r'<div class="swap"( hidden)? *>\s*<form class="form" method="post" action="/holds"')

    async def hidden() -> list[bool]:
        page = (await reader.get("/drops/lamp-night")).text
        found = asking.search(page), buying.search(page)
        assert all(found), page
        assert 'href="/login?next=/drops/lamp-night"' in page
        return [each is not None and each[1] is not None for each in found]

    for token in ("", guest):
        reader.client.cookies.set("tidegate_session", token)
        assert await hidden() == [False, True]
        led = await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")
        assert (led.status_code, led.headers["location"]) == (303, "/login?next=/drops/lamp-night")
        reader.client.cookies.clear()
    await sign_in(reader, database)
    assert await hidden() == [True, False]


@pytest.mark.parametrize("away", ["watcher", "sessions"])
async def test_while_nobody_can_tell_who_asks_the_form_is_shown(
    app: Any, reader: Reader, sell: Sell, open_drop: Open, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=5, in_s=-1)
    if away == "watcher":
        monkeypatch.setattr(type(app.app.state.answers), "connected", property(lambda _: False, lambda *_: None))
    else:
        reader.client.cookies.set("tidegate_session", (await reader.client.post("/api/v1/guests")).json()["token"])

        async def refuses(_request: Request) -> None:
            raise Overloaded()

        monkeypatch.setattr(pages_visit, "current_person", refuses)
    page = (await reader.get("/drops/lamp-night")).text
    assert re.search(r'<div class="swap" *>\s*<form class="form" method="post" action="/holds"', page), page
    assert re.search(r'<div class="stack" hidden *>\s*<p>There is one for each person', page), page


async def test_a_stranger_who_is_led_to_sign_in_keeps_the_session(reader: Reader, sell: Sell, open_drop: Open) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=5, in_s=-1)
    led = await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")
    assert (led.status_code, led.headers["location"]) == (303, "/login?next=/drops/lamp-night")
    assert "tidegate_session=" in led.headers["set-cookie"], "the guest that was made is theirs"


async def test_guests_buy_in_a_drop_where_the_merchant_lets_them(reader: Reader, sell: Sell, open_drop: Open) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=5, in_s=-1, guests=True)
    assert "you need an account" not in text_of(await reader.get("/drops/lamp-night"))
    held = await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")
    assert held.headers["location"].startswith("/checkout/")


async def test_who_reached_the_limit_of_a_drop_is_told(
    reader: Reader, sell: Sell, open_drop: Open, database: Database
) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=5, in_s=-1)
    await sign_in(reader, database)
    checkout = (await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")).headers["location"]
    more = await reader.send("/account", "/holds", sku="NIGHT-LAMP", quantity="1")
    assert more.headers["location"] == checkout, "a live hold is led back to"
    pay = await order(reader, checkout)
    paid = await reader.send(pay, pay, card="tok_ok", action="pay")
    await reader.get(paid.headers["location"])
    more = await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")
    assert more.status_code == 409
    assert "You have as many as one person may have" in text_of(more)


async def test_what_is_not_there_is_a_page_too(reader: Reader) -> None:
    for path in ("/checkout/nonsense", "/orders/nonsense", "/drops/nothing", "/products/nothing"):
        response = await reader.get(path)
        assert response.status_code == 404, path
        assert "text/html" in response.headers["content-type"]


async def test_strangers_have_no_orders(reader: Reader, other: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    checkout = await hold(reader, "red-lamp", "RED-LAMP")
    await order(reader, checkout)
    address = str((await reader.get(checkout)).url.path)
    assert (await other.get(address)).status_code == 404


async def test_pictures_may_be_kept_and_asked_about(reader: Reader) -> None:
    first = await reader.get("/art/red-mug.svg?of=kitchen&v=1")
    assert first.headers["content-type"] == "image/svg+xml"
    assert "immutable" in first.headers["cache-control"]
    again = await reader.client.get("/art/red-mug.svg?of=kitchen&v=1", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert "immutable" not in (await reader.get("/art/red-mug.svg?of=kitchen")).headers["cache-control"]


async def test_only_names_of_products_are_drawn(reader: Reader) -> None:
    for path in ("/art/Red.svg", "/art/a--b.svg", f"/art/{'x' * 201}.svg", "/art/a.svg?of=../b"):
        assert (await reader.get(path)).status_code == 404, path


async def test_robots_are_told_what_to_leave_alone(reader: Reader) -> None:
    response = await reader.get("/robots.txt")
    assert response.headers["content-type"].startswith("text/plain")
    assert "Disallow: /checkout/" in response.text


def token_on(page: httpx.Response) -> dict[str, str]:
    """The token of a page's forms."""
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found is not None
    return {"form_token": found[1]}


async def test_the_total_is_shown_before_it_is_ordered(reader: Reader, sell: Sell, database: Database) -> None:
    await sell("Red Lamp", price=1000)
    await the_rates(database)
    checkout = await hold(reader, "red-lamp", "RED-LAMP")
    shown = await reader.get(checkout)
    assert "Order and pay £14.00" in text_of(shown)
    assert "of it VAT 20 %" in text_of(shown)
    looked = await reader.send(checkout, checkout, **(FORM | {"country": "FR", "action": "look"}))
    assert (looked.status_code, "We do not send to France" in text_of(looked)) == (200, True)
    away = await reader.send(checkout, checkout, **(FORM | {"country": "FR"}))
    assert (away.status_code, "We do not send to this country" in text_of(away)) == (422, True)
    chosen = FORM | {"shipping_method": "courier", "quoted": "1400"}
    changed = await reader.send(checkout, checkout, **chosen)
    assert (changed.status_code, "The total is now £22.00" in text_of(changed)) == (409, True)
    unknown = await reader.send(checkout, checkout, **(chosen | {"shipping_method": "balloon"}))
    assert unknown.status_code == 409
    placed = await reader.send(checkout, checkout, **(chosen | {"quoted": "2200"}))
    assert placed.status_code == 303
    assert "Courier £12.00" in text_of(await reader.get(checkout))

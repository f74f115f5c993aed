"""Pages and API answers that a process keeps: the database is not asked when warm, and nothing is untrue long."""

from __future__ import annotations

import html
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import permutations
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.statements import statements
from tests.storefront.conftest import BASE_URL, Open, Reader, Sell, reading, sign_in, text_of
from tests.waiting import eventually
from tidegate import accounts
from tidegate.catalog import find_variants
from tidegate.entrypoints.site import create_app
from tidegate.inventory import set_stock
from tidegate.platform.broken_network import Proxy
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings
from tidegate.storefront.freshness import made_from, one_state
from tidegate.storefront.offers import DropPhase, find_drop_offer
from tidegate.web import Answers
from tidegate.web.kept import Kept

pytestmark = pytest.mark.anyio

LINK = '<a href="/inbox"'
LOOKED_AT = ("/", "/collections/lights", "/products/red-lamp", "/api/v1/products", "/api/v1/products/red-lamp")
SHOWN = LOOKED_AT[:3]
"""The pages among them."""


@asynccontextmanager
async def keeping_site(settings: Settings, **changed: Any) -> AsyncIterator[Any]:
    """A site that keeps what it made."""
    limits = settings.catalog.model_copy(update={"kept_max_bytes": 10_000_000, "stock_refresh_ms": 50})
    app: Any = create_app(settings.model_copy(update={"demo": True, "catalog": limits, **changed}))
    async with app.app.router.lifespan_context(app.app):
        await eventually(lambda: answers_of(app).revision is not None)
        yield app


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Any]:
    """One process of it."""
    async with keeping_site(settings) as app:
        yield app


def answers_of(app: Any) -> Answers:
    answers: Answers = app.app.state.answers
    return answers


async def warm(app: Any, client: httpx.AsyncClient, *paths: str) -> None:
    """Look at pages until they are kept; changes that came before must have been heard of."""

    async def kept() -> bool:
        for path in paths:
            assert (await client.get(path)).status_code == 200, path
        return len(answers_of(app)) >= len(paths)

    await eventually(kept)


async def reprice(database: Database, sku: str, amount: int) -> None:
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE catalog.prices SET amount = %s FROM catalog.variants AS v WHERE v.id = variant_id AND v.sku = %s",
            (amount, sku),
        )


async def test_what_is_warm_is_served_while_the_database_is_away(
    settings: Settings, database_url: str, sell: Sell
) -> None:
    await sell("Red Lamp")
    await sell("Blue Lamp")
    async with Proxy.before_postgres(database_url) as proxy:
        database = settings.database.model_copy(
            update={"pool_wait_s": 0.5, "breaker_failures": 2, "breaker_pause_s": 600.0}
        )
        async with (
            keeping_site(settings, database_url=SecretStr(proxy.url), database=database) as app,
            reading(app) as client,
        ):
            await warm(app, client, *LOOKED_AT)
            proxy.go_down()
            await eventually(lambda: not answers_of(app).connected)
            for path in LOOKED_AT:
                answer = await client.get(path)
                assert answer.status_code == 200, path
                assert ("may be some minutes old" in answer.text) == (not path.startswith("/api/")), path
                assert LINK not in answer.text, path
            client.cookies.set("tidegate_session", "somebody-with-a-session-0001", domain="127.0.0.1")
            page = await client.get("/products/red-lamp")
            assert page.status_code == 200
            assert "may be some minutes old" in page.text
            assert (await client.get("/products/blue-lamp")).status_code == 503, "this one was never looked at"
            inbox = await client.get("/inbox")
            assert inbox.status_code == 503
            assert "Your messages are away for a moment" in inbox.text
            assert app.app.state.database.is_left_alone, "nobody waits for it in vain any more"


async def test_a_changed_price_is_seen_in_every_process(
    settings: Settings, database: Database, app: Any, reader: Reader, sell: Sell
) -> None:
    await sell("Red Lamp", price=250)
    async with keeping_site(settings) as second, reading(second) as client:
        await warm(app, reader.client, *LOOKED_AT)
        await warm(second, client, *LOOKED_AT)
        await reprice(database, "RED-LAMP", 777)
        for asked in (reader.client, client):

            async def all_changed(asked: httpx.AsyncClient = asked) -> bool:
                pages = [(await asked.get(path)).text for path in LOOKED_AT]
                return all("£7.77" in page or '"amount":777' in page for page in pages)

            await eventually(all_changed, timeout_s=5)


async def test_staff_see_what_was_committed_on_the_next_request(
    database: Database, app: Any, reader: Reader, other: Reader, sell: Sell
) -> None:
    await sell("Red Lamp")
    await warm(app, reader.client, *LOOKED_AT)
    body = {"email": accounts.ADMIN_EMAIL, "password": await accounts.ensure_admin(database)}
    token = (await other.client.post("/api/v1/sessions", json=body)).json()["token"]
    for amount in range(301, 321):
        await reprice(database, "RED-LAMP", amount)
        page = await other.client.get("/products/red-lamp", headers={"authorization": f"Bearer {token}"})
        assert f"£{amount / 100:.2f}" in page.text
        api = await other.client.get("/api/v1/products/red-lamp", headers={"authorization": f"Bearer {token}"})
        assert api.json()["variants"][0]["price"]["amount"] == amount


async def test_a_changed_collection_is_seen(database: Database, app: Any, reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    await warm(app, reader.client, "/collections/lights")
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.collections SET title = 'Things that glow' WHERE slug = 'lights'")

    async def changed() -> bool:
        return "Things that glow" in (await reader.get("/collections/lights")).text

    await eventually(changed, timeout_s=5)


async def test_the_index_of_the_sitemap_is_kept_until_the_catalogue_changes(
    app: Any, reader: Reader, sell: Sell
) -> None:
    await sell("Red Lamp")
    await warm(app, reader.client, "/sitemap.xml")
    with statements() as seen:
        before = (await reader.get("/sitemap.xml")).text
    assert not [each for each in seen if "row_number()" in each]
    assert "red-lamp" in before
    await sell("A Lamp")

    async def renewed() -> bool:
        return "a-lamp" in (await reader.get("/sitemap.xml")).text

    await eventually(renewed, timeout_s=5)


async def test_stock_is_looked_after(database: Database, app: Any, reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=9)
    await warm(app, reader.client, *LOOKED_AT)
    for left, words, available in ((2, "Only 2 left", True), (0, "Sold out", False), (9, "", True)):
        async with database.transaction() as conn:
            ids = await find_variants(conn, skus=["RED-LAMP"])
            await set_stock(conn, levels={ids["RED-LAMP"]: left})

        async def shown(words: str = words, available: bool = available) -> bool:
            pages = [text_of(await reader.get(path)) for path in LOOKED_AT[:3]]
            told = [(await reader.get(path)).text for path in LOOKED_AT[3:]]
            says = all(words in page for page in pages) if words else not any("Sold out" in page for page in pages)
            return says and all(f'"available":{str(available).lower()}' in each for each in told)

        await eventually(shown, timeout_s=5)


@pytest.mark.parametrize("path", [*LOOKED_AT, "/products/tall-lamp", "/drops/lamp-night", "/api/v1/drops/lamp-night"])
async def test_it_is_made_anew_when_it_would_tell_something_else_of_stock_and_not_before(
    path: str, settings: Settings, database: Database, app: Any, reader: Reader, sell: Sell, open_drop: Open
) -> None:
    """Whatever a page tells of stock: two levels look the same to what is kept where the pages are the same."""
    await sell("Red Lamp")
    await sell("Tall Lamp", sizes=("S", "M"), stock=30)
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=30, in_s=-1.0, per_buyer=20)
    async with database.connection() as conn:
        ids = await find_variants(conn, skus=["RED-LAMP", "TALL-LAMP-S", "NIGHT-LAMP"])
    sku = {"/products/tall-lamp": "TALL-LAMP-S", "/drops/lamp-night": "NIGHT-LAMP"}.get(path, "RED-LAMP")
    sku = "NIGHT-LAMP" if path in ("/", "/api/v1/drops/lamp-night") else sku
    answers, kept = answers_of(app), dict[int, Kept]()
    for left in (0, 1, 4, 5, 6, 9, 10, 11, 19, 20, 30):
        async with database.transaction() as conn:
            await set_stock(conn, levels={ids[sku]: left})
        answers.heard(None)
        await eventually(lambda: answers.revision is not None)
        await warm(app, reader.client, path)
        found = answers.find((path, b"", "" if "/api/" in path else settings.locale))
        assert found is not None
        kept[left] = found
    shown = {left: each.made_from.stock[ids[sku]] for left, each in kept.items()}
    for one, other in permutations(kept, 2):
        if shown[one].looks_like(other, 0):
            assert kept[one].parts == kept[other].parts, (one, other)
    assert shown[30].looks_like(20, 0) == (kept[30].parts == kept[20].parts) == ("/api/v1/drops" not in path)


@pytest.mark.parametrize("path", ["/", "/drops/lamp-night"])
async def test_what_is_left_of_a_drop_is_counted_on_the_same_page(
    path: str, settings: Settings, database: Database, app: Any, reader: Reader, sell: Sell, open_drop: Open
) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=2_000, in_s=-1.0)
    await warm(app, reader.client, path)
    kept = answers_of(app).find((path, b"", settings.locale))
    before = await reader.get(path)
    assert "2,000 of 2,000 left" in text_of(before)
    async with database.transaction() as conn:
        await set_stock(conn, levels={(await find_variants(conn, skus=["NIGHT-LAMP"]))["NIGHT-LAMP"]: 1_999})
    tag = {"if-none-match": before.headers["etag"]}

    async def counted() -> bool:
        return "1,999 of 2,000 left" in text_of(await reader.client.get(path, headers=tag))

    await eventually(counted, timeout_s=5)
    assert kept is not None and answers_of(app).find((path, b"", settings.locale)) is kept
    same = {"if-none-match": (await reader.get(path)).headers["etag"]}
    assert (await reader.client.get(path, headers=same)).status_code == 304


async def test_what_began_while_it_was_read_is_read_again(
    settings: Settings, database: Database, sell: Sell, open_drop: Open
) -> None:
    """Where a drop stands is asked before the moments at which that changes."""
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=20, in_s=3_600.0)
    async with one_state(database) as conn:
        shown = await find_drop_offer(conn, slug="lamp-night", currency=settings.currency)
        assert shown is not None and shown.phase == DropPhase.SCHEDULED
        opened = replace(shown, drop=replace(shown.drop, opens_at=await database_now(conn)))
        source = await made_from(conn, shown=opened)
    assert source.until_s <= time.monotonic()


async def test_a_kept_drop_opens_by_itself(app: Any, reader: Reader, sell: Sell, open_drop: Open) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=10, in_s=2.0)
    await warm(app, reader.client, "/drops/lamp-night", "/api/v1/drops/lamp-night")
    shown = await reader.get("/drops/lamp-night")
    assert "Opens soon" in text_of(shown)
    assert re.search(r'http-equiv="refresh" content="[1-3]"', shown.text), "a browser without scripts looks again"
    assert "etag" not in shown.headers, "an old copy would show an old time"

    async def open_now() -> bool:
        told = (await reader.get("/api/v1/drops/lamp-night")).json()["phase"]
        return told == "open" and text_of(await reader.get("/drops/lamp-night")).startswith("Open now")

    await eventually(open_now, timeout_s=10)


@pytest.mark.parametrize("path", LOOKED_AT)
async def test_a_copy_is_not_sent_again(path: str, database: Database, app: Any, reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    await warm(app, reader.client, path)
    await reader.get(path)  # a form's token is bound to the cookie that this brings
    first = await reader.client.get(path)
    tag = first.headers["etag"]
    for asked in (tag, f'"other", {tag}', tag.removeprefix("W/")):
        again = await reader.client.get(path, headers={"if-none-match": asked})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "no-cache" in again.headers["cache-control"]
    assert (await reader.client.head(path)).headers["content-length"] == str(len(first.content))
    await reprice(database, "RED-LAMP", 999)

    async def new_one() -> bool:
        return (await reader.client.get(path, headers={"if-none-match": tag})).status_code == 200

    await eventually(new_one, timeout_s=5)


async def test_visitors_get_their_own_gaps(app: Any, reader: Reader, other: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=50)
    await warm(app, reader.client, *LOOKED_AT)
    assert "gap-" not in "".join([(await reader.get(path)).text for path in LOOKED_AT])
    held = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="2")
    assert held.status_code == 303
    for path in LOOKED_AT[:3]:
        assert "2 items are held for you" in text_of(await reader.get(path)), path
        assert "held for you" not in text_of(await other.get(path)), path
    tokens = [
        re.findall(r'name="form_token" value="([^"]+)"', (await each.get("/products/red-lamp")).text)
        for each in (reader, other)
    ]
    assert tokens[0] != tokens[1]
    stolen = {"form_token": tokens[0][0], "sku": "RED-LAMP", "quantity": "1"}
    refused = await other.client.post("/holds", data=stolen, headers={"origin": BASE_URL})
    assert refused.status_code == 403
    assert (await other.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="1")).status_code == 303


@asynccontextmanager
async def no_inboxes(database: Database) -> AsyncIterator[None]:
    """Notify is away by itself, although all share one database: whoever looks into its tables waits in vain."""
    async with database.transaction() as conn:
        await conn.execute("LOCK TABLE notify.inbox_messages IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def looking_around(settings: Settings, *, breaker_pause_s: float) -> AsyncIterator[tuple[Any, Reader]]:
    """A site, and somebody there who holds two red lamps."""
    limits = {"lock_timeout_ms": 50, "breaker_failures": len(SHOWN), "breaker_pause_s": breaker_pause_s}
    database = settings.database.model_copy(update=limits)
    async with keeping_site(settings, database=database) as app, reading(app) as client:
        reader = Reader(client)
        await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="2")
        await warm(app, client, *SHOWN)
        yield app, reader


async def test_while_notify_is_away_pages_do_not_lead_to_the_inbox(
    settings: Settings, database: Database, sell: Sell
) -> None:
    await sell("Red Lamp", stock=50)
    async with looking_around(settings, breaker_pause_s=0.05) as (app, reader), reading(app) as stranger:
        before = {path: await reader.get(path) for path in SHOWN}
        assert all(LINK in page.text for page in before.values())
        async with no_inboxes(database):
            for path, had in before.items():
                page = await reader.client.get(path, headers={"if-none-match": had.headers["etag"]})
                assert page.status_code == 200, "the copy that the browser has is another"
                assert LINK not in page.text
                assert "2 items are held for you" in text_of(page)
            inbox = await reader.get("/inbox")
            assert inbox.status_code == 503
            assert "Your messages are away for a moment" in inbox.text
            assert "Nothing is lost; look again in a minute." in html.unescape(inbox.text)
            assert LINK in (await stranger.get("/")).text, "who has no messages misses none"

        async def all_lead_there() -> bool:
            return all([LINK in (await reader.get(path)).text for path in SHOWN])

        await eventually(all_lead_there)
        assert (await reader.get("/inbox")).status_code == 200


async def test_after_some_looks_in_vain_no_page_waits_for_inboxes(
    settings: Settings, database: Database, sell: Sell, open_drop: Open
) -> None:
    await sell("Red Lamp", stock=50)
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=10, in_s=60)
    others = ("/drops/lamp-night", "/cart", "/account")
    async with looking_around(settings, breaker_pause_s=600.0) as (_, reader):
        for path in others:
            assert LINK in (await reader.get(path)).text, path
        async with no_inboxes(database):
            for path in SHOWN:
                assert LINK not in (await reader.get(path)).text
            with statements() as seen:
                for path in (*SHOWN, *others):
                    page = await reader.get(path)
                    assert (page.status_code, LINK in page.text) == (200, False), path
            assert not [each for each in seen if "inbox_messages" in each]


async def test_who_holds_something_of_a_drop_is_led_to_it(
    app: Any, reader: Reader, other: Reader, sell: Sell, open_drop: Open, database: Database
) -> None:
    await sell("Night Lamp")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=10, in_s=-1)
    await sign_in(reader, database)
    await warm(app, other.client, "/drops/lamp-night")
    held = await reader.send("/drops/lamp-night", "/holds", sku="NIGHT-LAMP", quantity="1")
    await warm(app, other.client, "/drops/lamp-night")
    led = await reader.client.get("/drops/lamp-night")
    assert (led.status_code, led.headers["location"]) == (303, held.headers["location"])
    assert (await other.client.get("/drops/lamp-night")).status_code == 200


async def test_languages_are_kept_apart(app: Any, reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    await warm(app, reader.client, "/products/red-lamp")
    german = await reader.client.get("/products/red-lamp", headers={"accept-language": "de"})
    assert 'lang="de' in german.text
    assert german.headers["content-language"].startswith("de")
    assert 'lang="en' in (await reader.get("/products/red-lamp")).text

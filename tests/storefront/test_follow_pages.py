"""Following, as a browser without scripts and a program do it, and what the scheduler then tells."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from tests.guests import make_guest
from tests.notify.telling import tell
from tests.storefront.conftest import BASE_URL, Open, Reader, Sell, reading, text_of
from tests.storefront.test_options import tees
from tidegate import catalog, notify
from tidegate.inventory import set_stock
from tidegate.notify.follow_links import unsubscribe_link
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.outbox import SEALED
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings
from tidegate.storefront import Announcer
from tidegate.storefront.announcing import opening_event
from tidegate.web import SESSION_COOKIE

pytestmark = pytest.mark.anyio

ADA = "ada.lovelace@example.com"


async def sign_in(reader: Reader, database: Database, email: str = ADA) -> PersonId:
    """Give the reader an account."""
    sealer = current_sealer()
    async with database.transaction() as conn:
        made = await make_guest(conn)
        await conn.execute(
            "UPDATE accounts.people SET role = 'customer', email_sealed = %s, email_fingerprint = %s WHERE id = %s",
            (
                sealer.seal(email, column="accounts.people.email_sealed"),
                sealer.fingerprint(email, column="accounts.people.email_fingerprint"),
                made.person.id,
            ),
        )
    reader.client.cookies.set(SESSION_COOKIE, made.token)
    return made.person.id


async def mailed_links(database: Database) -> list[tuple[str, str]]:
    """Address and confirming link of each mail that was asked for, the oldest first."""
    async with database.connection() as conn:
        found = await conn.execute(
            "SELECT personal_sealed FROM platform.outbox WHERE topic = 'follow.asked' ORDER BY id"
        )
        opened = [current_sealer().open_json(bytes(row[0]), column=SEALED) for row in await found.fetchall()]
    return [(each["email"], each["link"].removeprefix(BASE_URL)) for each in opened]


async def announced(database: Database, settings: Settings) -> list[tuple[str, str]]:
    """Look for what followers wait for, tell them, and say to which channel and with which template."""
    await Announcer(database, settings).once()
    async with database.connection() as conn:
        found = await conn.execute("SELECT DISTINCT event_id FROM notify.sends WHERE finished_at IS NULL")
        events = [EventId(row[0]) for row in await found.fetchall()]
    for event_id in events:
        await tell(database, settings, event_id)
    async with database.connection() as conn:
        found = await conn.execute("SELECT template, channel FROM notify.deliveries WHERE shard_no > 0 ORDER BY 1, 2")
        return [(row[0], row[1]) for row in await found.fetchall()]


async def open_now(database: Database, slug: str) -> None:
    """Let a drop's moment come."""
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.drops SET opens_at = clock_timestamp() WHERE slug = %s", (slug,))


async def restock(database: Database, sku: str, level: int) -> None:
    async with database.transaction() as conn:
        ids = await catalog.find_variants(conn, skus=[sku])
        await set_stock(conn, levels={ids[sku]: level})


async def test_an_account_follows_a_drop_by_one_press_and_is_told_once(
    reader: Reader, sell: Sell, open_drop: Open, database: Database, settings: Settings
) -> None:
    await sell("Red Lamp")
    await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=3_600)
    assert "Tell me when it opens" in text_of(await reader.get("/drops/lamp-night"))
    await sign_in(reader, database)
    await reader.send("/drops/lamp-night", "/follow", kind="drop", slug="lamp-night")
    pressed = await reader.send("/drops/lamp-night", "/follow", kind="drop", slug="lamp-night")
    assert pressed.status_code == 303
    page = text_of(await reader.get(pressed.headers["location"]))
    assert "We tell you when Lamp Night opens." in page
    assert page.count("When it opens") == 1
    assert await announced(database, settings) == []
    await open_now(database, "lamp-night")
    for _ in range(3):
        assert await announced(database, settings) == [("drop_open", "email"), ("drop_open", "inbox")]
    assert "Nothing yet" in text_of(await reader.get("/account/follows"))
    assert "Tell me when it opens" not in text_of(await reader.get("/drops/lamp-night"))


async def test_a_product_that_comes_back_is_told_once_until_it_is_asked_for_again(
    reader: Reader, sell: Sell, database: Database, settings: Settings
) -> None:
    await sell("Red Lamp", stock=0)
    await sign_in(reader, database)
    pressed = await reader.send("/products/red-lamp", "/follow", kind="product", slug="red-lamp")
    assert "We tell you when Red Lamp is back." in text_of(await reader.get(pressed.headers["location"]))
    assert await announced(database, settings) == []
    once = [("product_back", "email"), ("product_back", "inbox")]
    for level in (3, 0, 2):
        await restock(database, "RED-LAMP", level)
        assert await announced(database, settings) == once
    await restock(database, "RED-LAMP", 0)
    await reader.client.put("/api/v1/follows/product/red-lamp", headers={"origin": BASE_URL})
    assert await announced(database, settings) == once
    await restock(database, "RED-LAMP", 1)
    assert await announced(database, settings) == sorted(once * 2)


async def test_of_several_variants_one_is_waited_for_or_any(
    reader: Reader, database: Database, settings: Settings
) -> None:
    await tees(database, {("S", "Red"): 0, ("M", "Red"): 0, ("L", "Red"): 4})
    page = await reader.get("/products/tee")
    assert re.findall(r'<option value="tee:([A-Z-]+)">([^<]+)<', page.text) == [
        ("TEE-S-RED", "S, Red"),
        ("TEE-M-RED", "M, Red"),
    ], "what is there need not be waited for"
    await sign_in(reader, database)
    pressed = await reader.send("/products/tee", "/follow", kind="product", slug="tee:TEE-S-RED")
    assert "We tell you when Tee, Size: S, Colour: Red is back." in text_of(
        await reader.get(pressed.headers["location"])
    )
    there = await reader.send("/products/tee", "/follow", kind="product", slug="tee:TEE-L-RED")
    assert there.headers["location"].endswith("/products/tee"), "nothing to wait for"
    assert (await reader.send("/products/tee", "/follow", kind="product", slug="tee:OTHER")).status_code == 404
    await restock(database, "TEE-M-RED", 1)
    assert await announced(database, settings) == [], "another one is back"
    await restock(database, "TEE-S-RED", 1)
    once = [("product_back", "email"), ("product_back", "inbox")]
    assert await announced(database, settings) == once

    for sku in ("TEE-S-RED", "TEE-M-RED", "TEE-L-RED"):
        await restock(database, sku, 0)
    assert '<option value="tee">Any of them</option>' in (await reader.get("/products/tee")).text
    await reader.send("/products/tee", "/follow", kind="product", slug="tee")
    await restock(database, "TEE-L-RED", 1)
    assert await announced(database, settings) == sorted(once * 2)


async def test_who_waits_for_a_product_and_one_of_its_sizes_is_told_once(
    reader: Reader, database: Database, settings: Settings
) -> None:
    await tees(database, {("S", "Red"): 0, ("M", "Red"): 0})
    await sign_in(reader, database)
    for key in ("tee", "tee:TEE-S-RED"):
        await reader.send("/products/tee", "/follow", kind="product", slug=key)
    await restock(database, "TEE-S-RED", 1)
    assert await announced(database, settings) == [("product_back", "email"), ("product_back", "inbox")]


async def begun(database: Database) -> list[tuple[EventId, UUID]]:
    """Event and topic of each send, the oldest first."""
    async with database.connection() as conn:
        found = await conn.execute("SELECT event_id, topic_id FROM notify.sends ORDER BY event_id")
        return [(EventId(row[0]), row[1]) for row in await found.fetchall()]


@pytest.mark.parametrize("by_staff", [True, False])
async def test_whom_a_send_left_untold_waits_until_the_product_is_back_another_time(
    reader: Reader, sell: Sell, database: Database, settings: Settings, by_staff: bool
) -> None:
    """Whether staff ended it or it was too late to matter."""
    await sell("Red Lamp", stock=0)
    await sign_in(reader, database)
    await reader.send("/products/red-lamp", "/follow", kind="product", slug="red-lamp")
    await restock(database, "RED-LAMP", 3)
    announcer = Announcer(database, settings)
    await announcer.once()
    ((event_id, topic_id),) = await begun(database)
    async with database.transaction() as conn:
        if by_staff:
            await notify.cancel_send(conn, event_id=event_id, topic_id=topic_id)
        else:
            await notify.expire_sends(conn, event_ids=[event_id])
    for _ in range(2):
        assert await announced(database, settings) == []
        async with database.connection() as conn:
            await conn.execute("UPDATE notify.sends SET finished_at = coalesce(finished_at, clock_timestamp())")
    assert await announcer.once() == 0
    assert len(await begun(database)) == 1
    await restock(database, "RED-LAMP", 0)
    assert await announcer.once() == 0
    await restock(database, "RED-LAMP", 1)
    assert await announced(database, settings) == [("product_back", "email"), ("product_back", "inbox")]
    assert len(await begun(database)) == 2


async def test_an_opening_is_told_for_some_hours_though_the_drop_stays_open(
    reader: Reader, sell: Sell, open_drop: Open, database: Database, settings: Settings
) -> None:
    await sell("Red Lamp")
    await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=3_600)
    await sign_in(reader, database)
    await reader.send("/drops/lamp-night", "/follow", kind="drop", slug="lamp-night")
    await open_now(database, "lamp-night")
    await Announcer(database, settings).once()
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT s.expires_at - d.opens_at FROM notify.sends AS s, catalog.drops AS d WHERE d.slug = %s",
                ("lamp-night",),
            )
        ).fetchone()
    assert row == (timedelta(hours=settings.follows.open_matters_h),), "however late it is begun, or begun again"
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE catalog.drops SET opens_at = opens_at - make_interval(hours => %s)",
            (settings.follows.open_matters_h,),
        )
    assert await Announcer(database, settings).once() == 0


async def test_an_opening_does_not_matter_any_more_when_the_drop_is_over(
    reader: Reader, sell: Sell, open_drop: Open, database: Database, settings: Settings
) -> None:
    await sell("Red Lamp")
    await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=3_600)
    await sign_in(reader, database)
    await reader.send("/drops/lamp-night", "/follow", kind="drop", slug="lamp-night")
    await open_now(database, "lamp-night")
    await Announcer(database, settings).once()
    async with database.transaction() as conn:
        await catalog.close_drop(conn, slug="lamp-night")
    for _ in range(2):
        assert await announced(database, settings) == []
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=5)
    assert (send.progress.messages, send.progress.late) == (2, 2)


async def test_a_collection_is_followed_on_and_a_drop_of_it_is_told_once(
    reader: Reader, sell: Sell, open_drop: Open, database: Database, settings: Settings
) -> None:
    await sell("Red Lamp")
    await sell("Blue Lamp")
    await sell("Vase", kind="Pots")
    await sign_in(reader, database)
    pressed = await reader.send("/collections/lights", "/follow", kind="collection", slug="lights")
    assert "whenever a drop of Lights opens" in text_of(await reader.get(pressed.headers["location"]))
    await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=3_600)
    await open_drop("vase-night", "VASE", stock=2, in_s=-10)
    await reader.send("/drops/lamp-night", "/follow", kind="drop", slug="lamp-night")
    assert await announced(database, settings) == []
    await open_now(database, "lamp-night")
    once = [("drop_open", "email"), ("drop_open", "inbox")]
    assert await announced(database, settings) == once, "who follows the drop and its collection is told once"
    await open_drop("blue-night", "BLUE-LAMP", stock=2, in_s=-10)
    for _ in range(2):
        assert await announced(database, settings) == sorted(once * 2)
    assert "Lights" in text_of(await reader.get("/account/follows"))


async def test_a_guest_confirms_by_a_mailed_link_and_is_sent_nothing_before(
    reader: Reader, sell: Sell, open_drop: Open, database: Database, settings: Settings
) -> None:
    await sell("Red Lamp")
    await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=3_600)
    pressed = await reader.send("/drops/lamp-night", "/follow", kind="drop", slug="lamp-night")
    ask = pressed.headers["location"]
    assert "We write to you once, when it opens." in text_of(await reader.get(ask))
    wrong = await reader.send(ask, "/follow/address", kind="drop", slug="lamp-night", email="ada at <home")
    assert wrong.status_code == 422
    assert 'value="ada at &lt;home"' in wrong.text
    assert "This is not an e-mail address" in text_of(wrong)
    for email in ("kai@example.com", "never@example.com"):
        sent = await reader.send(ask, "/follow/address", kind="drop", slug="lamp-night", email=email)
        assert f"on its way to {email}" in text_of(sent)
    (_, link), (_, _unused) = await mailed_links(database)
    async with database.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM notify.recipients")).fetchone() == (0,)
    assert "Yes, tell me" in (await reader.get(link)).text
    async with database.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM notify.follows")).fetchone() == (0,), (
            "opening is not yet"
        )
    token = parse_qs(urlsplit(link).query)["token"][0]
    for _ in range(2):
        done = await reader.send(link, "/follow/confirm", token=token)
        assert "We write to you when Lamp Night opens." in text_of(done)
    await open_now(database, "lamp-night")
    assert await announced(database, settings) == [("drop_open", "email")]
    assert "is there already" in text_of(await reader.get(link))
    late = await reader.send("/collections/lights", "/follow/confirm", token=token)
    assert late.status_code == 409
    assert await announced(database, settings) == [("drop_open", "email")]


async def test_links_that_are_old_forged_or_cut_off_confirm_nothing(
    reader: Reader, sell: Sell, database: Database, settings: Settings
) -> None:
    await sell("Red Lamp", stock=0)
    ask = "/follow?kind=product&slug=red-lamp"
    await reader.send(ask, "/follow/address", kind="product", slug="red-lamp", email="kai@example.com")
    ((_, link),) = await mailed_links(database)
    token = parse_qs(urlsplit(link).query)["token"][0]
    for bad in (token[:-4], "A" + token, "", "é" * 9, "A" * 5_000):
        page = await reader.get(f"/follow/confirm?token={bad}")
        assert "Nothing was changed" in text_of(page)
        refused = await reader.send(ask, "/follow/confirm", token=bad)
        assert refused.status_code == 410
    with pytest.raises(notify.FollowLinkOver):
        notify.read_confirmation(token, now=datetime.now(UTC) + timedelta(hours=settings.follows.link_hours, minutes=1))


async def test_known_and_unknown_addresses_are_answered_alike(reader: Reader, sell: Sell, database: Database) -> None:
    await sell("Red Lamp", stock=0)
    await sign_in(reader, database, "known@example.com")
    await reader.send("/products/red-lamp", "/follow", kind="product", slug="red-lamp")
    reader.client.cookies.clear()
    answers = []
    for email in ("known@example.com", "blank@example.com"):
        body = {"kind": "product", "slug": "red-lamp", "email": email}
        answer = await reader.client.post("/api/v1/follow-requests", json=body)
        answers.append((answer.status_code, answer.json()))
    assert answers[0] == answers[1] == (202, {"hours": 72})
    assert [email for email, _ in await mailed_links(database)] == ["known@example.com", "blank@example.com"]


async def test_mails_are_bounded_per_address(reader: Reader, sell: Sell, database: Database) -> None:
    await sell("Red Lamp", stock=0)
    ask = "/follow?kind=product&slug=red-lamp"
    email = f"kai{datetime.now(UTC).timestamp()}@example.com"
    for _ in range(5):
        await reader.send(ask, "/follow/address", kind="product", slug="red-lamp", email=email)
    refused = await reader.send(ask, "/follow/address", kind="product", slug="red-lamp", email=email.upper())
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "No mail was sent" in text_of(refused)
    assert f'value="{email.upper()}"' in refused.text
    assert len(await mailed_links(database)) == 5


async def test_one_click_ends_a_follow_and_opening_the_link_does_not(
    app: Any, reader: Reader, sell: Sell, database: Database
) -> None:
    await sell("Red Lamp", stock=0)
    person = await sign_in(reader, database)
    await reader.send("/products/red-lamp", "/follow", kind="product", slug="red-lamp")
    async with database.connection() as conn:
        (followed,) = await notify.list_follows(conn, person_id=person, email=ADA, limit=5)
    link = unsubscribe_link("", topic_id=followed.topic_id, email=ADA)
    assert "Stop messages about Red Lamp?" in text_of(await reader.get(link))
    assert "Red Lamp" in text_of(await reader.get("/account/follows"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE_URL) as mail_program:
        for _ in range(2):
            done = await mail_program.post(link, data={"List-Unsubscribe": "One-Click"})
            assert done.status_code == 200, done.text
        assert (await mail_program.post("/unsubscribe?token=AAAA", data={"a": "b"})).status_code == 404
    assert "Nothing yet" in text_of(await reader.get("/account/follows"))


async def test_follows_are_ones_own(reader: Reader, other: Reader, sell: Sell, database: Database) -> None:
    await sell("Red Lamp", stock=0)
    await sign_in(reader, database)
    await sign_in(other, database, "eve@example.com")
    assert (
        await reader.client.put("/api/v1/follows/product/red-lamp", headers={"origin": BASE_URL})
    ).status_code == 204
    gone = await other.client.delete("/api/v1/follows/product/red-lamp", headers={"origin": BASE_URL})
    assert gone.status_code == 404
    assert (await other.client.get("/api/v1/follows")).json() == {"items": [], "next_after": None}
    listed = (await reader.client.get("/api/v1/follows?limit=1")).json()
    assert [(item["kind"], item["slug"], item["path"]) for item in listed["items"]] == [
        ("product", "red-lamp", "/products/red-lamp")
    ]
    ended = await reader.send("/account/follows", "/account/follows/end", kind="product", slug="red-lamp")
    assert ended.status_code == 303
    assert (await reader.client.get("/api/v1/follows")).json()["items"] == []


async def test_what_is_there_or_nowhere_cannot_be_waited_for(
    reader: Reader, sell: Sell, open_drop: Open, database: Database
) -> None:
    await sell("Red Lamp", stock=3)
    await sell("Vase")
    await open_drop("vase-night", "VASE", stock=2, in_s=-10)
    await sign_in(reader, database)
    origin = {"origin": BASE_URL}
    for path, status in (
        ("product/red-lamp", 409),
        ("drop/vase-night", 409),
        ("drop/nowhere", 404),
        ("shop/other", 404),
        ("planet/mars", 404),
        ("shop/shop", 204),
    ):
        answer = await reader.client.put(f"/api/v1/follows/{path}", headers=origin)
        assert answer.status_code == status, path
    pressed = await reader.send("/collections/lights", "/follow", kind="product", slug="red-lamp")
    assert pressed.headers["location"] == "/products/red-lamp"
    async with database.transaction() as conn:
        await catalog.close_drop(conn, slug="vase-night")
    assert (await reader.client.put("/api/v1/follows/drop/vase-night", headers=origin)).status_code == 409


async def test_buttons_leave_kept_pages_the_same_for_everybody(
    app: Any, reader: Reader, sell: Sell, database: Database
) -> None:
    await sell("Red Lamp", stock=0)
    await sign_in(reader, database)
    async with reading(app) as stranger:
        pages = [(await client.get("/products/red-lamp")).text for client in (reader.client, stranger)]
    bare = [re.sub(r'value="[0-9a-f]+\.[0-9a-f]{64}"|data-server-time="[^"]+"', "", page) for page in pages]
    assert bare[0] == bare[1]
    assert "Tell me when it is back" in bare[0]


async def test_an_opening_has_one_event_whoever_tells_of_it(sell: Sell, open_drop: Open, database: Database) -> None:
    await sell("Red Lamp")
    await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=3_600)
    async with database.transaction() as conn:
        assert await catalog.opened(conn, slugs=["lamp-night"]) == ()
        await catalog.edit_drop(
            conn,
            slug="lamp-night",
            title="",
            quantity=2,
            opens_at=await database_now(conn) - timedelta(seconds=1),
            per_buyer=1,
            guests=False,
        )
        (opening,) = await catalog.opened(conn, slugs=["lamp-night"])
        assert await catalog.opened_lately(conn, within_s=60, limit=5) == (opening,)
    event = opening_event(opening)
    assert event == opening_event(opening)
    assert event.version == 7
    assert event.int >> 80 == int(opening.opens_at.timestamp() * 1000)

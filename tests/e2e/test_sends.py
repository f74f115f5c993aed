"""Writing to followers in a browser: staff send a post and see it arrive, the follower finds it."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

import psycopg
import pytest
from playwright.sync_api import expect

from benchmarks.followers import add_followers
from tests.e2e.conftest import Visit
from tests.e2e.shopper import mails_to
from tests.e2e.test_following import told, with_account
from tests.e2e.test_pages import administrator, inspect
from tests.e2e.test_staff import staff_of
from tests.servers import Shop

pytestmark = pytest.mark.browser

EMAIL = "ada.reads@example.com"
TITLE = "New lamps on Friday"


def test_staff_write_to_followers_who_find_it_in_inbox_mailbox_and_feed(shop: Shop, visit: Visit) -> None:
    ada, staff = visit(shop), staff_of(shop, visit)
    with_account(shop, ada, EMAIL)
    ada.go("/collections/lights")
    ada.press("Follow")
    ada.sees("whenever a drop of Lights opens")

    staff.go("/admin/sends")
    inspect(staff, "admin-sends")
    staff.page.get_by_role("link", name="Write to followers").click()
    staff.page.get_by_label("To the followers of").select_option("collection:lights")
    staff.page.get_by_label("Title").fill(TITLE)
    staff.page.get_by_label("Text").fill("Twelve of them.\nAt noon.")
    staff.page.get_by_label("in their inbox").uncheck()
    staff.press("How many, how long?")
    staff.sees("Choose at least one way for it to reach people.")
    staff.page.get_by_label("in their inbox").check()
    staff.page.get_by_label("by mail").check()
    staff.press("How many, how long?")
    staff.sees(re.compile(r"Send it to \d+ followers?\?"))
    staff.sees("Nothing is sent yet.")
    inspect(staff, "admin-sends-estimate")
    staff.press("Send it")
    staff.sees("It is on its way.")
    staff.sees(TITLE)
    assert "Twelve of them." in told(shop, EMAIL, TITLE)
    staff.sees(re.compile(r"\b(\d*[2-9]|\d+\d) of \1 messages are done\."))
    inspect(staff, "admin-send")

    ada.go("/inbox")
    ada.page.get_by_role("link", name="See it in the shop").first.click()
    ada.sees("Twelve of them.")
    inspect(ada, "post")
    ada.page.get_by_role("link", name="All news").click()
    ada.sees(TITLE)
    inspect(ada, "posts")


def test_staff_write_a_text_beside_its_preview_and_mail_it_to_themselves(shop: Shop, visit: Visit) -> None:
    staff = staff_of(shop, visit)
    staff.go("/admin/messages")
    staff.page.get_by_role("row", name="A drop opens de").get_by_role("link").click()
    look = staff.page.frame_locator("iframe[name=preview]")
    expect(look.get_by_role("heading", name="Midnight Lamps ist offen")).to_be_visible()
    expect(look.frame_locator("iframe").get_by_role("link", name="Zur Aktion")).to_be_visible()
    staff.page.get_by_label("Subject", exact=True).fill("{{ titel }}")
    staff.press("Show the preview")
    expect(look.get_by_text("Line 1: There is no titel here.")).to_be_visible()
    staff.page.get_by_label("Subject", exact=True).fill("Jetzt: {{ title }}")
    staff.press("Show the preview")
    expect(look.get_by_role("heading", name="Jetzt: Midnight Lamps")).to_be_visible()
    email, _password = administrator(shop)
    staff.press(f"Mail it to {email}")
    staff.sees(f"On its way to {email}, with example values.")
    assert "Midnight Lamps" in told(shop, email, "Jetzt: Midnight Lamps")
    staff.press("Save")
    staff.sees("Saved. Messages use it within seconds.")


def test_staff_watch_a_send_advance_pause_it_and_go_on(shop: Shop, visit: Visit) -> None:
    with psycopg.connect(shop.endpoints()["database_url"]) as conn:
        add_followers(conn, kind="collection", key="watched", count=300, own_addresses=False)
    staff = staff_of(shop, visit)
    staff.go("/admin/sends/new")
    staff.page.get_by_label("To the followers of").select_option("collection:watched")
    staff.page.get_by_label("Title").fill("Watch this")
    staff.page.get_by_label("Text").fill("It takes a while.")
    staff.press("How many, how long?")
    staff.sees("Send it to 300 followers?")
    card = staff.page.get_by_role("article", name="Watch this")
    with psycopg.connect(shop.endpoints()["database_url"]) as conn:
        conn.execute("LOCK TABLE notify.inbox_messages IN EXCLUSIVE MODE")  # nobody can be told meanwhile
        staff.press("Send it")
        expect(card.get_by_text("Being sent")).to_be_visible()
        card.get_by_role("button", name="Pause").click()
        staff.sees("Nothing more is sent until you go on.")
        expect(card.get_by_text("Paused")).to_be_visible()
        conn.rollback()
    card.get_by_role("button", name="Go on").click()
    staff.page.evaluate("window.sameVisit = true")
    expect(card.get_by_text("300 of 300 messages are done.")).to_be_visible()
    expect(card.get_by_text("Sent", exact=True)).to_be_visible()
    assert "Delivered 300" in " ".join(card.inner_text().split())
    assert staff.page.evaluate("window.sameVisit"), "it was seen without loading the page anew"
    with psycopg.connect(shop.endpoints()["database_url"]) as conn:
        conn.execute("DELETE FROM notify.recipients WHERE address_sealed = ''")


def test_staff_send_dead_letters_again_and_drop_one(shop: Shop, visit: Visit) -> None:
    ada, staff = visit(shop), staff_of(shop, visit)
    with_account(shop, ada, "ada.misses@example.com")
    ada.go("/collections/kitchen")
    ada.press("Follow")
    ada.sees("whenever a drop of Kitchen opens")
    with psycopg.connect(shop.endpoints()["database_url"]) as conn:
        fail_post(conn, to="kitchen", title="Kettles that nobody got")
        fail_post(conn, to="kitchen", title="Kettles for nobody")

    staff.go("/admin/dead-letters")
    staff.page.get_by_label("What", exact=True).select_option("post")
    staff.press("Show")
    inspect(staff, "admin-dead-letters")
    staff.page.get_by_role("link", name="Kettles that nobody got", exact=True).click()
    staff.sees("550 no such mailbox")
    staff.sees("A kettle for each.")
    inspect(staff, "admin-dead-letter")
    staff.page.get_by_role("link", name="a message to followers").click()
    staff.sees("1 of 1 messages are done.")
    staff.page.get_by_role("link", name="The failed ones of").click()
    staff.sees("1 dead letter.")
    staff.press("Send it again")
    staff.sees("1 message is on its way again.")
    staff.sees("None that fits.")
    assert "A kettle for each." in told(shop, "ada.misses@example.com", "Kettles that nobody got")

    staff.go("/admin/dead-letters?kind=post")
    staff.page.get_by_role("link", name="Kettles for nobody", exact=True).click()
    staff.page.get_by_role("link", name="Drop it").click()
    staff.sees("This cannot be undone.")
    inspect(staff, "admin-dead-letter-drop")
    staff.press("Drop it")
    staff.sees("It was dropped.")
    expect(staff.page.get_by_role("link", name="Kettles for nobody", exact=True)).to_have_count(0)
    assert mails_to(shop, "ada.misses@example.com")[0]["subject"] == "Kettles that nobody got"


def fail_post(conn: psycopg.Connection[Any], *, to: str, title: str) -> None:
    """A post whose mail to the only follower of a collection failed for good, as workers leave it."""
    (event_id,) = conn.execute("SELECT uuidv7()").fetchone() or (None,)
    words = {"title": title, "body": "A kettle for each.", "url": "http://127.0.0.1/posts", "topic_title": "Kitchen"}
    topic = conn.execute(
        """
        INSERT INTO notify.sends
            (event_id, topic_id, template, variables, channels, once, planned_at, finished_at, told_to)
        SELECT %s, topic_id, 'post', %s, '{email}', false, clock_timestamp(), clock_timestamp(), NULL
        FROM notify.topics WHERE (kind, key) = ('collection', %s) RETURNING topic_id
        """,
        (event_id, json.dumps(words), to),
    ).fetchone()
    assert topic is not None
    conn.execute(
        """
        INSERT INTO notify.send_shards
            (event_id, topic_id, shard_no, after_id, upto_id, followers, messages, failed, expanded_at, done_at)
        VALUES (%(event)s, %(topic)s, 1, %(first)s, %(last)s, 1, 1, 1, clock_timestamp(), clock_timestamp())
        """,
        {"event": event_id, "topic": topic[0], "first": UUID(int=0), "last": UUID(int=2**128 - 1)},
    )
    done = conn.execute(
        """
        INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, attempts,
            last_error, address_sealed, shard_no)
        SELECT %(event)s, r.recipient_id, 'email', 'post', jsonb_build_object('topic_id', f.topic_id, 'locale',
            r.locale), 'failed', 1, '550 no such mailbox', r.address_sealed, 1
        FROM notify.follows AS f JOIN notify.recipients AS r USING (recipient_id) WHERE f.topic_id = %(topic)s
        """,
        {"event": event_id, "topic": topic[0]},
    )
    assert done.rowcount == 1

"""Where people choose what they are told, as a browser without scripts does it: with an account, and by a link."""

from __future__ import annotations

import re
from datetime import time
from uuid import UUID

import pytest

from tests.storefront.conftest import Reader, Sell, text_of
from tests.storefront.test_follow_pages import sign_in
from tidegate import notify
from tidegate.notify import Channel, Preferences, QuietHours, Topic, TopicKind
from tidegate.notify.follow_links import unsubscribe_link
from tidegate.notify.preferences import find_language
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id

pytestmark = pytest.mark.anyio

KAI = "kai@example.com"
KINDS = [kind for kind in TopicKind if kind is not TopicKind.CUSTOM]
"""What the shop tells of; applications have kinds of their own."""
ALL_TICKED = {f"{kind.value}.{channel.value}": "1" for kind in KINDS for channel in Channel}
LIGHTS = Topic(TopicKind.COLLECTION, "lights", "Lights", "/collections/lights")


async def chosen(database: Database, recipient_id: UUID) -> Preferences:
    async with database.connection() as conn:
        return await notify.find_preferences(conn, recipient_id=recipient_id)


async def follow_lights(database: Database, email: str, person_id: PersonId | None = None) -> UUID:
    """Have an account or an address follow a collection; the topic's id."""
    async with database.transaction() as conn:
        await notify.follow(conn, topic=LIGHTS, email=email, locale="en", most=9, person_id=person_id)
        (topic,) = await notify.list_topics(conn, limit=1)
    return topic.topic_id


async def test_an_account_chooses_and_sees_what_it_has_chosen(reader: Reader, database: Database) -> None:
    assert "Sign in" in text_of(await reader.get("/account/messages"))
    person = await sign_in(reader, database)
    page = await reader.get("/account/messages")
    assert page.text.count("checked") == len(ALL_TICKED), "nothing chosen is everything wanted"
    assert "Your orders, and links to sign in or to confirm Always" in text_of(page).replace("  ", " ")
    topic_id = await follow_lights(database, "ada.lovelace@example.com", person)
    ticked = {name: value for name, value in ALL_TICKED.items() if name not in ("drop.email", "shop.inbox")}
    quiet = {"quiet_from": "22:00", "quiet_until": "06:30", "time_zone": "Europe/Berlin"}
    saved = await reader.send(
        "/account/messages", "/account/messages", **ticked, **quiet, **{f"topic.{topic_id}": "inbox"}
    )
    assert saved.headers["location"] == "/account/messages?saved=1"
    page = await reader.get(saved.headers["location"])
    assert "Saved" in text_of(page)
    assert set(re.findall(r'name="([a-z.]+)" value="1" checked', page.text)) == set(ticked)
    assert {'value="22:00"', 'value="06:30"', "<option selected>Europe/Berlin"} <= set(
        re.findall(r'value="[0-9:]+"|<option selected>[A-Za-z/]+', page.text)
    )
    assert '<option value="inbox" selected>' in page.text
    unwanted = frozenset({(TopicKind.DROP, Channel.EMAIL), (TopicKind.SHOP, Channel.INBOX)})
    assert await chosen(database, person) == Preferences(unwanted, "Europe/Berlin", QuietHours(time(22), time(6, 30)))
    async with database.connection() as conn:
        (follow,) = await notify.list_follows(conn, person_id=person, email="ada.lovelace@example.com", limit=5)
    assert follow.channels == (Channel.INBOX,)


async def test_a_language_is_chosen_and_stays_when_a_page_in_another_is_followed_from(
    reader: Reader, database: Database
) -> None:
    person = await sign_in(reader, database)
    page = await reader.get("/account/messages")
    assert re.findall(r'<option value="([a-z_A-Z]+)" lang="[^"]+" selected>', page.text) == ["en_GB"]
    await reader.send("/account/messages", "/account/messages", **ALL_TICKED, locale="de_DE")
    page = await reader.get("/account/messages")
    assert re.findall(r'<option value="([a-z_A-Z]+)" lang="[^"]+" selected>', page.text) == ["de_DE"]
    await follow_lights(database, "ada.lovelace@example.com", person)
    await reader.send("/account/messages", "/account/messages", **ALL_TICKED, locale="xx_XX")
    async with database.connection() as conn:
        assert await find_language(conn, recipient_id=person) == "de_DE"


async def test_news_say_how_to_be_told_of_the_next(reader: Reader, database: Database) -> None:
    page = await reader.get("/posts")
    assert "Nothing here yet." in text_of(page)
    assert "There is no older news." in text_of(await reader.get(f"/posts?before={new_id()}"))
    await sign_in(reader, database)
    followed = await reader.send("/posts", "/follow", kind="shop", slug="shop")
    assert "We tell you whenever a drop opens, and when there is news." in text_of(
        await reader.get(followed.headers["location"])
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"quiet_from": "22:00"}, "Fill in both times"),
        ({"quiet_from": "late", "quiet_until": "07:00"}, "Write a time like 22:00."),
        ({"quiet_from": "07:00", "quiet_until": "06:00"}, "18 hours a day at most"),
        ({"time_zone": "Europe/Atlantis"}, "There is no such time zone."),
    ],
)
async def test_what_cannot_be_is_explained_and_what_was_typed_is_kept(
    reader: Reader, database: Database, fields: dict[str, str], words: str
) -> None:
    person = await sign_in(reader, database)
    answer = await reader.send("/account/messages", "/account/messages", **{"drop.email": "1"}, **fields)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert re.findall(r'name="([a-z.]+)" value="1" checked', answer.text) == ["drop.email"]
    for value in set(fields.values()) - {"Europe/Atlantis"}:
        assert f'value="{value}"' in answer.text
    assert await chosen(database, person) == Preferences()


async def test_an_address_without_an_account_chooses_by_the_link_of_its_mails(
    reader: Reader, sell: Sell, database: Database
) -> None:
    await sell("Red Lamp")
    topic_id = await follow_lights(database, KAI)
    link = unsubscribe_link("", topic_id=topic_id, email=KAI)
    shown = await reader.get(link)
    address = re.search(r'href="(/preferences\?token=[A-Za-z0-9_-]+)"', shown.text)
    assert address is not None
    page = await reader.get(address[1])
    assert {"Lights", "Mail"} <= set(re.findall(r"[A-Z][a-z]+", text_of(page)))
    assert ".inbox" not in page.text, "there is no inbox"
    assert KAI not in page.text
    token = address[1].rpartition("=")[2]
    saved = await reader.send(address[1], "/preferences", token=token, **{"drop.email": "1", "time_zone": "Asia/Tokyo"})
    assert "Saved" in text_of(await reader.get(saved.headers["location"]))
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT recipient_id FROM notify.recipients")).fetchone()
    assert row is not None
    kept = await chosen(database, row[0])
    assert kept.time_zone == "Asia/Tokyo"
    assert kept.unwanted == {(kind, Channel.EMAIL) for kind in KINDS if kind is not TopicKind.DROP}
    await reader.client.post(link)
    assert "follows nothing any more" in text_of(await reader.get(address[1]))
    for cut in (token[:-2], "", "x" * 3000):
        assert "not whole" in text_of(await reader.get(f"/preferences?token={cut}"))


async def test_a_mail_that_is_passed_on_does_not_tell_what_else_an_account_follows(
    reader: Reader, other: Reader, database: Database
) -> None:
    person = await sign_in(reader, database)
    topic_id = await follow_lights(database, "ada.lovelace@example.com", person)
    await reader.send("/account/messages", "/account/messages", **{"drop.email": "1", f"topic.{topic_id}": "email"})
    token = unsubscribe_link("", topic_id=topic_id, email="ada.lovelace@example.com").rpartition("=")[2]
    page = await other.get(f"/preferences?token={token}")
    assert "Lights" not in text_of(page)
    assert "lovelace" not in page.text.lower()
    await other.send(f"/preferences?token={token}", "/preferences", token=token, **{f"topic.{topic_id}": "both"})
    async with database.connection() as conn:
        (follow,) = await notify.list_follows(conn, person_id=person, email="ada.lovelace@example.com", limit=5)
    assert follow.channels == (Channel.EMAIL,), "the link does not touch what it does not show"
    assert (await chosen(database, person)).unwanted == frozenset(
        (kind, channel) for kind in KINDS for channel in Channel
    )

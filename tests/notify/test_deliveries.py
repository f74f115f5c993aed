"""Receipts: one mail and one inbox message per paid order, whatever fails in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.notify.conftest import with_mail
from tests.notify.postbox import Postbox
from tidegate import notify
from tidegate.notify.deliveries import Look, deliver_due, find_overdue, on_order_events
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.jobs import LANES, RECEIPTS
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

ADA = "ada.lovelace@example.com"


def order_paid(email: str = ADA, name: str = "Ada Lovelace") -> Event:
    return Event(
        EventId(new_id()),
        "order.paid",
        {
            "order_id": str(new_id()),
            "number": "K7P2-9QXA",
            "buyer_id": str(uuid4()),
            "total": {"amount": 123450, "currency": "GBP"},
            "lines": [{"title": "Lamp <b>& Co</b>", "sku": "LAMP", "quantity": 2, "amount": 123450}],
            "order_url": "http://127.0.0.1:8000/orders/1",
        },
        {"email": email, "name": name},
    )


async def paid(database: Database, settings: Settings, *events: Event) -> None:
    for event in events:
        await on_order_events(database, settings, [event])


async def rows(database: Database) -> dict[str, tuple[Any, ...]]:
    """(state, attempts, last_error, seconds until due) by channel, of the only event."""
    async with database.connection() as conn:
        found = await conn.execute(
            """
            SELECT channel, state, attempts, last_error,
                   extract(epoch FROM next_attempt_at - clock_timestamp())::float8
            FROM notify.deliveries
            """
        )
        return {row[0]: row[1:] for row in await found.fetchall()}


async def make_due(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET next_attempt_at = clock_timestamp() - interval '1 minute'")


async def inbox(database: Database, event: Event) -> list[notify.InboxMessage]:
    async with database.connection() as conn:
        recipient = PersonId(UUID(event.payload["buyer_id"]))
        return await notify.list_inbox(conn, recipient_id=recipient, limit=10)


async def test_a_paid_order_is_told_by_mail_and_in_the_inbox(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    event = order_paid()
    await paid(database, mailing, event)
    assert (await deliver_due(database, mailing, limit=10)).taken == 2
    (mail,) = postbox.mails_to(ADA)
    assert mail["Subject"] == "Your order K7P2-9QXA is paid"
    assert mail["To"] == "Ada Lovelace <ada.lovelace@example.com>"
    assert mail["From"] == "The Shop <shop@shop.example>"
    assert mail["Message-ID"].endswith("@shop.example>")
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert "2 x Lamp <b>& Co</b> (LAMP): £1,234.50" in plain.get_content()
    assert "http://127.0.0.1:8000/orders/1" in plain.get_content()
    assert "Lamp &lt;b&gt;&amp; Co&lt;/b&gt;" in html.get_content()
    (message,) = await inbox(database, event)
    assert message.subject == "Your order K7P2-9QXA is paid"
    assert "£1,234.50" in message.body
    assert message.link == "http://127.0.0.1:8000/orders/1"
    assert {row[0] for row in (await rows(database)).values()} == {"sent"}
    assert (await deliver_due(database, mailing, limit=10)).taken == 0


async def test_a_mail_says_where_it_goes_and_what_it_comes_to_and_the_inbox_names_nobody(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    event = order_paid()
    place = {"name": "Ada <b>", "line1": "1 High St", "city": "Austin", "postal_code": "78701", "country": "US"}
    bill = place | {"name": "Engines Ltd", "country": "GB", "phone": "020 7946 0958"}
    personal = (event.personal or {}) | {"address": place | {"region": "TX"}, "billing": bill}
    shipping = {"method": "post", "name": "Post", "amount": {"amount": 400, "currency": "GBP"}}
    await paid(database, mailing, replace(event, payload=event.payload | {"shipping": shipping}, personal=personal))
    assert (await deliver_due(database, mailing, limit=10)).taken == 2
    (mail,) = postbox.mails_to(ADA)
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    text = plain.get_content().replace("\r\n", "\n")
    assert "Goods: £1,234.50\nPost: £4.00\n" in text
    assert "Goes to:\nAda <b>\n1 High St\n78701 Austin\nTX\nUnited States\n" in text
    assert "Bill for:\nEngines Ltd\n1 High St\n78701 Austin\nUnited Kingdom\n020 7946 0958\n" in text
    assert "Ada &lt;b&gt;" in html.get_content()
    assert "Engines Ltd" in html.get_content()
    (message,) = await inbox(database, event)
    assert "High St" not in message.body


async def test_what_a_code_took_off_is_told(database: Database, mailing: Settings, postbox: Postbox) -> None:
    event = order_paid()
    discount = {"amount": 1050, "currency": "GBP"}
    await paid(database, mailing, replace(event, payload=event.payload | {"discount": discount}), order_paid(ADA))
    assert (await deliver_due(database, mailing, limit=10)).taken == 4
    told = []
    for mail in postbox.mails_to(ADA):
        plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
        assert plain is not None
        assert html is not None
        told.append(("Your code: -£10.50" in plain.get_content(), "&minus;£10.50" in html.get_content()))
    assert sorted(told) == [(False, False), (True, True)]


@pytest.mark.parametrize(("locale", "says"), [("de_DE", "Ihre Bestellung"), ("xx_XX", "Your order")])
async def test_a_message_speaks_the_language_of_its_event(
    database: Database, mailing: Settings, postbox: Postbox, locale: str, says: str
) -> None:
    event = order_paid()
    await paid(database, mailing, replace(event, payload=event.payload | {"locale": locale}))
    assert (await deliver_due(database, mailing, limit=10)).taken == 2
    (message,) = await inbox(database, event)
    assert message.subject.startswith(says)
    assert message.subject == str(postbox.mails_to(ADA)[0]["subject"])


async def test_no_payment_is_claimed_where_nothing_was_to_be_paid(database: Database, mailing: Settings) -> None:
    event = order_paid()
    await paid(database, mailing, replace(event, payload=event.payload | {"total": {"amount": 0, "currency": "GBP"}}))
    assert (await deliver_due(database, mailing, limit=10)).taken == 2
    (message,) = await inbox(database, event)
    assert message.body.startswith("There was nothing to pay. We are packing")


async def test_money_that_goes_back_is_told_with_the_reason(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    event = replace(order_paid(), topic="order.refunded")
    await paid(database, mailing, event)
    assert (await deliver_due(database, mailing, limit=10)).taken == 2
    (mail,) = postbox.mails_to(ADA)
    assert mail["Subject"] == "Your money for order K7P2-9QXA goes back to you"
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert "the goods had gone to others" in plain.get_content()
    (message,) = await inbox(database, event)
    assert "£1,234.50" in message.body


async def test_money_given_back_and_parcels_are_told(database: Database, mailing: Settings, postbox: Postbox) -> None:
    paid_event = order_paid()
    refund = {"refund": {"amount": 500, "currency": "GBP"}, "cause": "given-back"}
    shipment = {"carrier": "UPS", "tracking_number": "1Z", "tracking_url": "https://www.ups.com/track?tracknum=1Z"}
    for topic, more in (
        ("order.partly_refunded", refund),
        ("order.refunded", refund),
        ("order.sent", {"shipment": shipment}),
    ):
        event = replace(paid_event, id=EventId(new_id()), topic=topic, payload=paid_event.payload | more)
        await paid(database, mailing, event, event)
    assert (await deliver_due(database, mailing, limit=10)).taken == 6
    told = {}
    for mail in postbox.mails_to(ADA):
        plain = mail.get_body(("plain",))
        assert plain is not None
        told[mail["Subject"]] = " ".join(plain.get_content().split())
    assert "We sent £5.00 of your payment back" in told["Money for order K7P2-9QXA goes back to you"]
    assert "All that you paid for it was sent back" in told["Your money for order K7P2-9QXA goes back to you"]
    assert "https://www.ups.com/track?tracknum=1Z" in told["Order K7P2-9QXA is on its way"]


async def test_events_and_tasks_that_come_twice_have_their_effect_once(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    events = [order_paid() for _ in range(5)]
    await asyncio.gather(*(on_order_events(database, mailing, [event]) for event in events * 3))
    await asyncio.gather(
        *(deliver_due(database, mailing, limit=3, event_ids=[event.id]) for event in events * 3),
        *(deliver_due(database, mailing, limit=10) for _ in range(3)),
    )
    await deliver_due(database, mailing, limit=100)
    assert len(postbox.mails_to(ADA)) == 5
    assert len({mail["Message-ID"] for mail in postbox.mails_to(ADA)}) == 5
    assert [len(await inbox(database, event)) for event in events] == [1] * 5


async def test_nothing_readable_says_who_was_written_to(database: Database, mailing: Settings) -> None:
    await paid(database, mailing, order_paid())
    await deliver_due(database, mailing, limit=10)
    async with database.connection() as conn:
        stored = await conn.execute(
            "SELECT d::text FROM notify.deliveries d UNION ALL SELECT i::text FROM notify.inbox_messages i"
        )
        text = " ".join(row[0] for row in await stored.fetchall()).lower()
    assert "lovelace" not in text
    assert ADA.encode().hex() not in text


@pytest.mark.parametrize(
    "email",
    [
        "eve@example.com\r\nBcc: everyone@example.com",
        "eve@example.com, everyone@example.com",
        "<eve@example.com>",
        "eve@example.com everyone@example.com",
        "eve",
        "@example.com",
        "eve@",
        "eve@example.com\0",
        "a@b@c",
        "e" * 300 + "@example.com",
        "eve@" + "x" * 70 + ".example",
    ],
)
async def test_an_address_that_is_none_fails_with_the_reason_and_nobody_gets_mail(
    database: Database, mailing: Settings, postbox: Postbox, email: str
) -> None:
    await paid(database, mailing, order_paid(email))
    await deliver_due(database, mailing, limit=10)
    assert postbox.taken == []
    state, _, error, _ = (await rows(database))["email"]
    assert state == "failed"
    assert error in ("not an e-mail address", "the domain cannot be written in ASCII")
    assert (await rows(database))["inbox"][0] == "sent"


async def test_a_name_cannot_become_a_header(database: Database, mailing: Settings, postbox: Postbox) -> None:
    name = 'Eve\r\nBcc: everyone@example.com\n\n<script>" , other@example.com \u2028 x' + "y" * 500
    await paid(database, mailing, order_paid(name=name))
    await deliver_due(database, mailing, limit=10)
    assert [recipient for recipient, _ in postbox.taken] == [ADA]
    (mail,) = postbox.mails_to(ADA)
    assert mail["Bcc"] is None
    assert [address.addr_spec for address in mail["To"].addresses] == [ADA]


async def test_a_mail_server_that_is_away_costs_no_attempt(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await paid(database, mailing, order_paid())
    for _ in range(3):
        await deliver_due(database, with_mail(mailing, smtp_url="smtp://127.0.0.1:1", max_attempts=1), limit=10)
        state, attempts, error, due_in_s = (await rows(database))["email"]
        assert (state, attempts) == ("pending", 0)
        assert error.startswith("mail server away")
        assert 0 < due_in_s <= 10
        await make_due(database)
    await deliver_due(database, mailing, limit=10)
    assert len(postbox.mails_to(ADA)) == 1


async def test_a_refusal_for_good_fails_and_a_refusal_for_now_is_tried_again_later(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await paid(database, mailing, order_paid())
    postbox.refusals[ADA] = "451 4.2.1 <ada.lovelace@example.com> comes back tomorrow"
    await deliver_due(database, mailing, limit=10)
    state, attempts, error, due_in_s = (await rows(database))["email"]
    assert (state, attempts, error) == ("pending", 1, "recipient refused (451)")
    assert 0 < due_in_s <= 2
    postbox.refusals[ADA] = "550 5.1.1 <ada.lovelace@example.com> never lived here"
    await make_due(database)
    await deliver_due(database, mailing, limit=10)
    state, attempts, error, _ = (await rows(database))["email"]
    assert (state, attempts, error) == ("failed", 2, "recipient refused (550)")


async def test_refusals_come_to_an_end(database: Database, mailing: Settings, postbox: Postbox) -> None:
    await paid(database, mailing, order_paid())
    postbox.refusals[ADA] = "451 later"
    for _ in range(2):
        assert (await rows(database))["email"][0] == "pending"
        await make_due(database)
        await deliver_due(database, with_mail(mailing, max_attempts=2), limit=10)
    assert (await rows(database))["email"][:2] == ("failed", 2)


async def test_one_bad_message_does_not_hold_up_the_others(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    postbox.refusals["gone@example.com"] = "550 no"
    good = [order_paid(f"user{n}@example.com") for n in range(4)]
    broken = order_paid("broken@example.com")
    del broken.payload["lines"][0]["title"]
    await paid(
        database, mailing, good[0], order_paid("gone@example.com"), good[1], broken, order_paid("x y"), *good[2:]
    )
    await deliver_due(database, mailing, limit=100)
    assert sorted(recipient for recipient, _ in postbox.taken) == [f"user{n}@example.com" for n in range(4)]


async def test_a_server_that_hangs_in_mid_dialogue_is_left_in_time(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    postbox.stall = True
    await paid(database, mailing, order_paid(), order_paid("other@example.com"))
    async with asyncio.timeout(10):
        await deliver_due(database, with_mail(mailing, timeout_s=1, lease_s=2, connections=1), limit=10)
    async with database.connection() as conn:
        found = await conn.execute(
            "SELECT state, attempts FROM notify.deliveries WHERE channel = 'email' ORDER BY attempts"
        )
        assert await found.fetchall() == [("pending", 0), ("pending", 1)]
    postbox.stall = False
    await make_due(database)
    await deliver_due(database, mailing, limit=10)
    assert len(postbox.taken) == 2


async def test_a_message_that_kills_its_worker_every_time_ends_as_failed(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await paid(database, mailing, order_paid())
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET attempts = 2")
    await deliver_due(database, with_mail(mailing, max_attempts=2), limit=10)
    assert {row[0] for row in (await rows(database)).values()} == {"failed"}
    assert postbox.taken == []


async def test_what_was_left_lying_is_found(database: Database, mailing: Settings) -> None:
    left, fresh = order_paid(), order_paid()
    await paid(database, mailing, left)
    await make_due(database)
    await paid(database, mailing, fresh)
    async with database.connection() as conn:
        looks = {lane: Look(limit=10, overdue_s=5) for lane in LANES}
        nothing: dict[str, list[EventId]] = {lane: [] for lane in LANES}
        assert await find_overdue(conn, looks) == nothing | {RECEIPTS: [left.id]}
        assert await find_overdue(conn, looks | {RECEIPTS: Look(limit=0, overdue_s=5)}) == nothing

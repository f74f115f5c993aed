"""Webhooks: each event reaches each endpoint that asked for it, signed, whatever the receiver answers meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from benchmarks.followers import add_followers
from tests.notify.hooking import STAFF, call, endpoint, let_time_pass, order_event, orders, states, with_hooks
from tests.notify.receiver import Call, Receiver, open_receiver
from tests.waiting import eventually
from tidegate import notify
from tidegate.notify.deliveries import Look, deliver_due, find_overdue, on_order_events
from tidegate.notify.inbox import list_inbox
from tidegate.notify.webhook_calls import Message, read_retry_after, sign
from tidegate.notify.webhook_contracts import DisabledWhy, EndpointState, Keys
from tidegate.notify.webhook_endings import end_waiting
from tidegate.notify.webhook_events import on_order_webhooks, on_send_webhooks
from tidegate.notify.webhook_rounds import claim_due_endpoints, work_on_endpoints
from tidegate.notify.webhooks import enable_endpoint, find_endpoint, rotate_secret, secrets_of, send_test
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import LANES
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers well."""
    async with open_receiver() as receiver:
        yield receiver


@pytest.fixture
def hooking(settings: Settings) -> Settings:
    """Settings under which this machine may be called."""
    return with_hooks(settings, allow_hosts=["127.0.0.1"], timeout_s=3)


@pytest.fixture
async def keys(database: Database, hooking: Settings, receiver: Receiver) -> Keys:
    """An endpoint that is the receiver."""
    return await endpoint(database, hooking, receiver.url)


async def due(database: Database, settings: Settings) -> list[UUID]:
    """What a sweeper hands out now."""
    async with database.connection() as conn:
        return [each.endpoint_id for each in await claim_due_endpoints(conn, settings.webhooks, limit=10)]


def test_signatures_are_those_of_the_specification() -> None:
    # The vector of the reference implementations of Standard Webhooks.
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    headers = sign(message, secrets=secrets, at=datetime.fromtimestamp(1614265330, UTC))
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_a_paid_order_is_told_once_signed_and_without_its_buyer(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    event = order_event()
    for _ in range(2):
        await on_order_webhooks(database, hooking, [event])
    assert await call(database, hooking, keys.endpoint.endpoint_id) == 1
    assert await call(database, hooking, keys.endpoint.endpoint_id) == 0
    (taken,) = receiver.calls
    body = Webhook(keys.secret).verify(taken.body, taken.headers)
    assert (body["type"], body["data"]["number"]) == ("order.paid", "K7P2-9QXA")
    assert body["data"]["total"] == {"amount": 123450, "currency": "GBP"}
    assert datetime.fromisoformat(body["timestamp"]) > datetime.now(UTC) - timedelta(minutes=1)
    for private in ("ada@", "Ada", event.payload["buyer_id"]):  # an id may have the letters ada by chance
        assert private not in taken.body.decode()
    assert taken.headers["content-type"] == "application/json"
    assert await states(database) == [("sent", 1, 200, None)]


async def test_people_and_endpoints_are_told_by_roads_of_their_own(
    database: Database, mailing: Settings, hooking: Settings, keys: Keys
) -> None:
    event = order_event()
    await on_order_events(database, mailing, [event])
    await on_order_webhooks(database, hooking, [event])
    assert (await deliver_due(database, mailing, limit=10, event_ids=[event.id])).taken == 2
    async with database.connection() as conn:
        looks = {lane: Look(limit=10, overdue_s=0) for lane in LANES}
        assert await find_overdue(conn, looks) == {lane: [] for lane in LANES}
    assert await states(database) == [("pending", 0, None, None)]
    assert await call(database, hooking, keys.endpoint.endpoint_id) == 1


async def test_only_what_was_asked_for_is_told(database: Database, hooking: Settings, receiver: Receiver) -> None:
    await endpoint(database, hooking, receiver.url, events=["order.refunded"])
    await on_order_webhooks(database, hooking, [order_event()])
    assert await states(database) == []


async def test_a_post_to_followers_is_told_to_those_who_named_its_topic_or_none(
    database: Database, hooking: Settings, receiver: Receiver
) -> None:
    kinds = ["post.published"]
    all_of_them = await endpoint(database, hooking, receiver.url, events=kinds)
    lamps = await endpoint(database, hooking, receiver.url, events=kinds, topics=["collection:lamps"])
    vases = await endpoint(database, hooking, receiver.url, events=kinds, topics=["collection:vases"])
    with psycopg.connect(hooking.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=1)
    async with database.transaction() as own:
        post = await notify.write_post(
            own,
            kind=notify.TopicKind.COLLECTION,
            key="lamps",
            title="New lamps",
            body="Come and see.",
            channels=[notify.Channel.INBOX],
            author_id=STAFF,
            request_key="one",
            base_url=hooking.base_url,
        )
    for _ in range(2):
        event = Event(EventId(new_id()), "follow.send", {"event_id": str(post.post_id)})
        await on_send_webhooks(database, hooking, event)
    ids = [each.endpoint.endpoint_id for each in (all_of_them, lamps, vases)]
    assert await work_on_endpoints(database, hooking, endpoint_ids=ids) == 2
    bodies = [json.loads(each.body) for each in receiver.calls]
    assert bodies[0] == bodies[1]
    assert bodies[0]["type"] == "post.published"
    assert bodies[0]["data"]["title"] == "New lamps"
    assert [topic["key"] for topic in bodies[0]["data"]["topics"]] == ["lamps"]


async def test_while_a_secret_is_rotated_the_old_and_the_new_one_both_sign(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    endpoint_id = keys.endpoint.endpoint_id
    async with database.transaction() as conn:
        new = await rotate_secret(conn, hooking.webhooks, endpoint_id=endpoint_id, request_key="r")
        again = await rotate_secret(conn, hooking.webhooks, endpoint_id=endpoint_id, request_key="r")
    assert new.secret == again.secret != keys.secret
    await orders(database, hooking, 1)
    await call(database, hooking, endpoint_id)
    for secret in (keys.secret, new.secret):
        assert Webhook(secret).verify(receiver.calls[0].body, receiver.calls[0].headers)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.webhook_endpoints SET old_secret_until = clock_timestamp()")
        assert await secrets_of(conn, endpoint_id=endpoint_id) == [new.secret]
    await orders(database, hooking, 1)
    await call(database, hooking, endpoint_id)
    assert Webhook(new.secret).verify(receiver.calls[1].body, receiver.calls[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(keys.secret).verify(receiver.calls[1].body, receiver.calls[1].headers)


async def test_secrets_are_sealed_at_rest(database: Database, keys: Keys) -> None:
    async with database.connection() as conn:
        rows = await conn.execute("SELECT secret_sealed, e::text FROM notify.webhook_endpoints AS e")
        (row,) = await rows.fetchall()
    assert keys.secret.startswith("whsec_")
    assert keys.secret.encode() not in bytes(row[0])
    assert keys.secret not in row[1]


async def test_a_storm_of_429_is_waited_out_and_loses_nothing(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    hooking = with_hooks(hooking, connections=4)
    room = [3]

    def busy(asked: Call) -> int | tuple[int, dict[str, str]]:
        room[0] -= 1
        return 200 if room[0] >= 0 else (429, {"Retry-After": "120"})

    receiver.script = busy
    written = await orders(database, hooking, 20)
    rounds = 0
    while True:
        await call(database, hooking, keys.endpoint.endpoint_id)
        rounds += 1
        if all(state[0] == "sent" for state in await states(database)):
            break
        assert await due(database, hooking) == [], "it asked to be left alone"
        async with database.connection() as conn:
            held = await conn.execute(
                "SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM notify.webhook_endpoints"
            )
            row = await held.fetchone()
        assert row is not None
        assert 110 < row[0] <= 122
        await let_time_pass(database)
        room[0] = 3
        assert rounds < 30
    taken = [call for call in receiver.calls if call.headers["webhook-id"]]
    assert len({call.headers["webhook-id"] for call in taken}) == len(written)
    assert all(attempts == 1 for _, attempts, _, _ in await states(database)), "waiting costs no attempt"
    assert receiver.most <= 4


async def test_who_is_too_busy_without_saying_for_how_long_is_left_alone_too(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    receiver.script = lambda call: 429 if len(receiver.calls) > 3 else 200
    await orders(database, hooking, 20)
    await call(database, with_hooks(hooking, connections=1), keys.endpoint.endpoint_id)
    assert len(receiver.calls) == 4
    assert await due(database, hooking) == []


async def test_an_endpoint_that_is_gone_is_disabled_and_its_maker_is_told(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    receiver.script = lambda call: 410
    await orders(database, hooking, 30)
    await call(database, hooking, keys.endpoint.endpoint_id)
    called = len(receiver.calls)
    assert called <= hooking.webhooks.connections
    async with database.connection() as conn:
        now = await find_endpoint(conn, endpoint_id=keys.endpoint.endpoint_id)
        assert (now.state, now.disabled_why) == (EndpointState.DISABLED, DisabledWhy.GONE)
        while await end_waiting(conn, limit=7):
            pass
    assert {state for state, *_ in await states(database)} == {"failed"}
    await orders(database, hooking, 1)
    await let_time_pass(database)
    assert await due(database, hooking) == []
    assert await call(database, hooking, keys.endpoint.endpoint_id) == 0
    assert len(receiver.calls) == called
    await deliver_due(database, hooking, limit=10)
    async with database.connection() as conn:
        (note,) = await list_inbox(conn, recipient_id=STAFF, limit=10)
    assert receiver.url in note.body
    assert note.link == f"/admin/webhooks/{keys.endpoint.endpoint_id}"
    async with database.transaction() as conn:
        assert (
            await enable_endpoint(conn, hooking.webhooks, endpoint_id=now.endpoint_id)
        ).state is EndpointState.ACTIVE


async def test_an_endpoint_that_fails_for_days_is_disabled_but_not_before(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    receiver.script = lambda call: 500
    hooking = with_hooks(hooking, disable_failures=3, connections=1)
    await orders(database, hooking, 1)
    for days in (0, 2, 2, 2):
        async with database.connection() as conn:
            now = await find_endpoint(conn, endpoint_id=keys.endpoint.endpoint_id)
        assert now.state is EndpointState.ACTIVE
        await let_time_pass(database, days=days)
        await call(database, hooking, keys.endpoint.endpoint_id)
    async with database.connection() as conn:
        now = await find_endpoint(conn, endpoint_id=keys.endpoint.endpoint_id)
    assert now.disabled_why is DisabledWhy.FAILING
    assert (await states(database))[0] == ("failed", 4, 500, "answered with 500")


async def test_a_redirect_is_not_followed(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    receiver.script = lambda call: (307, {"Location": f"{receiver.url}/elsewhere"})
    await orders(database, hooking, 1)
    await call(database, hooking, keys.endpoint.endpoint_id)
    assert len(receiver.calls) == 1
    assert await states(database) == [("pending", 1, 307, "answered with 307: redirects are not followed")]


async def test_one_webhook_that_is_refused_does_not_hold_up_the_others(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    bad, *_ = await orders(database, hooking, 5)
    receiver.script = lambda call: 422 if bad.hex in call.headers["webhook-id"] else 200
    await call(database, hooking, keys.endpoint.endpoint_id)
    found = await states(database)
    assert found[0] == ("pending", 1, 422, "answered with 422")
    assert [state for state, *_ in found[1:]] == ["sent"] * 4


async def test_a_receiver_that_hangs_holds_up_nobody_else(database: Database, hooking: Settings) -> None:
    async with open_receiver() as slow, open_receiver() as fast:
        slow.script = lambda call: "hang"
        hanging = await endpoint(database, hooking, slow.url)
        other = await endpoint(database, hooking, fast.url)
        await orders(database, hooking, 40)
        ids = [hanging.endpoint.endpoint_id, other.endpoint.endpoint_id]
        working = asyncio.create_task(work_on_endpoints(database, hooking, endpoint_ids=ids))
        await slow.hanging.wait()
        await eventually(lambda: len(fast.calls) >= 40)
        await working
        assert slow.most <= hooking.webhooks.connections
        errors = [error for _, _, _, error in await states(database)]
        assert errors.count("no answer in time") < 2 * hooking.webhooks.connections
        assert await due(database, hooking) == [], "it is left alone for a while"
        slow.script = lambda call: 200
        await let_time_pass(database)
        await call(database, hooking, hanging.endpoint.endpoint_id)
        assert {state for state, *_ in await states(database)} == {"sent"}


async def test_closed_connections_and_long_answers_are_borne(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    receiver.script = lambda call: "close"
    await orders(database, hooking, 1)
    await call(database, hooking, keys.endpoint.endpoint_id)
    (state,) = await states(database)
    assert state[:3] == ("pending", 1, None)
    assert state[3].startswith("the answer broke off")
    receiver.script, receiver.body = (lambda call: 200), b"x" * 2_000_000
    await let_time_pass(database)
    await call(database, hooking, keys.endpoint.endpoint_id)
    assert [state for state, *_ in await states(database)] == ["sent"]


async def test_what_a_worker_left_in_the_middle_is_sent_again_under_the_same_id(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    receiver.script = lambda call: "hang" if len(receiver.calls) > 2 else 200
    await orders(database, hooking, 6)
    endpoint_id = keys.endpoint.endpoint_id
    working = asyncio.create_task(call(database, with_hooks(hooking, connections=1), endpoint_id))
    await receiver.hanging.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert await due(database, hooking) == [], "others wait for its lease"
    assert await call(database, hooking, endpoint_id) == 0
    receiver.script = lambda call: 200
    await let_time_pass(database)
    assert await due(database, hooking) == [endpoint_id]
    await call(database, hooking, endpoint_id)
    assert [state for state, *_ in await states(database)] == ["sent"] * 6
    assert len(receiver.ids) == 6
    assert sum(receiver.ids.values()) == 9


async def test_a_name_that_leads_into_the_private_network_is_not_called(database: Database, hooking: Settings) -> None:
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with open_receiver() as receiver:
        url = f"http://hooks.example:{receiver.port}/hook"
        keys = await endpoint(database, hooking, url)
        await orders(database, hooking, 3)
        assert await call(database, hooking, keys.endpoint.endpoint_id, resolve=resolve) == 0
        assert receiver.calls == []
        assert (await states(database))[0][3] == "the host is not on the public internet"
        await let_time_pass(database)
        allowed = with_hooks(hooking, allow_hosts=["hooks.example"])
        await call(database, allowed, keys.endpoint.endpoint_id, resolve=resolve)
        assert {each.headers["host"] for each in receiver.calls} == {f"hooks.example:{receiver.port}"}
        assert len(receiver.calls) == 3
        assert len(asked) == 2, "resolved once, and then called at what was found"


async def test_two_workers_at_once_call_nothing_twice(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    await orders(database, hooking, 30)
    await asyncio.gather(*(call(database, hooking, keys.endpoint.endpoint_id) for _ in range(3)))
    assert set(receiver.ids.values()) == {1}
    assert len(receiver.ids) == 30
    assert receiver.most <= hooking.webhooks.connections


async def test_a_test_reaches_an_endpoint_whatever_it_asked_for(
    database: Database, hooking: Settings, receiver: Receiver, keys: Keys
) -> None:
    async with database.transaction() as conn:
        for _ in range(2):
            await send_test(conn, endpoint_id=keys.endpoint.endpoint_id, request_key="one")
    assert await due(database, hooking) == [keys.endpoint.endpoint_id]
    await call(database, hooking, keys.endpoint.endpoint_id)
    assert [json.loads(each.body)["type"] for each in receiver.calls] == ["webhook.test"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("120", 120.0), (" 0 ", 0.0), ("-1", None), ("soon", None), ("9" * 400, 999999999.0)],
)
def test_retry_after_is_read_in_seconds(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, now=datetime(2026, 1, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("Thu, 01 Jan 2026 00:01:00 GMT", 60.0), ("Wed, 31 Dec 2025 23:00:00 GMT", 0.0)]
)
def test_retry_after_is_read_as_a_date(text: str, seconds: float) -> None:
    assert read_retry_after(text, now=datetime(2026, 1, 1, tzinfo=UTC)) == seconds

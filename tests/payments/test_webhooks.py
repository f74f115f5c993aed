"""Webhooks in and out: signed, stored once, not lost, not believed when forged."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.payments.makers import SECRET, SETTINGS, intent, sandbox, signed
from tidegate import payments
from tidegate.payments import Answer, BadSignature, ChargeIntent, ChargeState, Notice, UnknownProvider
from tidegate.payments.sandbox import SandboxProvider
from tidegate.payments.webhooks import MAX_BODY_BYTES
from tidegate.platform.database import Database
from tidegate.platform.problems import BodyTooLarge, MalformedBody, Problem
from tidegate.platform.settings import SecuritySettings, Settings

NOW = datetime.now(UTC).replace(microsecond=0)


def event(wish: ChargeIntent, kind: str = "payment.succeeded", **changes: Any) -> bytes:
    payment = {
        "id": "pay_1",
        "reference": wish.ref.key,
        "amount": wish.total.amount,
        "currency": wish.total.currency,
        "failure": None,
    }
    return json.dumps({"type": kind, "payment": payment | changes}).encode()


async def receive(database: Database, body: bytes, headers: dict[str, str]) -> Notice | None:
    return await payments.receive_webhook(database, sandbox(database), provider="sandbox", headers=headers, body=body)


async def stored(database: Database) -> list[tuple[str, bool]]:
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT event_id, applied_at IS NOT NULL FROM payments.webhook_events ORDER BY event_id"
        )
        return [(event_id, done) for event_id, done in await rows.fetchall()]


async def mark(database: Database, *notices: Notice) -> None:
    async with database.transaction() as conn:
        await payments.mark_applied(conn, notices)


@pytest.mark.anyio
async def test_a_webhook_is_handed_on_until_it_is_applied(database: Database) -> None:
    wish = intent()
    body = event(wish, "payment.failed", failure="card_declined")
    notice = await receive(database, body, signed(body))
    answer = Answer(ChargeState.FAILED, "pay_1", failure="card_declined")
    assert notice == Notice("sandbox", "evt_1", wish.ref, answer)
    assert await receive(database, body, signed(body)) == notice, "stored, not yet applied"
    await mark(database, notice)
    assert await receive(database, body, signed(body)) is None
    assert await stored(database) == [("evt_1", True)]


@pytest.mark.anyio
async def test_twins_at_once_are_stored_once(database: Database) -> None:
    body = event(intent())
    notices = await asyncio.gather(*(receive(database, body, signed(body)) for _ in range(6)))
    assert len(set(notices)) == 1
    assert await stored(database) == [("evt_1", False)]


@pytest.mark.anyio
async def test_what_does_not_concern_us_is_taken_and_forgotten(database: Database) -> None:
    bodies = [event(intent(), "payout.paid"), event(intent(), reference="somebody-elses")]
    for number, body in enumerate(bodies):
        assert await receive(database, body, signed(body, event_id=f"evt_{number}")) is None
    assert await stored(database) == [("evt_0", True), ("evt_1", True)]
    assert await payments.sweep_unapplied_webhooks(database, sandbox(database), limit=10) == []


@pytest.mark.anyio
async def test_a_stored_webhook_that_cannot_be_read_stops_no_other(database: Database) -> None:
    bodies = [event(intent()) for _ in range(3)]
    notices = [
        await receive(database, body, signed(body, event_id=f"evt_{number}")) for number, body in enumerate(bodies)
    ]
    async with database.transaction() as conn:
        await conn.execute("UPDATE payments.webhook_events SET next_try_at = clock_timestamp()")
        await conn.execute("UPDATE payments.webhook_events SET body = 'torn' WHERE event_id = 'evt_0'")
        not_ours = event(intent(), "payout.paid")
        await conn.execute("UPDATE payments.webhook_events SET body = %s WHERE event_id = 'evt_1'", (not_ours,))
    swept = await payments.sweep_unapplied_webhooks(database, sandbox(database), limit=10)
    assert swept == [notices[2]]


@pytest.mark.anyio
async def test_a_webhook_whose_receiver_died_is_swept_up(database: Database) -> None:
    wish = intent()
    body = event(wish)
    notice = await receive(database, body, signed(body))
    assert notice is not None

    async def sweep() -> list[Notice]:
        return await payments.sweep_unapplied_webhooks(database, sandbox(database), limit=10)

    assert await sweep() == [], "its receiver has some seconds"
    for _ in range(2):
        async with database.connection() as conn:
            await conn.execute("UPDATE payments.webhook_events SET next_try_at = clock_timestamp()")
        swept = await asyncio.gather(*(sweep() for _ in range(3)))
        assert [found for part in swept for found in part] == [notice]
    await mark(database, notice)
    async with database.connection() as conn:
        await conn.execute("UPDATE payments.webhook_events SET next_try_at = clock_timestamp()")
    assert await sweep() == []


@pytest.mark.anyio
async def test_nothing_is_stored_of_what_is_refused(database: Database) -> None:
    body = event(intent())
    refused: list[tuple[bytes, dict[str, str], type[Problem]]] = [
        (body, {}, BadSignature),
        (body, signed(body, secret="whsec_b3RoZXI="), BadSignature),
        (body + b" ", signed(body), BadSignature),
        (b"\xff" + body, signed(body), BadSignature),
        (body, signed(body, at=datetime.now(UTC) - timedelta(seconds=302)), BadSignature),
        (body, signed(body, at=datetime.now(UTC) + timedelta(seconds=302)), BadSignature),
        (b"[]", signed(b"[]"), MalformedBody),
        (b"", signed(b""), MalformedBody),
        (b"[" * 100_000, signed(b"[" * 100_000), MalformedBody),
        (event(intent(), amount="1"), signed(event(intent(), amount="1")), BadSignature),
        (b"x" * (MAX_BODY_BYTES + 1), signed(b"x" * (MAX_BODY_BYTES + 1)), BodyTooLarge),
    ]
    for sent, headers, problem in refused:
        with pytest.raises(problem):
            await receive(database, sent, headers)
    assert await stored(database) == []
    with pytest.raises(UnknownProvider):
        await payments.receive_webhook(database, sandbox(database), provider="bank", headers=signed(body), body=body)


def gateway(tolerance_s: int = 300, secret: str = SECRET) -> SandboxProvider:
    settings = SETTINGS.model_copy(
        update={
            "payments": SETTINGS.payments.model_copy(update={"webhook_tolerance_s": tolerance_s}),
            "security": SecuritySettings(sandbox_webhook_secret=SecretStr(secret)),
        }
    )
    return SandboxProvider(Database(settings.model_copy(update={"database_url": SecretStr("postgresql://")})), settings)


@pytest.mark.anyio
async def test_the_age_that_is_believed_is_a_setting() -> None:
    body = event(intent())
    headers = signed(body, at=NOW)
    for tolerance_s in (10, 3_600):
        assert gateway(tolerance_s).verify(headers, body, now=NOW + timedelta(seconds=tolerance_s)) == "evt_1"
        with pytest.raises(BadSignature):
            gateway(tolerance_s).verify(headers, body, now=NOW + timedelta(seconds=tolerance_s + 1))


@pytest.mark.anyio
async def test_one_good_signature_of_several_is_enough() -> None:
    """Standard Webhooks: a sender that changes its secret signs with both."""
    body = event(intent())
    headers = signed(body, at=NOW)
    headers["Webhook-Signature"] = f"v1,c29tZXRoaW5n v1a,eA== {headers['Webhook-Signature']}"
    assert gateway().verify(headers, body, now=NOW) == "evt_1"


@pytest.mark.anyio
async def test_without_a_secret_nothing_is_believed() -> None:
    body = event(intent())
    with pytest.raises(BadSignature):
        gateway(secret="").verify(signed(body, at=NOW), body, now=NOW)


@pytest.mark.anyio
async def test_any_headers_and_body_are_refused_in_words() -> None:
    provider = gateway()
    texts = st.text(max_size=40)
    names = st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"])
    moments = st.integers(0, 10**12).map(str)

    @given(headers=st.dictionaries(names, texts | moments), body=st.binary(max_size=40))
    def refuse(headers: dict[str, str], body: bytes) -> None:
        with pytest.raises(BadSignature):
            provider.verify(headers, body, now=NOW)
        with pytest.raises(MalformedBody):
            provider.read_event(body)

    refuse()


class TheShop:
    """The shop's end of the line: remembers what came and answers as it is told."""

    def __init__(self, *statuses: int) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self._statuses = list(statuses)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{SETTINGS.base_url}/api/v1/payments/webhooks/sandbox"
        self.taken.append((dict(request.headers), request.content))
        return httpx.Response(self._statuses.pop(0) if self._statuses else 200)

    async def hear(self, database: Database, settings: Settings = SETTINGS) -> int:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as client:
            return await payments.deliver_sandbox_webhooks_once(database, settings, client=client)


async def hurry(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("UPDATE payments.sandbox_webhooks SET due_at = clock_timestamp()")


@pytest.mark.anyio
async def test_what_the_sandbox_sends_the_shop_believes(database: Database) -> None:
    wish, shop = intent("tok_webhook_twice"), TheShop()
    answer = await payments.call_provider(sandbox(database), wish)
    assert await shop.hear(database) == 2
    assert await shop.hear(database) == 0
    (first, second) = [await receive(database, body, headers) for headers, body in shop.taken]
    assert first == second
    assert first is not None
    assert (first.ref, first.answer) == (wish.ref, Answer(ChargeState.CAPTURED, answer.provider_ref, total=wish.total))
    assert len(await stored(database)) == 1
    assert json.loads(shop.taken[0][1])["payment"] == {
        "id": answer.provider_ref,
        "reference": wish.ref.key,
        "amount": 1_299,
        "currency": "GBP",
        "failure": None,
    }


@pytest.mark.anyio
async def test_a_webhook_is_sent_until_it_is_taken(database: Database) -> None:
    shop = TheShop(500, 404, 204)
    await payments.call_provider(sandbox(database), intent("tok_webhook_late"))
    assert await shop.hear(database) == 0, "it is late"
    for _ in range(3):
        await hurry(database)
        assert await shop.hear(database) == 1
        assert await shop.hear(database) == 0, "a pause lies between two attempts"
    await hurry(database)
    assert await shop.hear(database) == 0


@pytest.mark.anyio
async def test_a_shop_that_never_answers_is_given_up(database: Database) -> None:
    shop = TheShop(*[503] * 100)
    await payments.call_provider(sandbox(database), intent("tok_webhook_late"))
    for _ in range(20):
        await hurry(database)
        await shop.hear(database)
    assert len(shop.taken) == 12


@pytest.mark.anyio
async def test_a_shop_that_is_away_is_told_later(database: Database) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    await payments.call_provider(sandbox(database), intent("tok_webhook_twice"))
    async with httpx.AsyncClient(transport=httpx.MockTransport(away)) as client:
        assert await payments.deliver_sandbox_webhooks_once(database, SETTINGS, client=client) == 2
    await hurry(database)
    assert await TheShop().hear(database) == 2


@pytest.mark.anyio
async def test_two_senders_do_not_send_the_same(database: Database) -> None:
    shop = TheShop()
    for _ in range(10):
        await payments.call_provider(sandbox(database), intent("tok_webhook_twice"))
    sent = await asyncio.gather(*(shop.hear(database) for _ in range(4)))
    assert sum(sent) == len(shop.taken) == 20


async def test_old_webhooks_leave_once_applied(database: Database) -> None:
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO payments.webhook_events (provider, event_id, body, received_at, applied_at)"
            " SELECT 'sandbox', name, '{}', clock_timestamp() - age, CASE WHEN applied THEN clock_timestamp() END"
            " FROM (VALUES ('old', interval '91 days', true), ('open', interval '91 days', false),"
            " ('new', interval '89 days', true)) AS v (name, age, applied)"
        )
        assert await payments.delete_old_webhooks(conn, keep_days=90, limit=10) == 1
        assert await payments.delete_old_webhooks(conn, keep_days=90, limit=10) == 0
    assert [event_id for event_id, _ in await stored(database)] == ["new", "open"]

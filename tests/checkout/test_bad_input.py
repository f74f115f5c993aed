"""What cannot be meant: every wrong request to the routes of buying has one answer, and changes not one row.

`wrong.py` holds the tables of cases. They share one shop; before and after each, all its rows are compared by count,
content and `xmin` (the transaction that wrote them).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from standardwebhooks import Webhook

from tests.checkout.buying import guest, held, order_body, post, problem, purchase_body
from tests.checkout.conftest import put_on_sale
from tests.checkout.wrong import (
    BYTE_CASES,
    FORM_CASES,
    HEADER_CASES,
    HOLD_CASES,
    HOLDS,
    KEY,
    LINE_CASES,
    NO_KEY,
    NOT_FOUND,
    ORDERS,
    PURCHASES,
    READ_CASES,
    WEBHOOK_CASES,
    Answer,
    Body,
    Change,
)
from tests.servers import TestCluster
from tidegate.entrypoints.site import create_app
from tidegate.payments.contracts import ChargeRef
from tidegate.platform.database import Database
from tidegate.platform.edge.stack import OnlyHttp
from tidegate.platform.ids import OrderId, VariantId
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings, current_settings

pytestmark = pytest.mark.anyio

WEBHOOKS = "/api/v1/payments/webhooks"
BASE = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Stage:
    """The shop that all cases share, a buyer, and the things that cases name in capitals."""

    site: httpx.AsyncClient
    settings: Settings
    looker: psycopg.Connection[tuple[Any, ...]]
    who: dict[str, str]
    cookie: str
    ended: str
    things: dict[str, str]

    def named(self, text: str) -> str:
        """`text` with a thing's id for its name."""
        last = text.rpartition("/")[2]
        return text.removesuffix(last) + self.things[last] if last in self.things else text

    def good(self, route: str) -> Body:
        """A body that the route would take."""
        if route == HOLDS:
            return {"lines": [{"sku": "LAMP", "quantity": 1}]}
        return order_body(self.things["MINE"]) if route == ORDERS else purchase_body()

    async def send(self, route: str, body: Any, changes: dict[str, str | bytes | None] | None = None) -> httpx.Response:
        """POST a body, as bytes or as JSON, with headers changed or left out."""
        headers: dict[str, Any] = self.who | {KEY: str(uuid4()), "content-type": "application/json"} | (changes or {})
        if headers["authorization"] == "ENDED":
            headers["authorization"] = self.ended
        if "cookie" in headers:
            headers["cookie"] = self.cookie
        kept = {name: value for name, value in headers.items() if value is not None}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.site.post(route, content=content, headers=kept)

    def rows(self) -> dict[str, tuple[int, str]]:
        """Count and checksum of every table of the shop, but for the marks of batches, which tell of no request."""
        tables = self.looker.execute(
            """
            SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
              AND n.nspname IN ('inventory', 'checkout', 'payments', 'platform', 'catalog', 'notify')
              AND (n.nspname, c.relname) <> ('platform', 'commits')
            """
        ).fetchall()
        assert {("inventory", "stock"), ("checkout", "orders"), ("platform", "idempotency_keys")} <= set(tables)
        look = sql.SQL(
            "SELECT {name}, count(*), coalesce(md5(string_agg(t.xmin::text || t::text, ',' ORDER BY t::text)), '')"
            " FROM {table} AS t"
        )
        parts = [look.format(name=".".join(table), table=sql.Identifier(*table)) for table in tables]
        found = self.looker.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall()
        return {name: (count, checksum) for name, count, checksum in found}


@pytest.fixture(scope="module")
def own_settings(
    server_home: Any, cluster: TestCluster, valkey_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of the shop that this module's tests share."""
    home = tmp_path_factory.mktemp("bad-input")
    (home / "secrets.json").write_bytes((server_home / "secrets.json").read_bytes())
    url = cluster.clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIDEGATE_HOME", str(home))
        patch.setenv("TIDEGATE_DATABASE_URL", url)
        patch.setenv("TIDEGATE_VALKEY_URL", valkey_server.url())
        patch.setenv("TIDEGATE_DEMO", "true")
        current_settings.cache_clear()
        current_sealer.cache_clear()
        yield current_settings()
    current_settings.cache_clear()
    current_sealer.cache_clear()
    cluster.drop(url)


@pytest.fixture(scope="module")
async def stage(own_settings: Settings) -> AsyncIterator[Stage]:
    app = create_app(own_settings)
    assert isinstance(app, OnlyHttp)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE)
    async with app.app.router.lifespan_context(app.app), client as site:
        database: Database = app.app.state.database
        await put_on_sale(database, "LAMP", stock=500)
        await put_on_sale(database, "EARLY", stock=5, drop_in_s=3_600, guests=True)
        euro, room = (
            await put_on_sale(database, "EURO", stock=5),
            await put_on_sale(database, "ROOM", stock=5, drop_in_s=-1),
        )
        async with database.transaction() as conn:
            await conn.execute("UPDATE catalog.prices SET currency = 'EUR' WHERE variant_id = %s", (euro,))
            await _close_room(conn, room)
        who, other, gone = await guest(site), await guest(site), await guest(site)
        assert (await site.delete("/api/v1/sessions", headers=gone)).status_code == 204
        things = {name: (await held(site, who))["id"] for name in ("MINE", "EXPIRED", "GIVEN_BACK", "PAID")}
        things |= {name: (await held(site, other))["id"] for name in ("THEIRS", "THEIR_ORDERED")}
        await site.delete(f"{HOLDS}/{things['GIVEN_BACK']}", headers=who)
        mine = await post(site, ORDERS, order_body(things["PAID"]), who, key="used")
        theirs = await post(site, ORDERS, order_body(things["THEIR_ORDERED"], "tok_declined"), other)
        things |= {"MY_ORDER": mine.json()["id"], "THEIR_ORDER": theirs.json()["id"]}
        async with database.transaction() as conn:
            await conn.execute(
                "UPDATE inventory.holds SET expires_at = clock_timestamp() WHERE id = %s", (things["EXPIRED"],)
            )
        cookie = f"tidegate_session={who['authorization'].removeprefix('Bearer ')}"
        with psycopg.connect(own_settings.require_database_url(), autocommit=True) as looker:
            yield Stage(site, own_settings, looker, who, cookie, gone["authorization"], things)


async def _close_room(conn: Any, variant: VariantId) -> None:
    await conn.execute(
        "UPDATE catalog.drops AS d SET room = 'draw' FROM catalog.drop_items AS i"
        " WHERE i.drop_id = d.id AND i.variant_id = %s",
        (variant,),
    )


def refused(stage: Stage, response: httpx.Response, expected: Answer, before: dict[str, tuple[int, str]]) -> Body:
    """Check a refusal: its status, its type, its shape, and that nothing has happened."""
    assert problem(response) == expected, response.text[:300]
    document: Body = response.json()
    assert document["type"] == f"/problems/{expected[1]}"
    assert document["title"]
    assert response.headers["cache-control"] == "no-store"
    assert "idempotent-replayed" not in response.headers
    after = stage.rows()
    assert {name: after[name] for name in after if after[name] != before[name]} == {}, "rows were changed"
    return document


def on(routes: tuple[str, ...], cases: tuple[tuple[Any, ...], ...]) -> pytest.MarkDecorator:
    """Each case on each route."""
    rows = [pytest.param(route, *case[1:], id=f"{route[8:]}: {case[0]}") for case in cases for route in routes]
    return pytest.mark.parametrize(("route", "change", "expected"), rows)


@on((HOLDS, PURCHASES), LINE_CASES)
async def test_lines(stage: Stage, route: str, change: Change, expected: Answer) -> None:
    before = stage.rows()
    refused(stage, await stage.send(route, change(stage.good(route))), expected, before)


@on((ORDERS, PURCHASES), FORM_CASES)
async def test_forms(stage: Stage, route: str, change: Change, expected: Answer) -> None:
    before = stage.rows()
    body = change(stage.good(route))
    response = await stage.send(route, body)
    refused(stage, response, expected, before)
    assert "4242" not in response.text, "what could be a card's number is never repeated"


@on((HOLDS, ORDERS, PURCHASES), BYTE_CASES)
async def test_bytes(stage: Stage, route: str, change: Change, expected: Answer) -> None:
    before = stage.rows()
    refused(stage, await stage.send(route, change(stage.good(route))), expected, before)


@on((HOLDS, ORDERS, PURCHASES), HEADER_CASES)
async def test_headers(stage: Stage, route: str, change: dict[str, str | bytes | None], expected: Answer) -> None:
    before = stage.rows()
    refused(stage, await stage.send(route, stage.good(route), change), expected, before)


@on((ORDERS,), HOLD_CASES)
async def test_holds_to_order(stage: Stage, route: str, change: str, expected: Answer) -> None:
    before = stage.rows()
    body = order_body(stage.named(change))
    document = refused(stage, await stage.send(route, body), expected, before)
    if expected == NOT_FOUND:
        assert document["detail"] == "there is no such hold", "no hint whether it is somebody else's"


@pytest.mark.parametrize(("method", "path", "expected"), [pytest.param(*case[1:], id=case[0]) for case in READ_CASES])
async def test_reads(stage: Stage, method: str, path: str, expected: Answer) -> None:
    before = stage.rows()
    response = await stage.site.request(method, stage.named(path), headers=stage.who)
    document = refused(stage, response, expected, before)
    if expected == NOT_FOUND:
        kind = "hold" if path.startswith(HOLDS) else "order"
        assert document["detail"] == f"there is no such {kind}", "no hint whether it is somebody else's"


@pytest.mark.parametrize("route", [HOLDS, ORDERS, PURCHASES])
async def test_two_keys_in_one_request(stage: Stage, route: str) -> None:
    before = stage.rows()
    headers = [*stage.who.items(), (KEY, "a"), (KEY, "b"), ("content-type", "application/json")]
    response = await stage.site.post(route, content=json.dumps(stage.good(route)), headers=headers)
    refused(stage, response, NO_KEY, before)


@pytest.mark.parametrize("route", [HOLDS, ORDERS, PURCHASES])
async def test_the_bodies_that_the_cases_spoil_are_good(stage: Stage, route: str) -> None:
    before = stage.rows()
    mine = (await held(stage.site, stage.who))["id"]
    body = (order_body(mine) if route == ORDERS else stage.good(route)) | {"currency": "GBP"}
    assert (await stage.send(route, body)).status_code == 201
    changed = {name for name, rows in stage.rows().items() if rows != before[name]}
    assert {"inventory.stock", "inventory.holds", "platform.idempotency_keys"} <= changed, "the comparison can see"


async def test_each_kind_of_the_terms_has_a_type_of_its_own(stage: Stage) -> None:
    """Two different mistakes never share a type, and each type has its page."""
    tables: tuple[tuple[tuple[Any, ...], ...], ...] = (LINE_CASES, BYTE_CASES, HOLD_CASES, WEBHOOK_CASES)
    kinds = {case[0]: case[-1][1] for table in tables for case in table}
    names = ("an unknown SKU", "quantity 0", "a fractional quantity", "1,000 lines", "a price in another currency",
             "another buyer's hold", "a hold that has expired", "not JSON", "2 MB", "a forged signature",
             "a signature that is too old")  # fmt: skip
    assert len({kinds[name] for name in names}) == len(names)
    pages = (await stage.site.get("/problems")).text
    assert [kind for kind in kinds.values() if f'href="/problems/{kind}"' not in pages] == []


async def test_every_answer_of_the_tables_is_documented(stage: Stage) -> None:
    paths = (await stage.site.get("/openapi.json")).json()["paths"]
    expected = [(route, case[-1]) for case in LINE_CASES for route in (HOLDS, PURCHASES)]
    expected += [(route, case[-1]) for case in FORM_CASES for route in (ORDERS, PURCHASES)]
    expected += [(route, case[-1]) for case in (*BYTE_CASES, *HEADER_CASES) for route in (HOLDS, ORDERS, PURCHASES)]
    expected += [(ORDERS, case[-1]) for case in HOLD_CASES]
    expected += [(f"{WEBHOOKS}/{{provider}}", case[-1]) for case in WEBHOOK_CASES]
    for route, (status, kind) in expected:
        responses = paths[route]["post"]["responses"]
        assert f"`{kind}`" in responses[str(status)]["description"], (route, status, kind)


def signed(stage: Stage, body: bytes, *, event: str = "evt", age_s: float = 0) -> dict[str, str]:
    sent_at = datetime.now(UTC) - timedelta(seconds=age_s)
    secret = stage.settings.security.sandbox_webhook_secret.get_secret_value()
    return {
        "content-type": "application/json",
        "webhook-id": event,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(msg_id=event, timestamp=sent_at, data=body.decode()),
    }


def told(order_id: str, kind: str = "payment.succeeded") -> bytes:
    """What the sandbox says of an order's first attempt."""
    ref = ChargeRef(OrderId(UUID(order_id)), 1)
    paid = {"id": "sp_1", "reference": ref.key, "amount": 250, "currency": "GBP", "failure": None}
    return json.dumps({"type": kind, "payment": paid}).encode()


@pytest.mark.parametrize(
    ("provider", "change", "content", "expected"), [pytest.param(*case[1:], id=case[0]) for case in WEBHOOK_CASES]
)
async def test_webhooks(
    stage: Stage, provider: str, change: dict[str, str | None], content: bytes | None, expected: Answer
) -> None:
    before = stage.rows()
    body = told(stage.things["THEIR_ORDER"]) if content is None else content
    headers: dict[str, str | None] = dict(signed(stage, body, age_s=float(change.get("age") or 0)))
    if change.get("body"):
        body = body.replace(b"sp_1", b"sp_2")
    fresh = str(int(datetime.now(UTC).timestamp()) - 60)
    headers |= {name: fresh if value == "FRESH" else value for name, value in change.items()}
    sent = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
    refused(stage, await stage.site.post(f"{WEBHOOKS}/{provider}", content=body, headers=sent), expected, before)


async def test_a_good_webhook_has_one_effect_and_its_repeat_is_thanked(stage: Stage) -> None:
    other = await guest(stage.site)
    bought = await post(stage.site, PURCHASES, purchase_body(token="tok_webhook_never"), other)
    order_id = bought.json()["id"]
    assert bought.json()["state"] == "awaiting_payment"
    body = told(order_id)
    headers = signed(stage, body, event=f"evt_{order_id}")
    first = await stage.site.post(f"{WEBHOOKS}/sandbox", content=body, headers=headers)
    assert (first.status_code, first.json()) == (200, {})
    paid = await stage.site.get(f"{ORDERS}/{order_id}", headers=other)
    assert paid.json()["state"] == "paid"
    before = stage.rows()
    for again in (headers, signed(stage, body, event=f"evt_{order_id}", age_s=60)):
        answer = await stage.site.post(f"{WEBHOOKS}/sandbox", content=body, headers=again)
        assert (answer.status_code, answer.json()) == (200, {})
    after = stage.rows()
    assert {name for name in after if after[name] != before[name]} == set()

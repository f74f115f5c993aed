"""The pay page over HTTP, as a browser without JavaScript uses it: also twice, late, and in two tabs."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from tests.payments.makers import charge, intent, recorded
from tidegate import payments
from tidegate.entrypoints.site import create_app
from tidegate.payments import ChargeIntent, ChargeState, Providers, http_sandbox
from tidegate.platform.database import Database
from tidegate.platform.edge.stack import OnlyHttp, make_app
from tidegate.platform.settings import PaymentSettings, Settings
from tidegate.web import error_page

pytestmark = pytest.mark.anyio


@pytest.fixture
def demo(settings: Settings) -> Settings:
    limits = PaymentSettings(sandbox_slow_s=0.01, sandbox_late_s=3_600)
    return settings.model_copy(update={"demo": True, "payments": limits})


@pytest.fixture
def providers(database: Database, demo: Settings) -> Providers:
    return payments.make_providers(database, demo)


@pytest.fixture
async def browser(database: Database, demo: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.settings, app.state.database = demo, database
    app.include_router(http_sandbox.router)
    transport = httpx.ASGITransport(make_app(app, demo, error_page=error_page))
    headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
    async with httpx.AsyncClient(transport=transport, base_url=demo.base_url, headers=headers) as client:
        yield client


async def opened(providers: Providers, method: str = "hosted") -> tuple[ChargeIntent, str]:
    """An intent whose page is open, and the page's path."""
    wish = intent(method)
    answer = await payments.call_provider(providers, wish)
    assert answer.action_url is not None
    return wish, httpx.URL(answer.action_url).path


async def token_on(browser: httpx.AsyncClient, path: str) -> str:
    page = await browser.get(path)
    assert page.status_code == 200
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


async def press(browser: httpx.AsyncClient, path: str, token: str, action: str, card: str = "") -> httpx.Response:
    return await browser.post(path, data={"form_token": token, "action": action, "card": card})


async def state_of(providers: Providers, wish: ChargeIntent) -> tuple[ChargeState, str | None]:
    answer = await payments.ask_provider(providers, charge(wish))
    return answer.state, answer.failure


async def told(database: Database) -> list[str]:
    async with database.connection() as conn:
        rows = await conn.execute("SELECT body::jsonb ->> 'type' FROM payments.sandbox_webhooks ORDER BY due_at")
        return [kind for (kind,) in await rows.fetchall()]


def words(page: httpx.Response) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page.text).split()))


async def test_the_page_says_what_is_paid_to_whom(browser: httpx.AsyncClient, providers: Providers) -> None:
    wish, path = await opened(providers)
    page = await browser.get(path)
    assert page.status_code == 200
    for part in ("£12.99", "Tidegate", wish.description, "Card that works", "Card that is declined"):
        assert part in words(page)
    assert 'value="tok_ok" checked' in page.text
    assert "tok_error_after_charge" not in page.text
    main = page.text[page.text.index("<main") : page.text.index("</main>")]
    assert "script" not in main.lower().replace("description", ""), "it needs no JavaScript"
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("card", "state", "webhooks"),
    [
        ("tok_ok", ChargeState.CAPTURED, ["payment.succeeded"]),
        ("tok_slow", ChargeState.CAPTURED, ["payment.succeeded"]),
        ("tok_declined", ChargeState.FAILED, ["payment.failed"]),
        ("tok_webhook_twice", ChargeState.CAPTURED, ["payment.succeeded"] * 2),
        ("tok_webhook_late", ChargeState.CAPTURED, ["payment.succeeded"]),
        ("tok_webhook_never", ChargeState.CAPTURED, []),
    ],
)
async def test_each_card_ends_the_payment_and_leads_back(
    browser: httpx.AsyncClient,
    database: Database,
    providers: Providers,
    card: str,
    state: ChargeState,
    webhooks: list[str],
) -> None:
    wish, path = await opened(providers)
    back = await press(browser, path, await token_on(browser, path), "pay", card)
    assert (back.status_code, back.headers["location"]) == (303, "/orders/1")
    assert (await state_of(providers, wish))[0] is state
    assert await told(database) == webhooks


@pytest.mark.parametrize(
    ("button", "state", "failure", "webhook"),
    [
        ("confirm", ChargeState.CAPTURED, None, "payment.succeeded"),
        ("refuse", ChargeState.FAILED, "confirmation_refused", "payment.failed"),
    ],
)
async def test_a_bank_that_asks(
    browser: httpx.AsyncClient,
    database: Database,
    providers: Providers,
    button: str,
    state: ChargeState,
    failure: str | None,
    webhook: str,
) -> None:
    for method in ("hosted", "tok_confirm"):
        wish, path = await opened(providers, method)
        token = await token_on(browser, path)
        if method == "hosted":
            asked = await press(browser, path, token, "pay", "tok_confirm")
            assert (asked.status_code, asked.headers["location"]) == (303, path)
        assert "Confirm the payment of £12.99" in words(await browser.get(path))
        back = await press(browser, path, token, button)
        assert (back.status_code, back.headers["location"]) == (303, "/orders/1")
        assert await state_of(providers, wish) == (state, failure)
    assert await told(database) == [webhook] * 2


async def test_pressing_twice_and_going_back_pays_once(
    browser: httpx.AsyncClient, database: Database, providers: Providers
) -> None:
    wish, path = await opened(providers)
    token = await token_on(browser, path)
    clicks = await asyncio.gather(*(press(browser, path, token, "pay", "tok_ok") for _ in range(5)))
    assert {(click.status_code, click.headers["location"]) for click in clicks} == {(303, "/orders/1")}
    other_tab = await press(browser, path, token, "pay", "tok_declined")
    assert other_tab.headers["location"] == "/orders/1"
    await press(browser, path, token, "cancel")
    assert await state_of(providers, wish) == (ChargeState.CAPTURED, None)
    assert await told(database) == ["payment.succeeded"]
    page = await browser.get(path)
    assert "This payment is complete" in words(page)
    assert 'method="post"' not in page.text


async def test_a_cancelled_payment_stays_so(
    browser: httpx.AsyncClient, database: Database, providers: Providers
) -> None:
    wish, path = await opened(providers)
    token = await token_on(browser, path)
    for action in ("cancel", "pay", "cancel"):
        back = await press(browser, path, token, action, "tok_ok")
        assert back.headers["location"] == "/orders/1"
    assert await state_of(providers, wish) == (ChargeState.CANCELLED, "cancelled_by_shopper")
    assert await told(database) == ["payment.cancelled"]
    assert "The payment was cancelled No money was taken." in words(await browser.get(path))


async def test_a_page_that_the_shop_has_closed_says_so(browser: httpx.AsyncClient, providers: Providers) -> None:
    wish, path = await opened(providers)
    token = await token_on(browser, path)
    await payments.end_attempt(providers, charge(wish))
    back = await press(browser, path, token, "pay", "tok_ok")
    assert (back.status_code, back.headers["location"]) == (303, path)
    page = await browser.get(path)
    assert "This payment page is closed" in words(page)
    assert 'href="/orders/1"' in page.text
    assert (await state_of(providers, wish))[0] is ChargeState.CANCELLED


async def test_nothing_is_paid_by_a_foreign_or_broken_form(
    browser: httpx.AsyncClient, database: Database, providers: Providers
) -> None:
    wish, path = await opened(providers)
    token = await token_on(browser, path)
    good = {"form_token": token, "action": "pay", "card": "tok_ok"}
    for change, headers, status in (
        ({"form_token": "x"}, {}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403),
        ({"card": "4242424242424242"}, {}, 422),
        ({"card": "tok_error_after_charge"}, {}, 422),
        ({"action": "steal"}, {}, 422),
    ):
        refused = await browser.post(path, data=good | change, headers=headers)
        assert refused.status_code == status
        assert "4242" not in refused.text
    assert (await state_of(providers, wish))[0] is ChargeState.REQUIRES_ACTION
    assert await told(database) == []


async def test_unknown_payments_are_not_there(browser: httpx.AsyncClient, providers: Providers) -> None:
    _, path = await opened(providers)
    token = await token_on(browser, path)
    for other in ("pay_" + "0" * 32, "pay_%F0%9F%92%B3", "x", path.rpartition("/")[2].upper()):
        assert (await browser.get(f"/sandbox/pay/{other}")).status_code == 404
        assert (await press(browser, f"/sandbox/pay/{other}", token, "pay", "tok_ok")).status_code == 404


async def test_the_site_takes_what_the_sandbox_sends(database: Database, demo: Settings, providers: Providers) -> None:
    """The webhook passes the whole edge: signed, without a cookie or an origin."""
    wish = intent("tok_webhook_twice")
    await recorded(database, wish)
    await payments.call_provider(providers, wish)
    app = create_app(demo)
    transport = httpx.ASGITransport(app)
    assert isinstance(app, OnlyHttp)
    async with app.app.router.lifespan_context(app.app), httpx.AsyncClient(transport=transport) as client:
        assert await payments.deliver_sandbox_webhooks_once(database, demo, client=client) == 2
    async with database.connection() as conn:
        rows = await conn.execute("SELECT count(*) FROM payments.webhook_events WHERE applied_at IS NOT NULL")
        assert await rows.fetchone() == (1,)
        rows = await conn.execute("SELECT count(*) FROM payments.sandbox_webhooks WHERE delivered_at IS NULL")
        assert await rows.fetchone() == (0,)

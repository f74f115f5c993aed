"""What our scripts do in a real browser, under the real policy: countdowns, local times, the API's reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI, Request
from jinja2 import ChoiceLoader, DictLoader
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from starlette.responses import HTMLResponse, Response

from tests.e2e.conftest import FLAGS, PATIENCE_MS, find_chromium
from tests.web.conftest import ORIGIN, People, web_settings
from tidegate.platform.edge.openapi import describe, openapi_router
from tidegate.platform.edge.stack import make_app
from tidegate.web import StaticTree, busy_pages, environment, error_page, pages_docs, render

Ask = Callable[..., httpx.Response]

pytestmark = pytest.mark.browser

SOON = """{% extends 'web/layout.html' %}{% import 'web/parts.html' as parts with context %}
{% block title %}Soon{% endblock %}
{% block scripts %}{{ parts.countdown_script() }}{{ parts.local_time_script() }}{% endblock %}
{% block main %}
<p id="visit">{{ visit }}</p>
{{ parts.countdown(until, 'Opens in', 'a moment', then=then, target='buy', done='Open now') }}
<div id="buy" data-waiting inert><button class="button button-primary">Buy</button></div>
<p id="below">Below</p>
{{ parts.moment(until) }}
{% endblock %}"""


WATCH = """
const now = Date.now.bind(Date), origin = performance.timeOrigin;
Date.now = () => now() + SHIFT_MS;
Object.defineProperty(performance, "timeOrigin", {value: origin + SHIFT_MS});
const top_of = () => document.getElementById("below")?.getBoundingClientRect().top;
window.seen = {texts: []};
new MutationObserver((changes) => {
  for (const {type, target} of changes) {
    if (type === "attributes") Object.assign(window.seen, {revealed_at: now(), top_after: top_of()});
    else if (target.matches?.("[data-clock]")) window.seen.texts.push(target.textContent);
  }
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-waiting"]});
addEventListener("DOMContentLoaded", () => {
  const buy = document.getElementById("buy");
  if (buy) Object.assign(window.seen, {hidden: getComputedStyle(buy).visibility, top_before: top_of()});
});
"""
"""Sets the device's clock, and notes what a countdown does when nobody has the time to look."""


@dataclass
class Stage:
    """The page that is shown, and how far the device's clock is ahead of the server's."""

    then: str = "reveal"
    left: timedelta = timedelta(seconds=3)
    visits: int = 0
    until: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class SoonContext:
    until: datetime
    then: str
    visit: int


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium here: install the package chromium, or set TIDEGATE_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def ask(stage: Stage) -> Iterator[Ask]:
    """Asks the app, on an event loop of its own: Playwright has this thread's."""
    templates = environment("en_GB")
    templates.loader = ChoiceLoader([DictLoader({"test/soon.html": SOON}), templates.loader])  # type: ignore[list-item]
    app = FastAPI(openapi_url=None)
    app.state.settings = web_settings()
    app.state.resolve_person = People().resolve

    @app.get("/soon", include_in_schema=False)
    async def soon(request: Request) -> Response:
        stage.visits += 1
        stage.until = datetime.now(UTC) + stage.left
        return render(request, "test/soon.html", SoonContext(stage.until, stage.then, stage.visits))

    @app.get("/full", include_in_schema=False)
    async def full(request: Request) -> Response:
        if stage.visits:
            return await soon(request)
        stage.visits += 1
        return HTMLResponse(busy_pages(web_settings()).make("en_GB", 1, True))

    @app.get("/api/v1/ping", tags=["ping"])
    async def ping(word: str = "pong") -> dict[str, str]:
        """Answer with a word."""
        return {"word": word}

    app.include_router(openapi_router(lambda: describe(app, ())))
    app.include_router(pages_docs.router)
    app.mount("/static", StaticTree())
    transport = httpx.ASGITransport(make_app(app, web_settings(), error_page=error_page))

    async def request(method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            return await http.request(method, path, headers=headers)

    with start_blocking_portal() as portal:
        yield lambda *arguments: portal.call(request, *arguments)


@pytest.fixture
def open_page(browser: Browser, ask: Ask) -> Iterator[Callable[..., Page]]:
    """`open_page("/soon", ahead=timedelta(hours=1))`: the page in a browser whose clock is ahead of the server's."""
    troubles: list[str] = []
    contexts = []

    def serve(route: Route) -> None:
        request = route.request
        if not request.url.startswith(ORIGIN):
            troubles.append(f"asked {request.url}")
            route.abort()
            return
        answer = ask(request.method, request.url.removeprefix(ORIGIN), request.all_headers())
        headers = {k: v for k, v in answer.headers.items() if k not in ("content-encoding", "content-length")}
        route.fulfill(status=answer.status_code, headers=headers, body=answer.content)

    def open_one(path: str, *, ahead: timedelta = timedelta(), **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.route("**/*", serve)
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.add_init_script(WATCH.replace("SHIFT_MS", str(ahead / timedelta(milliseconds=1))))
        page.goto(ORIGIN + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.mark.parametrize("ahead", [timedelta(), timedelta(hours=1), timedelta(hours=-1)])
def test_a_countdown_follows_the_servers_clock_and_reveals_without_a_jump(
    open_page: Callable[..., Page], stage: Stage, ahead: timedelta
) -> None:
    page = open_page("/soon", ahead=ahead)
    button = page.locator("#buy button")
    expect(button).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("timer")).to_have_text("Open now")
    expect(page.locator("[aria-live=polite]")).to_have_text("Open now")
    button.focus()
    seen = page.evaluate("window.seen")
    assert -50 <= seen["revealed_at"] - stage.until.timestamp() * 1000 < PATIENCE_MS
    assert seen["texts"][-1] == "Open now"
    assert set(seen["texts"]) <= {"a moment", "0:03", "0:02", "0:01", "0:00", "Open now"}
    assert seen["hidden"] == "hidden"
    assert seen["top_before"] == seen["top_after"]
    assert stage.visits == 1


def test_a_countdown_may_load_the_page_again(open_page: Callable[..., Page], stage: Stage) -> None:
    stage.then = "reload"
    page = open_page("/soon")
    expect(page.locator("#visit")).to_have_text("2", timeout=PATIENCE_MS)


def test_long_times_are_written_in_full(open_page: Callable[..., Page], stage: Stage) -> None:
    stage.left = timedelta(days=1, hours=2, minutes=3, seconds=4)
    expect(open_page("/soon").get_by_role("timer")).to_have_text("1 d 02:03:04")


def test_moments_are_told_in_the_readers_own_time(open_page: Callable[..., Page], stage: Stage) -> None:
    page = open_page("/soon", timezone_id="Asia/Kathmandu")
    there = (stage.until + timedelta(hours=5, minutes=45)).strftime("%H:%M")
    expect(page.locator("time")).to_contain_text(there)
    assert "UTC" in (page.locator("time").get_attribute("title") or "")


def test_the_reference_is_read_and_tried_without_a_cdn(open_page: Callable[..., Page]) -> None:
    page = open_page("/docs")
    operation = page.locator(".opblock-summary-control")
    expect(operation).to_contain_text("Answer with a word")
    operation.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


def test_the_page_of_a_full_shop_asks_again_by_itself(open_page: Callable[..., Page]) -> None:
    page = open_page("/full")
    expect(page.get_by_text("This page asks again by itself in 1 second.")).to_be_visible()
    expect(page.locator("#visit")).to_have_text("2", timeout=PATIENCE_MS)

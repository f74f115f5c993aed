"""A real Chromium in front of a real shop.

Every visit is watched: a request to another host, a breach of the content security policy or an error of a script
fails the test, whatever else it looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, expect, sync_playwright

from tests.e2e.shopper import Shopper
from tests.servers import Shop

CHROMIUM_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_APPS = ("Google Chrome", "Chromium")
CHOSEN_CHROMIUM = os.environ.get("TIDEGATE_TEST_CHROMIUM", "")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 15_000
"""How long an expected thing may take on a busy machine."""

EXPECTED_CONSOLE = (
    "Failed to load resource: the server responded with a status of 4",
    "Failed to load resource: net::ERR_INTERNET_DISCONNECTED",
)
"""Chromium reports a page that is answered with 404, 409, 410 or 422 like this; those are pages, too. The other is what
it says where a test takes the network away."""

Visit = Callable[..., Shopper]


def find_chromium() -> str | None:
    """The browser for these tests; `TIDEGATE_TEST_CHROMIUM` chooses one."""
    named = [path for name in (CHOSEN_CHROMIUM, *CHROMIUM_NAMES) if name and (path := shutil.which(name))]
    apps = [Path(f"/Applications/{app}.app/Contents/MacOS/{app}") for app in CHROMIUM_APPS]
    return next(iter([*named, *(str(app) for app in apps if app.exists())]), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser per file: Playwright's event loop must be gone before async tests of other files run."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium here: install the package chromium, or set TIDEGATE_TEST_CHROMIUM")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Makes shoppers, each with a browser session of their own: `visit(shop)`, `visit(shop, javascript=False)`."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def start(
        shop: Shop,
        *,
        javascript: bool = True,
        width: int = 1280,
        theme: Literal["light", "dark"] = "light",
        locale: str = "en-GB",
    ) -> Shopper:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            java_script_enabled=javascript,
            locale=locale,
            color_scheme=theme,
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: _watch_request(request, shop.base_url, complaints))
        context.on("console", lambda message: _watch_console(message, complaints))
        context.on("weberror", lambda error: complaints.append(f"script failed: {error.error}"))
        return Shopper(context.new_page(), shop)

    yield start
    for context in contexts:
        context.close()
    assert not complaints, complaints


def _watch_request(request: Request, base_url: str, complaints: list[str]) -> None:
    if not request.url.startswith((base_url + "/", "data:")):
        complaints.append(f"request to elsewhere: {request.url}")


def _watch_console(message: ConsoleMessage, complaints: list[str]) -> None:
    if message.type in ("error", "warning") and not message.text.startswith(EXPECTED_CONSOLE):
        complaints.append(f"console: {message.text}")

"""A gate on its own, in a browser: its staff sign in as `tidegate room staff` tells them, and lead a room."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect
from typer.testing import CliRunner

from tests.e2e.conftest import Visit
from tests.e2e.test_pages import inspect
from tests.servers import Shop, wait_until
from tidegate.entrypoints.commands import make_app
from tidegate.entrypoints.gate import create_app
from tidegate.platform.edge.server import listen, make_server
from tidegate.platform.settings import Settings, current_settings

pytestmark = pytest.mark.browser

ROOM = "/admin/drops/lamp/room"


def run(*words: str) -> str:
    """What a `tidegate` command beside the gate says."""
    with ThreadPoolExecutor(1) as other:  # Playwright has an event loop in this thread
        done = other.submit(CliRunner().invoke, make_app(words), words).result()
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def own_gate(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A gate before a shop elsewhere, at work."""
    sock = listen("127.0.0.1", 0)
    place = Shop(settings.home, port=sock.getsockname()[1])
    monkeypatch.setenv("TIDEGATE_PORT", str(place.port))
    monkeypatch.setenv("TIDEGATE_GATE__STATUS_REFRESH_MS", "50")
    current_settings.cache_clear()
    server = make_server(create_app(current_settings()), settings.http)
    serving = threading.Thread(target=lambda: server.run(sockets=[sock]))
    serving.start()
    wait_until(lambda: server.started, what="the gate")
    yield place
    server.should_exit = True
    serving.join(20)


def test_the_staff_of_a_gate_lead_a_room(own_gate: Shop, visit: Visit) -> None:
    title = "The lamp of a shop elsewhere, in its second and last edition"
    run("room", "create", "lamp", "--title", title, "--shop", "http://shop.example", "--opens-at", "+30m")
    staff, visitor = visit(own_gate), visit(own_gate, javascript=False)
    staff.go("/admin")
    staff.sees("Staff sign-in")
    staff.page.goto(run("room", "staff", "--name", "ann").strip())
    expect(staff.page).to_have_url(f"{own_gate.base_url}/admin")
    staff.sees("http://shop.example")
    inspect(staff, "own-gate-rooms")
    staff.page.get_by_role("link", name=title).click()
    expect(staff.page).to_have_url(own_gate.base_url + ROOM)
    inspect(staff, "own-gate-room")

    staff.page.get_by_label(re.compile("Message")).fill("The doors open a little later.")
    staff.press("Save")
    staff.sees("Saved.")
    wait_until(lambda: visitor.reads("/drops/lamp/room", "The doors open a little later."), what="the message")
    staff.press("Pause")
    staff.sees("Nobody is let in.")
    staff.press("Go on")
    staff.page.get_by_role("link", name="Open now").click()
    staff.press("Open now")
    wait_until(lambda: staff.reads(ROOM, "Open"), what="the opened room")
    staff.page.get_by_role("link", name="Close the room").click()
    staff.press("Close the room")
    wait_until(lambda: visitor.reads("/drops/lamp/room", "This drop is over."), what="the closed room")
    staff.go("/admin")
    staff.press("Sign out")
    staff.go(ROOM)
    staff.sees("Staff sign-in")

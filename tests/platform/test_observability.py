"""Secrets and personal data never reach a log, whatever way they try; metrics have a port of their own."""

from __future__ import annotations

import logging
import socket
import time
import urllib.request
import warnings
from collections.abc import Iterator

import httpx
import psycopg
import pytest
import structlog
from fastapi import FastAPI, Request
from pydantic import SecretStr

from tests.logs import CaughtLogs, caught_logs
from tidegate.platform.database import Database
from tidegate.platform.edge.stack import make_app
from tidegate.platform.observability import METRICS_PORT_VARIABLE, start_metrics
from tidegate.platform.redaction import HIDDEN, Redactor, known_secrets
from tidegate.platform.settings import ObservabilitySettings, SecuritySettings, Settings

EMAIL = "jane.canary@example.org"
TOKEN = "cAnArY-t0ken-0123456789abcdef"
PASSWORD = "cAnArY.pa55word"
CARD = "4242 4242 4242 4242"
KEY = "Y2FuYXJ5LWtleS1jYW5hcnkta2V5LWNhbmFyeS1rZXk="
CANARIES = (EMAIL, "jane.canary", TOKEN, PASSWORD, CARD, CARD.replace(" ", ""), KEY)

SETTINGS = Settings(
    database_url=SecretStr(f"postgresql://shop:{PASSWORD}@127.0.0.1:1/shop"),
    valkey_url=SecretStr(f"redis://:{PASSWORD}@127.0.0.1:1/0"),
    security=SecuritySettings(sealing_keys=SecretStr(f"1:{KEY}"), form_key=SecretStr(KEY)),
)


@pytest.fixture(params=["json", "console"])
def logs(request: pytest.FixtureRequest) -> Iterator[CaughtLogs]:
    with caught_logs(SETTINGS, log_format=request.param, log_level="debug") as caught:
        yield caught


def assert_no_canary(text: str) -> None:
    assert [canary for canary in CANARIES if canary in text] == []


def leaky_shop() -> FastAPI:
    """Handlers that log what they should not."""
    app = FastAPI(openapi_url=None)
    log = structlog.get_logger("leaky")

    @app.post("/form")
    async def form(request: Request) -> None:
        async with request.form() as posted:
            log.info("form", fields=dict(posted), raw=posted.multi_items(), text=str(posted))
        log.info("head", headers=dict(request.headers), pairs=request.headers.items(), raw=request.scope["headers"])
        log.info("address", url=str(request.url), query=request.url.query)
        raise ValueError(f"cannot use {EMAIL} with Bearer {TOKEN}, password={PASSWORD!r}, card {CARD}")

    return app


async def test_nothing_of_a_request_reaches_the_log(logs: CaughtLogs) -> None:
    transport = httpx.ASGITransport(make_app(leaky_shop(), SETTINGS))
    form = {"email": EMAIL, "password": PASSWORD, "note": f"write to {EMAIL}", "card": CARD, "address": "1 Canary Row"}
    headers = {
        "authorization": f"Bearer {TOKEN}", "cookie": f"tidegate_session={TOKEN}", "x-api-key": TOKEN,
        "idempotency-key": "order-1", "user-agent": f"mailto:{EMAIL}",
    }  # fmt: skip
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        response = await http.post(f"/form?email={EMAIL}&token={TOKEN}", data=form, headers=headers)
    assert response.status_code == 500
    text = logs.getvalue()
    assert_no_canary(text)
    assert "Canary Row" not in text
    assert "ValueError" in text
    assert "order-1" in text


async def test_the_edge_itself_logs_no_address_and_no_client(logs: CaughtLogs) -> None:
    app = FastAPI(openapi_url=None)
    transport = httpx.ASGITransport(make_app(app, SETTINGS), client=("203.0.113.77", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        await http.get(f"/orders/jane?search={EMAIL}")
    assert "request" in logs.getvalue()
    for private in ("203.0.113.77", "jane", "search"):
        assert private not in logs.getvalue()


def test_settings_show_no_secret(logs: CaughtLogs) -> None:
    log = structlog.get_logger("start")
    log.info("settings", settings=SETTINGS, text=repr(SETTINGS), parts=SETTINGS.model_dump())
    log.info("url", where=SETTINGS.require_database_url(), key=f"key is {KEY}", pair=("sealing_keys", KEY))
    assert_no_canary(logs.getvalue())
    assert "127.0.0.1:1/shop" in logs.getvalue()


def test_libraries_pass_the_same_net(logs: CaughtLogs) -> None:
    logging.getLogger("some.library").warning("login of %s failed: %s", EMAIL, {"password": PASSWORD})
    logging.getLogger("uvicorn.error").info("started with redis://:%s@127.0.0.1:1/0", PASSWORD)
    logging.getLogger("some.library").info("sent", extra={"token": TOKEN, "path": "/x"})
    try:
        raise RuntimeError(f"mail to {EMAIL} bounced")
    except RuntimeError:
        logging.getLogger("some.library").exception("bounce")
    warnings.showwarning(f"do not mail {EMAIL}", UserWarning, __file__, 1)
    assert_no_canary(logs.getvalue())
    assert "bounced" in logs.getvalue()


def test_local_variables_stay_out_of_tracebacks(logs: CaughtLogs) -> None:
    def pay(card: str) -> None:
        raise RuntimeError("declined")

    try:
        pay(TOKEN)
    except RuntimeError:
        structlog.get_logger("pay").exception("failed")
    assert_no_canary(logs.getvalue())
    assert "declined" in logs.getvalue()


async def test_database_errors_tell_no_values(settings: Settings, database: Database) -> None:
    with caught_logs(settings) as logs:
        log = structlog.get_logger("database")
        async with database.connection() as conn:
            await conn.execute(
                "CREATE TABLE public.people (email text PRIMARY KEY, town text CHECK (town <> 'Canaryville'))"
            )
            await conn.execute("INSERT INTO public.people VALUES (%s, 'Hull')", (EMAIL,))
            for values in ((EMAIL, "Hull"), ("other", "Canaryville")):
                try:
                    await conn.execute("INSERT INTO public.people VALUES (%s, %s)", values)
                except psycopg.IntegrityError:
                    log.exception("insert_failed")
        try:
            with psycopg.connect(f"postgresql://shop:{PASSWORD}@127.0.0.1:1/shop"):
                pass
        except psycopg.OperationalError:
            log.exception("connect_failed")
        assert len(logs.lines()) == 3
        assert "people_pkey" in logs.getvalue()
        assert_no_canary(logs.getvalue())
        assert "Canaryville" not in logs.getvalue()


def test_what_is_harmless_stays_readable() -> None:
    text = Redactor().text("order TG-1234 of 2026-11-22T12:00:00.000000Z took 1234567890123 ns, see a/b.py:12 = 5")
    assert text == "order TG-1234 of 2026-11-22T12:00:00.000000Z took 1234567890123 ns, see a/b.py:12 = 5"
    event = Redactor()(None, "", {"event": "sold", "sku": "A-1", "quantity": 3, "free": None, "open": True})
    assert event == {"event": "sold", "sku": "A-1", "quantity": 3, "free": None, "open": True}


@pytest.mark.parametrize(
    "text",
    [
        f"password={PASSWORD}", f"password: '{PASSWORD}'", f'"api_key": "{TOKEN}"', f"Authorization: Bearer {TOKEN}",
        f"Cookie: tidegate_session={TOKEN}", f"session={TOKEN};", f"<{EMAIL}>", EMAIL.replace("@", "%40"),
        f"amqp://guest:{PASSWORD}@mq/", "4242424242424242", "4242-4242-4242-4242", "whsec_" + KEY,
        f"input_value='{TOKEN}', input_type=str", f"DETAIL:  Key (email)=({TOKEN}) already exists.",
    ],
)  # fmt: skip
def test_free_text_is_searched(text: str) -> None:
    clean = Redactor().text(text)
    assert HIDDEN in clean
    assert_no_canary(clean)
    assert "4242" not in clean


def test_deep_and_strange_values_are_bounded() -> None:
    deep: list[object] = []
    for _ in range(50):
        deep = [deep]

    class Strange:
        def __repr__(self) -> str:
            return f"<Strange {EMAIL}>"

    event = Redactor()(
        None, "", {"deep": deep, "bytes": b"x" * 10_000, "strange": Strange(), "in": [{"x": {EMAIL: 1}}]}
    )
    assert_no_canary(str(event))
    assert len(str(event)) < 500


@pytest.mark.parametrize("part", ["a", "token", "'a-", "@", "=", "1 ", "a@a.", "input_value=", '"session', "//:@"])
def test_long_texts_cost_little_time(part: str) -> None:
    text = "x = " + part * (1_000_000 // len(part))
    started = time.process_time()
    clean = Redactor([PASSWORD]).text(text)
    assert time.process_time() - started < 5
    assert len(clean) < 100_000


def test_secrets_are_found_in_every_section() -> None:
    assert {PASSWORD, KEY, f"1:{KEY}"} <= known_secrets(SETTINGS)


def free_settings(port: int = 0) -> Settings:
    return Settings(observability=ObservabilitySettings(metrics_port=port))


def test_metrics_are_served_on_a_port_of_their_own() -> None:
    port = start_metrics(free_settings(), process_name="site-1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        text = response.read().decode()
    assert 'tidegate_process_info{process="site-1"' in text


def test_a_taken_metrics_port_costs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, caught_logs(SETTINGS) as logs:
        wanted = taken.getsockname()[1]
        monkeypatch.setenv(METRICS_PORT_VARIABLE, str(wanted))
        port = start_metrics(free_settings(), process_name="site-2")
        assert port not in (0, wanted)
        assert [line["wanted"] for line in logs.events("metrics_port_taken")] == [wanted]


def test_a_terminal_gets_text_and_a_pipe_gets_json() -> None:
    for log_format, start in (("json", "{"), ("auto", "{"), ("console", "2")):
        with caught_logs(SETTINGS, log_format=log_format) as logs:
            structlog.get_logger().info("hello")
        assert logs.getvalue().startswith(start), log_format

"""What Stripe's SDK calls through, against servers and environments that are not as they should be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import pytest
import stripe
import uvloop

from tests.resets import resetting
from tidegate.payments.stripe_http import HttpClient, find_proxy
from tidegate.platform.problems import StartupError

ROUNDS, AT_ONCE = 10, 32
API = "https://api.stripe.example"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://me:secret@proxy:3128"}, "http://me:secret@proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "api.stripe.example"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": ".stripe.example"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "other.example"}, "http://proxy:3128"),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(API) == proxy


def test_a_proxy_that_does_not_speak_http_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(StartupError, match="HTTPS_PROXY"):
        HttpClient(API, timeout_s=1)


def test_certificates_that_are_not_there_are_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    with pytest.raises(FileNotFoundError):
        HttpClient(API, timeout_s=1)


def test_connections_that_are_reset_as_they_are_made_are_no_answer() -> None:
    async def ask(url: str) -> list[BaseException | tuple[bytes, int, Mapping[str, str]]]:
        client = HttpClient(url, timeout_s=10)
        said: list[BaseException | tuple[bytes, int, Mapping[str, str]]] = []
        for _ in range(ROUNDS):
            calls = (client.request_async("POST", url, None, "amount=1") for _ in range(AT_ONCE))
            said += await asyncio.gather(*calls, return_exceptions=True)
        await client.close_async()
        return said

    with resetting() as port:
        said = uvloop.run(ask(f"http://127.0.0.1:{port}/"))
    assert len(said) == ROUNDS * AT_ONCE
    assert [each for each in said if not isinstance(each, stripe.APIConnectionError)] == []


def test_an_answer_that_breaks_off_ends_the_call_in_time() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)  # the head is read by then
        writer.write(b"nonsense\r\n")
        await reader.read()
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(break_off, "127.0.0.1", 0, family=socket.AF_INET) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            client = HttpClient(url, timeout_s=0.5)
            with pytest.raises(stripe.APIConnectionError):
                await client.request_async("GET", url, None)
            await client.close_async()

    uvloop.run(asyncio.wait_for(ask(), 20))

"""What is decided from the head of a request: hosts, origins, proxies, request ids; and the headers of answers."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.platform.edge.conftest import HOST, Client, small_shop
from tests.platform.edge.test_errors import assert_problem
from tidegate.platform.edge.hosts import host_name
from tidegate.platform.edge.stack import make_app
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import HttpSettings, SecuritySettings, Settings

FORM = {"content-type": "application/x-www-form-urlencoded"}
COOKIE = {"cookie": "tidegate_session=abcdefghijklmnop"}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1", True), ("127.0.0.1:8000", True), ("LOCALHOST:1", True), ("[::1]:8000", True),
        ("shop.example", True), ("shop.example.", True), ("eu.drops.example", True),
        ("drops.example", False), ("evil.example", False), ("", False), ("shop.example@evil.example", False),
        ("evil.example/shop.example", False), ("shop.example.evil.example", False),
    ],
)  # fmt: skip
async def test_only_our_own_names_are_served(client: Client, host: str, known: bool) -> None:
    options = {
        "allowed_hosts": ["127.0.0.1", "localhost", "[::1]", "*.drops.example"],
        "base_url": "https://shop.example",
    }
    async with client(**options) as http:
        response = await http.get("/", headers={"host": host})
    if known:
        assert response.status_code == 200
    else:
        assert_problem(response, 400, "unknown-host")


async def test_probes_may_come_by_address(client: Client) -> None:
    async with client() as http:
        assert (
            await http.get("/livez", headers={"host": "10.1.2.3:8000"})
        ).status_code == 404  # no such route, but let in


def test_host_names_are_read_carefully() -> None:
    assert host_name("[2001:DB8::1]:80") == "[2001:db8::1]"
    assert host_name("a@b") == ""


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (FORM | {"sec-fetch-site": "same-origin"}, True),
        (FORM | {"sec-fetch-site": "none"}, True),
        (FORM | {"origin": HOST}, True),
        (FORM | {"origin": "https://shop.example"}, True),
        (FORM | {"origin": "https://shop.example", "sec-fetch-site": "cross-site"}, False),
        (FORM | {"sec-fetch-site": "same-site"}, False),
        (FORM | {"origin": "null"}, False),
        (FORM | {"origin": "https://evil.example"}, False),
        (FORM | {"origin": "http://127.0.0.1:9000"}, False),
        (FORM, False),
        ({"content-type": "text/plain"}, False),
        (JSON, True),
        (JSON | COOKIE, False),
        (JSON | {"sec-fetch-site": "cross-site"}, False),
        (JSON | COOKIE | {"sec-fetch-site": "same-origin"}, True),
        (JSON | COOKIE | {"authorization": "Bearer abcdefghijklmnop", "sec-fetch-site": "cross-site"}, True),
        (JSON | {"authorization": "Bearer abcdefghijklmnop", "origin": "https://app.example"}, True),
        (JSON | COOKIE | {"authorization": "Basic abcd", "sec-fetch-site": "cross-site"}, False),
    ],
)
async def test_unsafe_requests_come_from_our_own_pages(client: Client, headers: dict[str, str], allowed: bool) -> None:
    async with client(base_url="https://shop.example") as http:
        response = await http.post("/count", content=b"", headers=headers)
        assert (await http.get("/", headers={"sec-fetch-site": "cross-site"} | COOKIE)).status_code == 200
    if allowed:
        assert response.status_code == 200
    else:
        assert_problem(response, 403, "cross-site")


@pytest.mark.parametrize(
    ("peer", "headers", "client_host", "scheme"),
    [
        ("9.9.9.9", {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}, "9.9.9.9", "http"),
        ("10.0.0.1", {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}, "1.2.3.4", "https"),
        ("10.0.0.1", {"x-forwarded-for": "6.6.6.6, 1.2.3.4, 10.0.0.9"}, "1.2.3.4", "http"),
        ("10.0.0.1", {"x-forwarded-for": "6.6.6.6, nonsense"}, "10.0.0.1", "http"),
        ("10.0.0.1", {"x-forwarded-for": "[2001:db8::7]:443"}, "2001:db8::7", "http"),
        ("10.0.0.1", {"x-forwarded-for": "1.2.3.4:55"}, "1.2.3.4", "http"),
        ("10.0.0.1", {"x-forwarded-proto": "gopher"}, "10.0.0.1", "http"),
        ("fd00::1", {"x-forwarded-for": "1.2.3.4"}, "1.2.3.4", "http"),
        ("10.0.0.1", {}, "10.0.0.1", "http"),
    ],
)
async def test_proxies_are_believed_if_they_are_ours(
    client: Client, peer: str, headers: dict[str, str], client_host: str, scheme: str
) -> None:
    async with client(peer=peer, trusted_proxies=["10.0.0.0/8", "fd00::/8"]) as http:
        assert (await http.get("/whoami", headers=headers)).json() == {"client": client_host, "scheme": scheme}


def test_a_proxy_setting_that_is_no_network_stops_the_start() -> None:
    with pytest.raises(StartupError, match="TRUSTED_PROXIES"):
        make_app(small_shop(), Settings(http=HttpSettings(trusted_proxies=["everyone"])))


async def test_request_ids_are_ours_unless_a_trusted_proxy_made_one(client: Client) -> None:
    theirs = {"x-request-id": "edge-12345678"}
    async with client(peer="9.9.9.9", trusted_proxies=["10.0.0.0/8"]) as http:
        first = (await http.get("/", headers=theirs)).headers["x-request-id"]
        second = (await http.get("/nothing", headers=theirs)).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    assert first != second
    async with client(peer="10.0.0.1", trusted_proxies=["10.0.0.0/8"]) as http:
        assert (await http.get("/", headers=theirs)).headers["x-request-id"] == "edge-12345678"
        for wrong in ("short", "with space in it", "x" * 65, "line%0abreak<script>"):
            assert (await http.get("/", headers={"x-request-id": wrong})).headers["x-request-id"] != wrong


async def test_answers_carry_the_security_headers(client: Client) -> None:
    async with client() as http:
        for path in ("/", "/nothing", "/raise/bug", "/api/v1/things/1", "/api/v1/baskets/1"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "strict-transport-security" not in headers
            assert "server" not in headers
        assert (await http.get("/api/v1/things/1")).headers["cache-control"] == "no-store"
        assert (await http.get("/")).headers["cache-control"] == "private, no-cache"


async def test_https_is_made_to_stick_where_cookies_need_it() -> None:
    app = make_app(small_shop(), Settings(security=SecuritySettings(cookie_secure=True)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as http:
        assert "max-age" in (await http.get("/")).headers["strict-transport-security"]


async def test_head_is_get_without_a_body(client: Client) -> None:
    async with client() as http:
        for path in ("/", "/api/v1/things/1", "/api/v1/baskets/1", "/nothing"):
            got, headed = await http.get(path), await http.head(path)
            assert headed.status_code == got.status_code
            assert headed.content == b""
            assert headed.headers["content-length"] == got.headers["content-length"]

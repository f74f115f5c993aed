"""Where webhooks may go: what is not public is refused, however it is written and whatever name leads there."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.notify.webhook_addresses import AddressRefused, checked_url, find_addresses, is_public, resolve_host
from tidegate.platform.problems import InvalidRequest

pytestmark = pytest.mark.anyio

REFUSED = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.8.9.1", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.168.1.1", "198.18.0.1", "203.0.113.7", "224.0.0.1",
    "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "fc00::1", "fd12:3456::1",
    "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::1", "100::1",
    "3fff::1", "localhost", "",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.0.1",
    "100.128.0.1",
    "2606:4700:4700::1111",
    "2a00::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_called(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_otherwise(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert not is_public(str(address)) or (address.is_global and not address.is_multicast)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://localhost:6379/", "http://0/",
    ],
)  # fmt: skip
async def test_no_spelling_of_this_machine_gets_through(url: str) -> None:
    with pytest.raises(AddressRefused):
        await find_addresses(checked_url(url), allowed=[], resolve=resolve_host, timeout_s=5)


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1", "fe80::1"]])
async def test_a_name_is_refused_when_any_of_its_addresses_is_not_public(addresses: Sequence[str]) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("hooks.example", 443)
        return addresses

    with pytest.raises(AddressRefused):
        await find_addresses("https://hooks.example/x", allowed=["other.example"], resolve=resolve, timeout_s=5)
    found = await find_addresses("https://Hooks.example/x", allowed=["hooks.example"], resolve=resolve, timeout_s=5)
    assert found == addresses


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example", "ftp://hooks.example/", "file:///etc/passwd", "gopher://hooks.example/", "https://",
        "https:///path", "https://user@hooks.example/", "https://user:secret@hooks.example/",
        "https://hooks.example/#a",
        "https://hooks.example:0/", "https://hooks.example:99999/", "https://hooks.example\\@127.0.0.1/",
        "https://127%2e0.0.1/", "https://[fe80::1%25eth0]/", "https://hooks.example/a b",
        "https://hooks.example/\r\nX: y",
        "https://h\u00f6oks.example/", "HTTPS://hooks.example", "https://hooks.example/" + "a" * 500,
        "javascript:alert(1)",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused_with_the_field_named(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked_url(url)
    assert refused.value.extra["field"] == "url"

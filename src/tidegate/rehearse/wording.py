"""Requests as bytes: what does not differ from shopper to shopper is written once."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

TICKET, PASS = "Tidegate-Ticket", "Tidegate-Pass"
PAGES = ("/", "/search?query=bag", "/collections/lights", "/products/jumbo-bag", "/collections/bags")
"""What browsers look at, besides the drop."""


@dataclass(frozen=True, slots=True)
class Goods:
    """What the crowd comes for: the drop, and what of it a buyer buys."""

    host: str
    slug: str
    sku: str
    provider: str = "sandbox"
    token: str = "tok_ok"  # noqa: S105 - a way to pay, no secret


class Wording:
    """The crowd's requests."""

    def __init__(self, goods: Goods) -> None:
        self._host = f"host: {goods.host}\r\nuser-agent: tidegate-rehearsal\r\n"
        drop = f"/api/v1/drops/{goods.slug}"
        self._drop = drop
        self.status = self._get(f"{drop}/status")
        self.drop_page = self._get(f"/drops/{goods.slug}", "accept: text/html\r\n")
        self.pages = tuple(self._get(path, "accept: text/html\r\n") for path in PAGES)
        self.guest = f"POST /api/v1/guests HTTP/1.1\r\n{self._host}content-length: 0\r\n\r\n".encode()
        self._join = (
            f"POST {drop}/places HTTP/1.1\r\n{self._host}content-length: 0\r\nauthorization: Bearer %b\r\n\r\n"
        ).encode()
        self._place = (
            f"%b {drop}/places/%b HTTP/1.1\r\n{self._host}authorization: Bearer %b\r\n{TICKET}: %b\r\n\r\n"
        ).encode()
        body = msgspec.json.encode(
            {
                "lines": [{"sku": goods.sku, "quantity": 1}],
                "drop": goods.slug,
                "email": "rehearsal@shopper.example",
                "shipping_address": {
                    "name": "Rehearsal",
                    "line1": "1 Harbour Road",
                    "city": "London",
                    "postal_code": "SW1Y 4JH",
                    "country": "GB",
                },
                "payment": {"provider": goods.provider, "token": goods.token},
            }
        )
        self._purchase = (
            f"POST /api/v1/purchases HTTP/1.1\r\n{self._host}content-type: application/json\r\n"
            f"content-length: {len(body)}\r\nauthorization: Bearer %b\r\nidempotency-key: %b\r\n%b\r\n"
        ).encode()
        self._body = body

    def join(self, token: bytes) -> bytes:
        """Take a place."""
        return self._join % token

    def place(self, token: bytes, place: bytes, ticket: bytes, *, leave: bool = False) -> bytes:
        """Look at one's place, or give it up."""
        return self._place % (b"DELETE" if leave else b"GET", place, token, ticket)

    def purchase(self, token: bytes, key: bytes, admission: bytes) -> bytes:
        """Buy one."""
        line = PASS.encode() + b": " + admission + b"\r\n" if admission else b""
        return self._purchase % (token, key, line) + self._body

    def _get(self, path: str, more: str = "") -> bytes:
        return f"GET {path} HTTP/1.1\r\n{self._host}{more}\r\n".encode()

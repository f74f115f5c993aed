"""Requests as bytes: what does not differ from shopper to shopper is written once."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tidegate.rehearse.contracts import Kind, Step
from tidegate.rehearse.shopper import Shopper
from tidegate.rehearse.wire import ID_LENGTH

BUYING = (Step.PURCHASE, Step.HOLD, Step.PAY)
TICKET, PASS = "Tidegate-Ticket", "Tidegate-Pass"
PAGES = ("/", "/search?query=bag", "/collections/lights", "/products/jumbo-bag", "/collections/bags")
"""What browsers look at, besides the drop."""


PROVIDER = "sandbox"
TOKEN = "tok_ok"  # noqa: S105 - a way to pay, no secret


class Login(msgspec.Struct, frozen=True):
    """How somebody signs in who must: by a one-time link's token, or as somebody with a password."""

    token: str = ""
    email: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class Goods:
    """What the crowd comes for: the drop, and what of it a buyer buys."""

    host: str
    slug: str
    sku: str
    provider: str = PROVIDER
    token: str = TOKEN


def goods_lines(sku: str) -> list[dict[str, object]]:
    """One piece."""
    return [{"sku": sku, "quantity": 1}]


def purchase_body(sku: str, *, provider: str = PROVIDER, token: str = TOKEN) -> dict[str, object]:
    """What a buyer of one piece sends."""
    return {
        "lines": goods_lines(sku),
        "email": "rehearsal@shopper.example",
        "shipping_address": {
            "name": "Rehearsal",
            "line1": "1 Harbour Road",
            "city": "London",
            "postal_code": "SW1Y 4JH",
            "country": "GB",
        },
        "payment": {"provider": provider, "token": token},
    }


class Wording:
    """The crowd's requests."""

    def __init__(self, goods: Goods) -> None:
        self._host = f"host: {goods.host}\r\nuser-agent: tidegate-rehearsal\r\n"
        drop = f"/api/v1/drops/{goods.slug}"
        self._fixed = {Step.STATUS: self._get(f"{drop}/status")}
        self._drop_page = self._get(f"/drops/{goods.slug}", "accept: text/html\r\n")
        self._pages = tuple(self._get(path, "accept: text/html\r\n") for path in PAGES)
        self._guest = f"POST /api/v1/guests HTTP/1.1\r\n{self._host}content-length: 0\r\n\r\n".encode()
        self._join = (
            f"POST {drop}/places HTTP/1.1\r\n{self._host}content-length: 0\r\nauthorization: Bearer %b\r\n\r\n"
        ).encode()
        self._place = (
            f"%b {drop}/places/%b HTTP/1.1\r\n{self._host}authorization: Bearer %b\r\n{TICKET}: %b\r\n\r\n"
        ).encode()
        self._order = (f"GET /api/v1/orders/%b HTTP/1.1\r\n{self._host}authorization: Bearer %b\r\n\r\n").encode()
        body = msgspec.json.encode(
            purchase_body(goods.sku, provider=goods.provider, token=goods.token) | {"drop": goods.slug}
        )
        self._purchase = (
            f"POST /api/v1/purchases HTTP/1.1\r\n{self._host}content-type: application/json\r\n"
            f"content-length: {len(body)}\r\nauthorization: Bearer %b\r\nidempotency-key: %b\r\n%b\r\n"
        ).encode()
        self._body = body
        hold = msgspec.json.encode({"lines": goods_lines(goods.sku), "drop": goods.slug})
        self._hold = (
            f"POST /api/v1/holds HTTP/1.1\r\n{self._host}content-type: application/json\r\n"
            f"content-length: {len(hold)}\r\nauthorization: Bearer %b\r\nidempotency-key: rehearsal-hold-%d\r\n%b\r\n"
        ).encode()
        self._hold_body = hold
        form = purchase_body(goods.sku, provider=goods.provider, token=goods.token)
        del form["lines"]
        paid = msgspec.json.encode({"hold_id": "0" * ID_LENGTH} | form)
        self._pay = (
            f"POST /api/v1/orders HTTP/1.1\r\n{self._host}content-type: application/json\r\n"
            f"content-length: {len(paid)}\r\nauthorization: Bearer %b\r\nidempotency-key: rehearsal-pay-%d\r\n\r\n"
        ).encode()
        self._pay_parts = paid.split(b"0" * ID_LENGTH)

    def request(self, shopper: Shopper, *, guests: bool) -> bytes:
        """What somebody asks for at their step; `guests` first ask for a session."""
        step = shopper.step
        if step in self._fixed:
            return self._fixed[step]
        if step is Step.JOIN:
            return self._join % shopper.token
        if step in BUYING:
            return self._buy(shopper)
        if step is Step.ORDER:
            return self._order % (shopper.order, shopper.token)
        if step is not Step.PAGE:
            verb = b"DELETE" if step is Step.LEAVE else b"GET"
            return self._place % (verb, shopper.place, shopper.token, shopper.ticket)
        if guests and not shopper.token:
            return self._guest
        if shopper.kind is Kind.BROWSER and shopper.looked:
            return self._pages[shopper.looked % len(self._pages)]
        return self._drop_page

    def _buy(self, shopper: Shopper) -> bytes:
        """All at once, or first what they want and then the form with the payment."""
        if shopper.step is Step.PAY:
            return self._pay % (shopper.token, shopper.number) + shopper.order.join(self._pay_parts)
        line = PASS.encode() + b": " + shopper.admission + b"\r\n" if shopper.admission else b""
        if shopper.step is Step.HOLD:
            return self._hold % (shopper.token, shopper.number, line) + self._hold_body
        return self._purchase % (shopper.token, b"rehearsal-%d" % shopper.number, line) + self._body

    def sign_in(self, login: Login) -> bytes:
        """How somebody gets the session that they come without."""
        if login.token:
            path, body = "/api/v1/login-links/use", msgspec.json.encode({"token": login.token})
        else:
            path, body = "/api/v1/sessions", msgspec.json.encode({"email": login.email, "password": login.password})
        head = f"POST {path} HTTP/1.1\r\n{self._host}content-type: application/json\r\ncontent-length: {len(body)}"
        return f"{head}\r\n\r\n".encode() + body

    def _get(self, path: str, more: str = "") -> bytes:
        return f"GET {path} HTTP/1.1\r\n{self._host}{more}\r\n".encode()

"""What the crowd says: requests as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.rehearse.wire import ID_LENGTH

TOKEN_FORMAT = "benchmark-buyer-%010d"  # noqa: S105 - of a temporary database
"""A buyer's session token by number."""
NUMBER_PLACE, SKU_PLACE, HOLD_PLACE = "N" * 10, "S" * 6, "H" * ID_LENGTH
"""Stand in a template for what differs from buyer to buyer; as long as what takes their place."""


def token_of(number: int) -> str:
    """The session token of a buyer."""
    return TOKEN_FORMAT % number


class Visit:
    """One buyer's purchase: who, when they were due (seconds of perf_counter), and whether they are half-way.

    Half-way is who holds something, or has become a guest.
    """

    __slots__ = ("due_s", "halfway", "number")

    def __init__(self, number: int, due_s: float) -> None:
        self.number = number
        self.due_s = due_s
        self.halfway = False


class Wording:
    """Requests of buyers by number: all bytes but the numbers are made once."""

    def __init__(
        self, *, port: int, drop: str | None, provider: str, token: str, sku_format: str, code: str | None = None
    ) -> None:
        lines = [{"sku": sku_format.replace("%06d", SKU_PLACE), "quantity": 1}]
        goods: dict[str, object] = {"lines": lines} | ({"drop": drop} if drop else {})
        goods |= {"code": code} if code else {}
        form: dict[str, object] = {
            "email": f"buyer-{NUMBER_PLACE}@example.com",
            "shipping_address": {
                "name": "Ada Lovelace",
                "line1": "12 St James's Square",
                "city": "London",
                "postal_code": "SW1Y 4JH",
                "country": "GB",
            },
            "payment": {"provider": provider, "token": token},
        }
        self._hold = _template(port, "/api/v1/holds", "hold", goods)
        self._order = _template(port, "/api/v1/orders", "order", {"hold_id": HOLD_PLACE} | form)
        self._purchase = _template(port, "/api/v1/purchases", "purchase", goods | form)
        self.guest = f"POST /api/v1/guests HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: 0\r\n\r\n".encode()
        """Become a guest."""
        self._guest_purchase = _template(port, "/api/v1/purchases", "purchase", goods | form, token="%b")  # noqa: S106

    def purchase(self, number: int, sku: int) -> bytes:
        """Hold, order and payment in one request."""
        digits = b"%010d" % number
        return self._purchase % (digits, digits, b"%06d" % sku, digits)

    def guest_purchase(self, number: int, sku: int, token: bytes) -> bytes:
        """The same by whoever has a session's token."""
        digits = b"%010d" % number
        return self._guest_purchase % (token, digits, b"%06d" % sku, digits)

    def hold(self, number: int, sku: int) -> bytes:
        """The first of two requests."""
        digits = b"%010d" % number
        return self._hold % (digits, digits, b"%06d" % sku)

    def order(self, number: int, hold_id: bytes) -> bytes:
        """The second of two requests."""
        digits = b"%010d" % number
        return self._order % (digits, digits, hold_id, digits)


class Asks:
    """Any one request, with `%b` where requests differ: by what is told of each, else by the number that asks."""

    def __init__(self, shape: str, *, fills: Sequence[bytes] = ()) -> None:
        """`fills`: of each request, what takes the place of each `%b`, parted by tabs."""
        self._shape = shape.encode()
        self._fills = [tuple(fill.split(b"\t")) for fill in fills]
        self._differ = b"%b" in self._shape

    def request(self, number: int) -> bytes:
        """The request of a number."""
        if self._fills:
            return self._shape % self._fills[number % len(self._fills)]
        return self._shape % (b"%010d" % number,) if self._differ else self._shape


def _template(
    port: int, path: str, key: str, document: dict[str, object], *, token: str = TOKEN_FORMAT.replace("%010d", "%b")
) -> bytes:
    """A request with places for the buyer's number (token, key), then what the body needs; lengths are fixed."""
    body = msgspec.json.encode(document)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\nidempotency-key: {key}-%b\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    shape = body.decode().replace("%", "%%")
    for place in (NUMBER_PLACE, SKU_PLACE, HOLD_PLACE):
        shape = shape.replace(place, "%b")
    return (head + shape).encode()

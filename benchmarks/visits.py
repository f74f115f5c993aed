"""What the crowd says and hears: requests as bytes, answers read no further than is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

import msgspec

TOKEN_FORMAT = "benchmark-buyer-%010d"  # noqa: S105 - of a temporary database
"""A buyer's session token by number."""
ID_MARK = b'"id":"'
ID_LENGTH = 36
NUMBER_PLACE, SKU_PLACE, HOLD_PLACE = "N" * 10, "S" * 6, "H" * ID_LENGTH
"""Stand in a template for what differs from buyer to buyer; as long as what takes their place."""


def token_of(number: int) -> str:
    """The session token of a buyer."""
    return TOKEN_FORMAT % number


class Visit:
    """One buyer's purchase: who, when they were due (seconds of perf_counter), and whether they hold something."""

    __slots__ = ("due_s", "holding", "number")

    def __init__(self, number: int, due_s: float) -> None:
        self.number = number
        self.due_s = due_s
        self.holding = False


class Answer:
    """A whole response as it came; `body_at` is where its body begins."""

    __slots__ = ("_body_at", "_data", "status")

    def __init__(self, status: int, data: bytes, body_at: int) -> None:
        self.status = status
        self._data = data
        self._body_at = body_at

    def identity(self) -> bytes:
        """The id of the document, as text; empty when it has none."""
        at = self._data.find(ID_MARK, self._body_at)
        return self._data[at + len(ID_MARK) : at + len(ID_MARK) + ID_LENGTH] if at >= 0 else b""

    def is_paid(self) -> bool:
        """Whether it is a paid order."""
        return self._data.find(b'"state":"paid"', self._body_at) >= 0

    def problem(self) -> str:
        """The slug of a problem document, or the status."""
        try:
            found = msgspec.json.decode(self._data[self._body_at :], type=dict[str, object])
        except msgspec.MsgspecError:
            return str(self.status)
        return str(found.get("type", self.status)).rsplit("/", 1)[-1]


class Listener(Protocol):
    """Who is told of answers."""

    def opened(self, connection: Connection) -> None:
        """The connection can be used."""

    def answered(self, connection: Connection, visit: Visit, answer: Answer) -> None:
        """The request of `visit` was answered."""

    def lost(self, connection: Connection, visit: Visit | None) -> None:
        """The connection is gone, and with it the answer to `visit` if there was one."""


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request in flight."""

    __slots__ = ("_listener", "_pending", "_transport", "_visit")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._visit: Visit | None = None
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the listener."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own says so only by its methods
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener."""
        visit, self._visit, self._transport = self._visit, None, None
        self._listener.lost(self, visit)

    def send(self, visit: Visit, request: bytes) -> None:
        """Send one request for `visit`."""
        assert self._transport is not None
        self._visit = visit
        self._transport.write(request)

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Collect one answer. Only answers with a Content-Length are understood; all of ours have one."""
        if self._pending:
            data = self._pending + data
        head_end = data.find(b"\r\n\r\n")
        at = data.find(b"content-length: ", 0, max(head_end, 0))
        if head_end < 0:
            self._pending = data
            return
        if at < 0 or self._visit is None:
            self.close()
            return
        if len(data) < head_end + 4 + int(data[at + 16 : data.find(b"\r", at)]):
            self._pending = data
            return
        self._pending = b""
        visit, self._visit = self._visit, None
        self._listener.answered(self, visit, Answer(int(data[9:12]), data, head_end + 4))


class Wording:
    """Requests of buyers by number: all bytes but the numbers are made once."""

    def __init__(self, *, port: int, drop: str | None, provider: str, token: str, sku_format: str) -> None:
        lines = [{"sku": sku_format.replace("%06d", SKU_PLACE), "quantity": 1}]
        goods: dict[str, object] = {"lines": lines} | ({"drop": drop} if drop else {})
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

    def purchase(self, number: int, sku: int) -> bytes:
        """Hold, order and payment in one request."""
        digits = b"%010d" % number
        return self._purchase % (digits, digits, b"%06d" % sku, digits)

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


def _template(port: int, path: str, key: str, document: dict[str, object]) -> bytes:
    """A request with places for the buyer's number (token, key), then what the body needs; lengths are fixed."""
    body = msgspec.json.encode(document)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {TOKEN_FORMAT.replace('%010d', '%b')}\r\nidempotency-key: {key}-%b\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    shape = body.decode().replace("%", "%%")
    for place in (NUMBER_PLACE, SKU_PLACE, HOLD_PLACE):
        shape = shape.replace(place, "%b")
    return (head + shape).encode()

"""What cannot be meant, as tables: what is wrong with a request to the routes of buying, and how it is answered.

An answer is a status and the end of the problem's `type`. Capitals (`THEIRS`) stand for things of the shop that all
cases share; `test_bad_input.py` makes it, sends every case to every route of its kind, and compares all rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

HOLDS, ORDERS, PURCHASES = "/api/v1/holds", "/api/v1/orders", "/api/v1/purchases"

Body = dict[str, Any]
Change = Callable[[Body], Any]
Answer = tuple[int, str]

INVALID: Answer = (422, "invalid-request")
NOT_WHOLE: Answer = (422, "quantity-not-whole")
OUT_OF_RANGE: Answer = (422, "quantity-out-of-range")
TOO_MANY: Answer = (422, "too-many-lines")
NOT_IN_DROP: Answer = (422, "not-in-drop")
MALFORMED: Answer = (400, "malformed-body")
NOT_FOUND: Answer = (404, "not-found")
NO_KEY: Answer = (400, "key-missing")
NOBODY: Answer = (401, "not-signed-in")
BAD_SIGNATURE: Answer = (401, "bad-signature")
STALE: Answer = (401, "stale-signature")
OTHER_CURRENCY: Answer = (422, "currency-mismatch")


def lines(*wanted: Any) -> Change:
    return lambda body: body | {"lines": list(wanted)}


def line(**fields: Any) -> Change:
    return lines({"sku": "LAMP", "quantity": 1} | fields)


def field(name: str, value: Any) -> Change:
    return lambda body: body | {name: value}


def address(**fields: Any) -> Change:
    return lambda body: body | {"shipping_address": body["shipping_address"] | fields}


def payment(**fields: Any) -> Change:
    return lambda body: body | {"payment": body["payment"] | fields}


def without(name: str) -> Change:
    return lambda body: {key: value for key, value in body.items() if key != name}


def raw(content: bytes) -> Change:
    return lambda _: content


def inside(before: bytes, after: bytes) -> Change:
    """The good body as bytes with a part replaced."""

    def change(body: Body) -> bytes:
        good = json.dumps(body).encode()
        assert before in good
        return good.replace(before, after, 1)

    return change


LINE_CASES: tuple[tuple[str, Change, Answer], ...] = (
    ("an unknown SKU", line(sku="NOPE"), (422, "unknown-sku")),
    ("a SKU with a NUL character", line(sku="LAMP\0"), (422, "unknown-sku")),
    ("a SKU in another spelling", line(sku="lamp "), (422, "unknown-sku")),
    ("a variant without a price in the shop's currency", line(sku="EURO"), (422, "unknown-sku")),
    ("one unknown SKU among known ones", lines({"sku": "LAMP", "quantity": 1}, {"sku": "NOPE", "quantity": 1}),
     (422, "unknown-sku")),
    ("an empty SKU", line(sku=""), INVALID),
    ("a SKU of 101 characters", line(sku="L" * 101), INVALID),
    ("a SKU that is a number", line(sku=1), INVALID),
    ("a SKU that is null", line(sku=None), INVALID),
    ("quantity 0", line(quantity=0), OUT_OF_RANGE),
    ("a negative quantity", line(quantity=-1), OUT_OF_RANGE),
    ("a fractional quantity", line(quantity=1.5), NOT_WHOLE),
    ("a quantity of 2^63", line(quantity=2**63), OUT_OF_RANGE),
    ("a quantity of 10^30", line(quantity=10**30), OUT_OF_RANGE),
    ("a quantity beyond all floats", inside(b'"quantity": 1', b'"quantity": 1e999'), OUT_OF_RANGE),
    ("a quantity as text", line(quantity="1"), NOT_WHOLE),
    ("a quantity that is true", line(quantity=True), NOT_WHOLE),
    ("a quantity that is null", line(quantity=None), NOT_WHOLE),
    ("a quantity above the limit", line(quantity=101), OUT_OF_RANGE),
    ("no quantity", lines({"sku": "LAMP"}), INVALID),
    ("no lines", lines(), (422, "no-lines")),
    ("1,000 lines", lines(*[{"sku": "LAMP", "quantity": 1}] * 1_000), TOO_MANY),
    ("1,001 lines", lines(*[{"sku": "LAMP", "quantity": 1}] * 1_001), TOO_MANY),
    ("lines that are null", field("lines", None), INVALID),
    ("lines that are an object", field("lines", {"sku": "LAMP", "quantity": 1}), INVALID),
    ("lines left out", without("lines"), INVALID),
    ("a drop that does not sell this", field("drop", "early-drop"), NOT_IN_DROP),
    ("a drop that is not there", field("drop", "nowhere"), NOT_IN_DROP),
    ("lines of two sales", lines({"sku": "LAMP", "quantity": 1}, {"sku": "EARLY", "quantity": 1}),
     (422, "mixed-drops")),
    ("a price in another currency", field("currency", "EUR"), OTHER_CURRENCY),
    ("a currency in small letters", field("currency", "gbp"), OTHER_CURRENCY),
    ("a currency that is a number", field("currency", 826), INVALID),
    ("a drop before its time", line(sku="EARLY"), (409, "not-open")),
    ("a drop with a room, without a pass", line(sku="ROOM"), (409, "pass-required")),
)  # fmt: skip

FORM_CASES: tuple[tuple[str, Change, Answer], ...] = (
    ("a sum in another currency", field("currency", "EUR"), OTHER_CURRENCY),
    ("an e-mail address without @", field("email", "nobody"), INVALID),
    ("an empty e-mail address", field("email", ""), INVALID),
    ("two e-mail addresses", field("email", "a@example.com,b@example.com"), INVALID),
    ("an e-mail address with a name", field("email", "Ada <ada@example.com>"), INVALID),
    ("an e-mail address with another header in it", field("email", "a@example.com\r\nBcc: b@example.com"), INVALID),
    ("an e-mail address with a NUL character", field("email", "a\0@example.com"), INVALID),
    ("an e-mail address of 255 characters", field("email", "a" * 243 + "@example.com"), INVALID),
    ("an e-mail address that is a list", field("email", ["ada@example.com"]), INVALID),
    ("no e-mail address", without("email"), INVALID),
    ("an address without a town", address(city=""), INVALID),
    ("an address of blanks", address(line1=" \t "), INVALID),
    ("an address on two lines", address(line1="1 Quay\nHull"), INVALID),
    ("an address with a NUL character", address(name="A\0da"), INVALID),
    ("an address that turns the direction of writing", address(name="Ada\u202egnp.exe"), INVALID),
    ("a name of 201 characters", address(name="a" * 201), INVALID),
    ("a country by its name", address(country="Britain"), INVALID),
    ("a country in small letters", address(country="gb"), INVALID),
    ("an address that is null", field("shipping_address", None), INVALID),
    ("no address", without("shipping_address"), INVALID),
    ("no payment", without("payment"), INVALID),
    ("an unknown provider", payment(provider="nobody"), (422, "unknown-provider")),
    ("an unknown token", payment(token="tok_nope"), (422, "unknown-token")),
    ("a card's number for a token", payment(token="4242424242424242"), (422, "unknown-token")),
    ("a token with a NUL character", payment(token="tok_ok\0"), (422, "unknown-token")),
    ("an empty token", payment(token=""), INVALID),
)  # fmt: skip

BYTE_CASES: tuple[tuple[str, Change, Answer], ...] = (
    ("no body", raw(b""), MALFORMED),
    ("half a JSON object", raw(b'{"lines":'), MALFORMED),
    ("not JSON", raw(b"lines=1"), MALFORMED),
    ("two JSON objects", lambda body: json.dumps(body).encode() * 2, MALFORMED),
    ("a byte order mark", lambda body: b"\xef\xbb\xbf" + json.dumps(body).encode(), MALFORMED),
    ("UTF-16", lambda body: json.dumps(body).encode("utf-16"), MALFORMED),
    ("bytes that are no UTF-8", inside(b'": "', b'": "\xff'), MALFORMED),
    ("half a surrogate pair", lambda body: json.dumps(body | {"x": "\ud800"}).encode(), MALFORMED),
    ("arrays 100,000 deep", raw(b"[" * 100_000), INVALID),
    ("an unknown field 100,000 deep", inside(b"{", b'{"x":' + b"[" * 100_000), MALFORMED),
    ("NaN", lambda body: json.dumps(body | {"x": float("nan")}).encode(), MALFORMED),
    ("an array", raw(b"[]"), INVALID),
    ("null", raw(b"null"), INVALID),
    ("a text", raw(b'"lines"'), INVALID),
    ("nothing in the object", raw(b"{}"), INVALID),
    ("2 MB", lambda body: json.dumps(body | {"x": "a" * 2_000_000}).encode(), (413, "body-too-large")),
)  # fmt: skip

KEY = "idempotency-key"
HEADER_CASES: tuple[tuple[str, dict[str, str | bytes | None], Answer], ...] = (
    ("no key", {KEY: None}, NO_KEY),
    ("an empty key", {KEY: ""}, NO_KEY),
    ("a key of blanks", {KEY: "  "}, NO_KEY),
    ("a key of 256 characters", {KEY: "k" * 256}, NO_KEY),
    ("a key with an umlaut", {KEY: "schlüssel".encode()}, NO_KEY),
    ("a key with a tab", {KEY: "a\tb"}, NO_KEY),
    ("a key with a NUL character", {KEY: b"a\0b"}, NO_KEY),
    ("a key that stood for another request", {KEY: "used"}, (422, "key-reused")),
    ("no session", {"authorization": None}, NOBODY),
    ("a session that never was", {"authorization": "Bearer " + "x" * 43}, NOBODY),
    ("a session that has ended", {"authorization": "ENDED"}, NOBODY),
    ("a token with a quote in it", {"authorization": "Bearer ' OR 1=1 --"}, NOBODY),
    ("a name and a password", {"authorization": "Basic YWRhOmFkYQ=="}, NOBODY),
    ("a cookie from another site's page", {"authorization": None, "cookie": "COOKIE", "sec-fetch-site": "cross-site"},
     (403, "cross-site")),
    ("a form", {"content-type": "application/x-www-form-urlencoded"}, (415, "unsupported-media-type")),
    ("plain text", {"content-type": "text/plain"}, (415, "unsupported-media-type")),
    ("no media type", {"content-type": None}, (415, "unsupported-media-type")),
    ("40 kB of headers", {"x-long": "a" * 40_000}, (431, "headers-too-large")),
    ("another host", {"host": "evil.example"}, (400, "unknown-host")),
)  # fmt: skip

HOLD_CASES: tuple[tuple[str, str, Answer], ...] = (
    ("a hold that never was", "01890000-0000-7000-8000-000000000000", NOT_FOUND),
    ("another buyer's hold", "THEIRS", NOT_FOUND),
    ("another buyer's ordered hold", "THEIR_ORDERED", NOT_FOUND),
    ("an order's id for a hold's", "MY_ORDER", NOT_FOUND),
    ("what is no id", "not-an-id", NOT_FOUND),
    ("an id with a NUL character", "\0", NOT_FOUND),
    ("a hold that has expired", "EXPIRED", (410, "hold-expired")),
    ("a hold that was given back", "GIVEN_BACK", (410, "hold-expired")),
    ("a hold that was ordered and paid", "PAID", (409, "already-ordered")),
    ("an id that is too long", "0" * 65, INVALID),
)

READ_CASES: tuple[tuple[str, str, str, Answer], ...] = (
    ("another buyer's hold", "GET", HOLDS + "/THEIRS", NOT_FOUND),
    ("another buyer's hold, given back", "DELETE", HOLDS + "/THEIRS", NOT_FOUND),
    ("another buyer's order", "GET", ORDERS + "/THEIR_ORDER", NOT_FOUND),
    ("a hold that never was", "GET", HOLDS + "/01890000-0000-7000-8000-000000000000", NOT_FOUND),
    ("what is no order's id", "GET", ORDERS + "/nope", NOT_FOUND),
    ("a hold that has expired", "GET", HOLDS + "/EXPIRED", (410, "hold-expired")),
    ("a paid hold, given back", "DELETE", HOLDS + "/PAID", (409, "already-ordered")),
    ("a method that is not there", "PUT", HOLDS, (405, "method-not-allowed")),
)

WEBHOOK_CASES: tuple[tuple[str, str, dict[str, str | None], bytes | None, Answer], ...] = (
    ("no signature", "sandbox", {"webhook-signature": None}, None, BAD_SIGNATURE),
    ("no event id", "sandbox", {"webhook-id": None}, None, BAD_SIGNATURE),
    ("no time", "sandbox", {"webhook-timestamp": None}, None, BAD_SIGNATURE),
    ("a time that is a word", "sandbox", {"webhook-timestamp": "now"}, None, BAD_SIGNATURE),
    ("a time that is not the signed one", "sandbox", {"webhook-timestamp": "FRESH"}, None, BAD_SIGNATURE),
    ("another event's signature", "sandbox", {"webhook-id": "evt_other"}, None, BAD_SIGNATURE),
    ("a forged signature", "sandbox", {"webhook-signature": "v1,Zm9yZ2Vk"}, None, BAD_SIGNATURE),
    ("a signature with an umlaut", "sandbox", {"webhook-signature": "v1,\u00fc"}, None, BAD_SIGNATURE),
    ("a signature that is too old", "sandbox", {"age": "3600"}, None, STALE),
    ("a signature from the future", "sandbox", {"age": "-3600"}, None, STALE),
    ("another body than was signed", "sandbox", {"body": "CHANGED"}, None, BAD_SIGNATURE),
    ("a provider that this shop has not", "stripe", {}, None, (422, "unknown-provider")),
    ("a provider that is no name", "sand%00box", {}, None, INVALID),
    ("signed, but no JSON", "sandbox", {}, b"paid!", MALFORMED),
    ("signed, but no event", "sandbox", {}, b'{"type": 1}', MALFORMED),
    ("signed, but 100,000 deep", "sandbox", {}, b"[" * 100_000, MALFORMED),
    ("signed, but 300 kB", "sandbox", {}, b'{"x":"' + b"a" * 300_000 + b'"}', (413, "body-too-large")),
)

"""The HTTP API as Stripe's SDKs speak it: form-encoded, Bearer keys, idempotency keys, expansion."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from tests.gateway.faults import Fault, FaultPlan, Kind
from tests.gateway.ledger import GatewayError, Json, Ledger, invalid, shown

KEY_LIFE_S = 86_400
REPLAYED = {"idempotent-replayed": "true", "stripe-should-retry": "false"}
Endpoint = Callable[[Ledger, Json, str], Json]


class Broken(Exception):
    """The connection is to break in place of an answer."""


@dataclass(slots=True)
class Answer:
    """What goes back."""

    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class KeyUse:
    """What a key was used for, and what it answers; None while the call is under way."""

    words: tuple[str, str, tuple[tuple[str, str], ...]]
    at: float
    answer: Answer | None = None


@dataclass(slots=True)
class Api:
    """The API over a ledger. `requests` counts the calls that reached an endpoint, by method and route."""

    ledger: Ledger
    faults: FaultPlan
    api_key: str = "sk_test_gateway"
    keys: dict[str, KeyUse] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)

    async def answer(self, method: str, path: str, headers: dict[str, str], query: str, body: str) -> Answer:
        """Answer one request. Raises: Broken."""
        if headers.get("authorization") != f"Bearer {self.api_key}":
            return _error(401, type="invalid_request_error", message="Invalid API Key provided.")
        fault = self.faults.draw(method, path)
        kind = fault.kind if fault else None
        if kind is Kind.RESET:
            raise Broken()
        if kind is Kind.RATE_LIMIT:
            return _error(429, type="invalid_request_error", code="rate_limit", message="Too many requests")
        pairs = tuple(parse_qsl(query if method == "GET" else body, keep_blank_values=True))
        key = headers.get("idempotency-key") if method == "POST" else None
        if key is None:
            return await self._run(method, path, pairs, fault)
        return await self._run_once(key, method, path, pairs, fault)

    async def _run_once(
        self, key: str, method: str, path: str, pairs: tuple[tuple[str, str], ...], fault: Fault | None
    ) -> Answer:
        """Run what was not run under this key; else say again what was said."""
        words, now = (method, path, tuple(sorted(pairs))), self.ledger.now()
        known = self.keys.get(key)
        if known is not None and now - known.at < KEY_LIFE_S:
            if known.words != words:
                return _error(400, type="idempotency_error", message=f"Keys for idempotent requests: {key} was reused.")
            if known.answer is None:
                return _error(409, type="idempotency_error", code="idempotency_key_in_use", message="In use.")
            said_before = Answer(known.answer.status, known.answer.body, REPLAYED)
            return await self._deliver(said_before, fault)
        use = self.keys[key] = KeyUse(words, now)
        try:
            answer = await self._run(method, path, pairs, fault, use)
        finally:
            if use.answer is None and self.keys.get(key) is use:
                del self.keys[key]
        return answer

    async def _run(
        self, method: str, path: str, pairs: tuple[tuple[str, str], ...], fault: Fault | None, use: KeyUse | None = None
    ) -> Answer:
        """Carry out a call, with its fault; what the key keeps is noted in `use` before an answer can be lost."""
        kind = fault.kind if fault else None
        if fault is not None and kind is Kind.LATENCY:
            await asyncio.sleep(fault.delay_s)
        if fault is not None and kind is Kind.ERROR:
            if use is not None and fault.stored:
                use.answer = TROUBLE
            return TROUBLE
        answer, kept = self._carry_out(method, path, pairs)
        if use is not None and kept:
            use.answer = TROUBLE if fault is not None and kind is Kind.ERROR_AFTER and fault.stored else answer
        return await self._deliver(answer, fault)

    async def _deliver(self, answer: Answer, fault: Fault | None) -> Answer:
        """What goes over the wire of an answer that may be lost on its way."""
        match fault.kind if fault else None:
            case Kind.STALL:
                assert fault is not None
                await asyncio.sleep(fault.delay_s)
            case Kind.LOST:
                raise Broken()
            case Kind.ERROR_AFTER:
                return TROUBLE
        return answer

    def _carry_out(self, method: str, path: str, pairs: tuple[tuple[str, str], ...]) -> tuple[Answer, bool]:
        """The answer, and whether a key keeps it."""
        for route, (allowed, endpoint) in ROUTES.items():
            wanted, _, pattern = route.partition(" ")
            match = re.fullmatch(pattern, path)
            if wanted == method and match is not None:
                self.requests[route] = self.requests.get(route, 0) + 1
                try:
                    params = nested(pairs)
                    unknown = sorted(set(params) - allowed - {"expand"})
                    if unknown:
                        raise invalid(f"Received unknown parameter: {unknown[0]}", code="parameter_unknown")
                    said = endpoint(self.ledger, params, match[1] if match.lastindex else "")
                    return Answer(200, self._expanded(shown(said), params.get("expand", {}))), True
                except GatewayError as error:
                    return Answer(error.status, error.body), error.executed
        return _error(404, type="invalid_request_error", message=f"Unrecognized request URL ({method}: {path})"), False

    def _expanded(self, said: Json, paths: Json) -> Json:
        for path in paths.values():
            places = [said]
            for step in path.split("."):
                places = [inner for place in places for inner in self._expand(place, step)]
        return said

    def _expand(self, place: Json, step: str) -> list[Json]:
        value = place.get(step)
        if isinstance(value, str):
            found = self.ledger.payments.get(value) or self.ledger.charges.get(value)
            assert found is not None, f"{step} cannot be expanded"
            value = place[step] = shown(found)
        return value if isinstance(value, list) else [value] if isinstance(value, dict) else []


def nested(pairs: tuple[tuple[str, str], ...]) -> Json:
    """`a[b][0]=c` as {"a": {"b": {"0": "c"}}}."""
    result: Json = {}
    for name, value in pairs:
        first, *rest = re.findall(r"[^\[\]]+", name)
        place = result
        for step, following in zip([first, *rest], rest, strict=False):
            place = place.setdefault(step, {})
            assert following
        place[[first, *rest][-1]] = value
    return result


def _error(status: int, **error: object) -> Answer:
    return Answer(status, {"error": error})


def _page(things: list[Json], params: Json, kind: str) -> Json:
    limit = int(params.get("limit", 10))
    return {
        "object": kind,
        "url": "/v1",
        "has_more": len(things) > limit,
        "data": [shown(thing) for thing in things[:limit]],
    }


TROUBLE = _error(500, type="api_error", message="Something went wrong on our end.")
PAYMENT = {
    "amount", "currency", "description", "metadata", "payment_method", "confirm", "return_url",
}  # fmt: skip
SESSION = {
    "mode", "line_items", "success_url", "cancel_url", "client_reference_id", "metadata", "payment_intent_data",
    "adaptive_pricing", "expires_at",
}  # fmt: skip
NO_PARAMS: set[str] = set()
ID = r"([a-z]+_[A-Za-z0-9_]+)"
ROUTES: dict[str, tuple[set[str], Endpoint]] = {
    "GET /v1/balance": (NO_PARAMS, lambda it, _, thing: {"object": "balance", "livemode": False}),
    "POST /v1/payment_intents": (PAYMENT, lambda it, params, _: it.create_payment(params)),
    "GET /v1/payment_intents/search": (
        {"query", "limit"},
        lambda it, params, _: _page(it.search_payments(params["query"]), params, "search_result"),
    ),
    f"GET /v1/payment_intents/{ID}": (NO_PARAMS, lambda it, _, thing: it.payment(thing)),
    f"POST /v1/payment_intents/{ID}/cancel": (NO_PARAMS, lambda it, _, thing: it.cancel_payment(thing)),
    "POST /v1/checkout/sessions": (SESSION, lambda it, params, _: it.open_session(params)),
    f"GET /v1/checkout/sessions/{ID}": (NO_PARAMS, lambda it, _, thing: it.session(thing)),
    f"POST /v1/checkout/sessions/{ID}/expire": (NO_PARAMS, lambda it, _, thing: it.expire_session(thing)),
    "POST /v1/refunds": (
        {"payment_intent", "amount", "metadata"},
        lambda it, params, _: it.create_refund(params),
    ),
    "GET /v1/refunds": (
        {"payment_intent", "limit"},
        lambda it, params, _: _page(it.refunds_of(params["payment_intent"]), params, "list"),
    ),
}


def encoded(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as they go over the wire."""
    headers = {"content-type": "application/json", "request-id": f"req_{secrets.token_hex(7)}", **answer.headers}
    return answer.status, headers, json.dumps(answer.body, indent=2).encode()

"""The routes of buying: holds, orders, and what payment providers tell us."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tidegate.checkout.contracts import (
    AlreadyOrdered,
    CodeNotValid,
    CodeUnknown,
    CodeUsedUp,
    CurrencyMismatch,
    DropNeedsAccount,
    HoldExpired,
    HoldsOpen,
    LimitReached,
    MixedDrops,
    NoLines,
    NotInDrop,
    NotOpen,
    NotShippedThere,
    OrderView,
    QuantityNotWhole,
    QuantityOutOfRange,
    ShippingUnknown,
    SoldOut,
    TooManyLines,
    UnknownSku,
)
from tidegate.checkout.documents import hold_document, order_body
from tidegate.checkout.guessing import Guess, guess_of
from tidegate.checkout.holding import HoldWish, find_hold, give_up, settle_hold
from tidegate.checkout.messages import HoldAnswer, HoldBody, OrderAnswer, OrderBody, PurchaseBody, kind_of
from tidegate.checkout.ordering import Replay, answer_with, find_order, place_order
from tidegate.checkout.purchasing import purchase
from tidegate.checkout.rules import check_currency
from tidegate.checkout.shop import Shop
from tidegate.checkout.webhooks import take_webhook
from tidegate.gate.contracts import PassExpired, PassForeign, PassRequired, PassSpent
from tidegate.payments.contracts import BadSignature, StaleSignature, UnknownProvider, UnknownToken
from tidegate.platform.edge.hot import Answer, HeaderParameter, Link, hot_route
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.idempotency import RequestKey, StoredAnswer, fingerprint
from tidegate.platform.ids import HoldId, OrderId, PersonId, parse_id
from tidegate.platform.problems import (
    KeyInFlight,
    KeyMissing,
    KeyReused,
    MalformedBody,
    NotFound,
    Overloaded,
    Problem,
    TooManyRequests,
)
from tidegate.web import client_address, is_guest, require_buyer, require_person, session_token

MAX_KEY = 255
IDEMPOTENCY_KEY = HeaderParameter(
    "Idempotency-Key",
    "Any text of up to 255 visible characters, new for each purchase; repeats get the first answer.",
    required=True,
    pattern="^[!-~]([ -~]{0,253}[!-~])?$",
)
PASS = HeaderParameter("Tidegate-Pass", "The pass that a room gave, for drops that have one.")
TO_ORDER = Link("get_order", "The order as it stands.", {"order_id": "$response.body#/id"})
TO_HOLD_OF_ORDER = Link("get_hold", "The hold that was ordered.", {"hold_id": "$response.body#/hold_id"})
TO_PAY_AGAIN = Link(
    "post_order",
    "After a declined card: the same goods, another token, a new key.",
    body={"hold_id": "$response.body#/hold_id"},
)
FROM_HOLD = (
    Link("get_hold", "The hold while it lives.", {"hold_id": "$response.body#/id"}),
    Link("delete_hold", "Give it back.", {"hold_id": "$response.body#/id"}),
    Link("post_order", "Order what it keeps.", body={"hold_id": "$response.body#/id"}),
)
ASK_AGAIN = (b"retry-after", b"1")
TO_BE_RECORDED = (
    "The order stands, and what became of its payment is not written down yet: send the same request with the same "
    "key again, after Retry-After seconds, for its answer."
)
FROM_ORDER = (TO_ORDER, TO_HOLD_OF_ORDER, TO_PAY_AGAIN)
KEY_PROBLEMS: tuple[type[Problem], ...] = (KeyMissing, KeyInFlight, KeyReused, TooManyRequests, Overloaded)
SHIPPING_PROBLEMS: tuple[type[Problem], ...] = (NotShippedThere, ShippingUnknown)
PASS_PROBLEMS: tuple[type[Problem], ...] = (PassRequired, PassForeign, PassExpired, PassSpent)
HOLD_PROBLEMS: tuple[type[Problem], ...] = (
    SoldOut,
    NotOpen,
    LimitReached,
    HoldsOpen,
    DropNeedsAccount,
    *PASS_PROBLEMS,
    UnknownSku,
    NoLines,
    TooManyLines,
    QuantityNotWhole,
    QuantityOutOfRange,
    MixedDrops,
    NotInDrop,
    CurrencyMismatch,
)
CODE_PROBLEMS: tuple[type[Problem], ...] = (CodeUnknown, CodeNotValid, CodeUsedUp)


@hot_route(
    "POST",
    "/api/v1/holds",
    body=HoldBody,
    returns=(201, HoldAnswer),
    problems=(*KEY_PROBLEMS, *CODE_PROBLEMS, *HOLD_PROBLEMS),
    kind_of=kind_of,
    headers=(IDEMPOTENCY_KEY, PASS),
    signed_in=True,
    tag="checkout",
    links=FROM_HOLD,
)
async def post_hold(request: Request, body: HoldBody) -> Response:
    """Take goods out of everyone's reach for some minutes: all lines or none."""
    shop = _shop(request)
    guess = _guess(request, shop, body.code)
    person = await require_buyer(request, within=guess and guess.limit)
    buyer_id = person.id
    wish = HoldWish(
        buyer_id=buyer_id,
        lines=body.wishes(),
        drop=body.drop,
        admission=request.headers.get("tidegate-pass"),
        key=request_key(request, buyer_id, body),
        code=body.code,
        guest=is_guest(person),
    )
    check_currency(body.currency, shop.settings.currency)
    await shop.codes.admit(guess, looked=True)
    outcome, repeat = await settle_hold(shop, wish)
    answer = outcome if isinstance(outcome, StoredAnswer) else outcome.answer
    return _stored(answer) if repeat else _answer(answer)


@hot_route(
    "GET",
    "/api/v1/holds/{hold_id}",
    returns=(200, HoldAnswer),
    problems=(NotFound, HoldExpired),
    signed_in=True,
    tag="checkout",
)
async def get_hold(request: Request) -> Response:
    """A live hold of yours."""
    buyer_id = (await require_person(request)).id
    hold = await find_hold(_shop(request), buyer_id=buyer_id, hold_id=_hold_id(request))
    if hold.seconds_left == 0:
        raise HoldExpired()
    return _answer(StoredAnswer(200, hold_document(hold)))


@hot_route(
    "DELETE",
    "/api/v1/holds/{hold_id}",
    returns=(204, None),
    problems=(NotFound, AlreadyOrdered),
    signed_in=True,
    tag="checkout",
)
async def delete_hold(request: Request) -> Response:
    """Give a hold back; giving back what has ended changes nothing."""
    buyer_id = (await require_person(request)).id
    await give_up(_shop(request), buyer_id=buyer_id, hold_id=_hold_id(request))
    return Response(status_code=204)


@hot_route(
    "POST",
    "/api/v1/orders",
    body=OrderBody,
    returns=(201, OrderAnswer),
    accepted=TO_BE_RECORDED,
    problems=(
        *KEY_PROBLEMS,
        NotFound,
        HoldExpired,
        AlreadyOrdered,
        *SHIPPING_PROBLEMS,
        UnknownProvider,
        UnknownToken,
        CurrencyMismatch,
    ),
    headers=(IDEMPOTENCY_KEY,),
    signed_in=True,
    tag="checkout",
    links=FROM_ORDER,
)
async def post_order(request: Request, body: OrderBody) -> Response:
    """Order what a hold keeps and pay for it.

    A declined card gives an order in state `payment_failed`; send the hold again with another token and a new key.
    """
    buyer_id = (await require_buyer(request)).id
    key = request_key(request, buyer_id, body)
    shop = _shop(request)
    check_currency(body.currency, shop.settings.currency)
    placed = await place_order(shop, buyer_id=buyer_id, form=body.form(), key=key)
    return _placed(placed)


@hot_route(
    "POST",
    "/api/v1/purchases",
    body=PurchaseBody,
    returns=(201, OrderAnswer),
    accepted=TO_BE_RECORDED,
    problems=(
        *KEY_PROBLEMS,
        *CODE_PROBLEMS,
        *HOLD_PROBLEMS,
        *SHIPPING_PROBLEMS,
        UnknownProvider,
        UnknownToken,
    ),
    kind_of=kind_of,
    headers=(IDEMPOTENCY_KEY, PASS),
    signed_in=True,
    tag="checkout",
    links=FROM_ORDER,
)
async def post_purchase(request: Request, body: PurchaseBody) -> Response:
    """Hold, order and pay in one request: all lines or none.

    A declined card gives an order in state `payment_failed`, whose goods stay yours until `pay_until`: send its
    `hold_id` to `/api/v1/orders` with another token and a new key.
    """
    shop = _shop(request)
    guess = _guess(request, shop, body.code)
    person = await require_buyer(request, within=guess and guess.limit)
    buyer_id = person.id
    key = request_key(request, buyer_id, body)
    admission = request.headers.get("tidegate-pass")
    wish = body.wish(buyer_id=buyer_id, admission=admission, key=key, guest=is_guest(person))
    check_currency(body.currency, shop.settings.currency)
    await shop.codes.admit(guess, looked=True)
    return _placed(await purchase(shop, wish))


@hot_route(
    "GET", "/api/v1/orders/{order_id}", returns=(200, OrderAnswer), problems=(NotFound,), signed_in=True, tag="checkout"
)
async def get_order(request: Request) -> Response:
    """An order of yours."""
    buyer_id = (await require_person(request)).id
    order_id = parse_id(request.path_params["order_id"])
    if order_id is None:
        raise NotFound("there is no such order")
    order: OrderView = await find_order(_shop(request), buyer_id=buyer_id, order_id=OrderId(order_id))
    return _answer(StoredAnswer(200, order_body(order)))


ROUTES = (post_hold, get_hold, delete_hold, post_order, post_purchase, get_order)

router = APIRouter(prefix="/api/v1", tags=["payments"])


@router.post(
    "/payments/webhooks/{provider}",
    responses=problems_by_status((BadSignature, StaleSignature, MalformedBody, UnknownProvider)),
)
async def post_webhook(provider: str, request: Request) -> dict[str, Any]:
    """Take a payment provider's webhook. It is answered 200 also when it was seen before."""
    await take_webhook(_shop(request), provider=provider, headers=request.headers, body=await request.body())
    return {}


def _guess(request: Request, shop: Shop, code: str | None) -> Guess | None:
    if not code:
        return None  # most have none, and need no token looked for
    return guess_of(shop, code, session=session_token(request) or "", address=client_address(request))


def request_key(request: Request, buyer_id: PersonId, body: HoldBody | OrderBody | PurchaseBody) -> RequestKey:
    """The request's idempotency key with the fingerprint of what it asks. Raises: KeyMissing.

    A currency says nothing more: there is one, and a request that names another is refused.
    """
    sent = request.headers.getlist("idempotency-key")
    text = sent[0].strip() if len(sent) == 1 else ""
    if not text or len(text) > MAX_KEY or not text.isascii() or not text.isprintable():
        raise KeyMissing("send one Idempotency-Key header: 1 to 255 visible ASCII characters, new for each purchase")
    asked = body if body.currency is msgspec.UNSET else msgspec.structs.replace(body, currency=msgspec.UNSET)
    return RequestKey(buyer_id, text, fingerprint(request.scope["path"], asked))


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


def _hold_id(request: Request) -> HoldId:
    hold_id = parse_id(request.path_params["hold_id"])
    if hold_id is None:
        raise NotFound("there is no such hold")
    return HoldId(hold_id)


def _answer(answer: StoredAnswer, *more: tuple[bytes, bytes]) -> Response:
    media_type = b"application/json" if answer.status < 400 else b"application/problem+json"
    return Answer(answer.body, status=answer.status, headers=((b"content-type", media_type), *more))


def _placed(placed: OrderView | Replay) -> Response:
    if isinstance(placed, Replay):
        return _stored(placed.answer)
    return _answer(answer_with(placed), *(() if placed.recorded else (ASK_AGAIN,)))


def _stored(stored: StoredAnswer) -> Response:
    """The answer of the key's first request, marked as such; a 202 is not the key's yet."""
    return _answer(stored, ASK_AGAIN if stored.status == 202 else (b"idempotent-replayed", b"true"))

"""Routes of a gate before shops elsewhere: what they have left, which passes were spent, who their visitors are."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tidegate.gate.contracts import AccountNeeded, RoomUnknown, ShopKeyNotGood
from tidegate.gate.running import Gate
from tidegate.gate.shop_words import MAX_CHARS, may_report, read_visitor
from tidegate.gate.shops import MAX_SPENDS, GoodsReport, report_goods
from tidegate.gate.visitors import VisitorTokens
from tidegate.platform.edge.hot import HeaderParameter, answer, hot_route
from tidegate.platform.ids import PlaceId, parse_id
from tidegate.platform.problems import InvalidRequest

MOST = 10**12
Items = Annotated[int, msgspec.Meta(ge=0, le=MOST)]

SHOP = HeaderParameter("Authorization", "`Bearer` and a token that the shop signed with its key.", required=True)


class SpentBody(msgspec.Struct, frozen=True):
    """A pass that bought something: the `jti` of the pass, and how many items."""

    place: Annotated[str, msgspec.Meta(max_length=40)]
    items: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1


class GoodsBody(msgspec.Struct, frozen=True):
    """What the shop has: `left` items that nobody has, `held` in baskets (they may come back), `sold`.

    `spent`: passes that bought something since the last report; naming one twice does no harm. `p99_ms`: how long the
    slowest percent of the shop's purchases takes, if it measures that; the pace of the room follows it.
    """

    left: Items
    held: Items = 0
    sold: Items = 0
    p99_ms: Annotated[float, msgspec.Meta(ge=0, le=3_600_000)] | None = None
    spent: Annotated[list[SpentBody], msgspec.Meta(max_length=MAX_SPENDS)] = []


class GoodsAnswer(msgspec.Struct, frozen=True):
    """How many passes were noted as spent, and places that were named and are none of this room."""

    spent: int
    unknown: list[str]


@hot_route(
    "PUT",
    "/api/v1/drops/{slug}/goods",
    body=GoodsBody,
    returns=(200, GoodsAnswer),
    problems=(RoomUnknown, ShopKeyNotGood, InvalidRequest),
    headers=(SHOP,),
    tag="gate",
)
async def put_goods(request: Request, body: GoodsBody) -> Response:
    """Say what the shop before which a room stands has left, and which passes were spent.

    The room lets in no more people than what is left can serve; at 0 with nothing held it tells everybody that all is
    sold, and goes on when something comes back. Report about once a second while the room is open, stock and passes of
    the same moment together. Saying the same again changes nothing.
    """
    gate: Gate = request.app.state.gate
    room, foreign = gate.kept_foreign(request.path_params["slug"])
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    good = may_report(token.strip(), shop_key=foreign.shop_key, drop=room.drop_id, now_s=time.time())
    if scheme.lower() != "bearer" or not good:
        raise ShopKeyNotGood()
    async with gate.database.transaction() as conn:
        unknown = await report_goods(conn, room_id=room.id, report=_report(body))
    return answer(GoodsAnswer(len(body.spent) - len(unknown), [str(place) for place in unknown]))


def _report(body: GoodsBody) -> GoodsReport:
    """Raises: InvalidRequest."""
    spent = []
    for each in body.spent:
        place = parse_id(each.place)
        if place is None:
            raise InvalidRequest(f"{each.place!r} is no place: send the `jti` of a pass.")
        spent.append((PlaceId(place), each.items))
    return GoodsReport(body.left, body.held, body.sold, body.p99_ms, tuple(spent))


class VisitorBody(msgspec.Struct, frozen=True):
    """`visitor`: what the shop signed to say who comes; without it somebody is a guest."""

    visitor: Annotated[str, msgspec.Meta(max_length=MAX_CHARS)] | None = None


class VisitorAnswer(msgspec.Struct, frozen=True):
    """What to send as `Authorization: Bearer` when asking for a place."""

    token: str


@hot_route(
    "POST",
    "/api/v1/drops/{slug}/visitors",
    body=VisitorBody,
    returns=(201, VisitorAnswer),
    problems=(RoomUnknown, ShopKeyNotGood, AccountNeeded),
    tag="gate",
)
async def post_visitor(request: Request, body: VisitorBody) -> Response:
    """Come as whom the shop says, or as a guest where the room takes guests. Nothing is kept of it."""
    gate: Gate = request.app.state.gate
    tokens: VisitorTokens = request.app.state.visitor_tokens
    room, now_s = gate.kept(request.path_params["slug"]).room, time.time()
    if body.visitor is None:
        if not room.guests:
            raise AccountNeeded()
        return answer(VisitorAnswer(tokens.make_guest(now_s=now_s).token), status=201)
    _room, foreign = gate.kept_foreign(room.slug)
    person_id = read_visitor(body.visitor, shop_key=foreign.shop_key, drop=room.drop_id, now_s=now_s)
    if person_id is None:
        raise ShopKeyNotGood()
    return answer(VisitorAnswer(tokens.make(person_id, vouched=True, now_s=now_s)), status=201)


ROUTES = (put_goods, post_visitor)

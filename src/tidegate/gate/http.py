"""The routes of the waiting room: joining, its status, one's place, and the proof of the draw."""

from __future__ import annotations

import base64
from hashlib import sha256

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tidegate.gate.contracts import (
    AccountNeeded,
    EntriesGone,
    JoinedTooOften,
    LobbyNotOpen,
    NotDrawnYet,
    Phase,
    PlaceState,
    PlaceUnknown,
    Room,
    RoomClosed,
    RoomSoldOut,
    RoomUnknown,
    StatusAnswer,
    TicketNotGood,
)
from tidegate.gate.entries import EntriesPage, open_entries, prove, prove_grown, prove_publicly
from tidegate.gate.http_pace import count, keep_pace, keep_session_pace
from tidegate.gate.messages import (
    ConsistencyAnswer,
    DrawAnswer,
    JoinAnswer,
    KeyAnswer,
    KeysAnswer,
    PlaceAnswer,
    ProofAnswer,
)
from tidegate.gate.passes import pass_of
from tidegate.gate.places import Joined, JoinWish, PlaceQuestion, leave
from tidegate.gate.published import draw_answer
from tidegate.gate.running import Gate, Statuses, forget
from tidegate.gate.status import KeptStatus
from tidegate.gate.tickets import claim_of, ticket_of
from tidegate.platform.edge.hot import JSON_HEADERS, Answer, HeaderParameter, Link, answer, hot_route
from tidegate.platform.edge.lean import Ready, Shelf
from tidegate.platform.ids import PlaceId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound, Overloaded, TooManyRequests
from tidegate.web import require_person, session_token
from tidegate.web.contracts import Visitor

TICKET = HeaderParameter("Tidegate-Ticket", "The ticket that the join was answered with.", required=True)
GUEST = "guest"

PUBLIC_FOR_A_SECOND = (b"cache-control", b"public, max-age=1")
RUSHED = (Phase.LOBBY, Phase.OPEN, Phase.SOLD_OUT)
"""When many may ask for a draw."""

TO_PLACE = Link("get_place", "The place as it stands.", {"place_id": "$response.body#/id"})


@hot_route(
    "POST",
    "/api/v1/drops/{slug}/places",
    returns=(201, JoinAnswer),
    problems=(
        RoomUnknown,
        LobbyNotOpen,
        RoomClosed,
        RoomSoldOut,
        AccountNeeded,
        JoinedTooOften,
        TooManyRequests,
        Overloaded,
    ),
    signed_in=True,
    tag="gate",
    links=(TO_PLACE,),
)
async def post_place(request: Request) -> Response:
    """Join a drop's waiting room. There is one place a person: joining again gives the same one.

    Whoever has left, or did not come when it was their turn, gets a place at the end.
    """
    gate = _gate(request)
    person = await _person(request)
    room = gate.kept(request.path_params["slug"]).room
    joined = await gate.join(JoinWish(room.slug, person.id, guest=person.role == GUEST))
    return answer(_join_answer(gate, joined), status=201)


@hot_route(
    "GET",
    "/api/v1/drops/{slug}/status",
    returns=(200, StatusAnswer),
    problems=(RoomUnknown, TooManyRequests),
    tag="gate",
)
async def get_status(request: Request) -> Response:
    """What everybody may know of a room. It changes once a second at most; ask again as `poll` says.

    With a number, wait its distance to `serving` divided by `poll.per_s` seconds; without one a tenth of the time until
    `opens_at`; at least `near_s` and at most `far_s`, each time give or take the share `jitter`, by chance.
    While the room is open and its lots are drawn, `draw` has what everybody computes their own number from.
    Whoever asks much oftener than that gets 429, a second late, with `Retry-After`: it costs no place.
    """
    await keep_pace(request)
    kept = _gate(request).kept(request.path_params["slug"])
    return _public(request, _status_ready(kept))


def shelve(shelf: Shelf, statuses: Statuses) -> None:
    """Let the server itself answer `get_status` and `get_draw` for these rooms, as many as may ask at once."""
    answers: dict[str, Ready] = {}
    for slug, kept in statuses.items():
        status, draw = get_status.path.replace("{slug}", slug), get_draw.path.replace("{slug}", slug)
        answers[status] = _status_ready(kept)
        if kept.room.phase in RUSHED:
            answers[draw] = _draw_ready(kept.room)
    shelf.fill(answers)


@hot_route(
    "GET",
    "/api/v1/drops/{slug}/places/{place_id}",
    returns=(200, PlaceAnswer),
    problems=(RoomUnknown, PlaceUnknown, TicketNotGood, TooManyRequests, Overloaded),
    headers=(TICKET,),
    signed_in=True,
    tag="gate",
)
async def get_place(request: Request) -> Response:
    """Your place: your number once it is drawn, and your pass when it is your turn. Ask at the draw and near the front.

    The ticket is good together with the session of the account that joined. When the drop is opened anew, in another
    room, a place of the earlier one is unknown here: join again.
    """
    return answer(_place_answer(_gate(request), await _own_place(request)))


@hot_route(
    "DELETE",
    "/api/v1/drops/{slug}/places/{place_id}",
    returns=(204, None),
    problems=(RoomUnknown, PlaceUnknown, TicketNotGood, TooManyRequests),
    headers=(TICKET,),
    signed_in=True,
    tag="gate",
)
async def delete_place(request: Request) -> Response:
    """Leave the waiting room. Whoever comes back later goes to the end of the line."""
    joined = await _own_place(request)
    async with _gate(request).database.transaction() as conn:
        await leave(conn, place_id=joined.place.id, buyer_id=joined.place.buyer_id)
    return Response(status_code=204)


@hot_route(
    "GET",
    "/api/v1/drops/{slug}/places/{place_id}/proof",
    returns=(200, ProofAnswer),
    problems=(RoomUnknown, PlaceUnknown, TicketNotGood, NotDrawnYet, TooManyRequests, Overloaded),
    headers=(TICKET,),
    signed_in=True,
    tag="gate",
)
async def get_proof(request: Request) -> Response:
    """That your entry is in the log that was drawn from, and which number it got; also of an earlier room."""
    joined = await _own_place(request, or_earlier=True)
    gate = _gate(request)
    async with gate.database.connection() as conn:
        proven = await prove(conn, joined)
    return answer(proven)


@hot_route(
    "GET",
    "/api/v1/drops/{slug}/draw",
    returns=(200, DrawAnswer),
    problems=(RoomUnknown, TooManyRequests),
    tag="gate",
)
async def get_draw(request: Request) -> Response:
    """What the draw is made of: the hash of its seed before, all of it afterwards. `tidegate verify-draw` checks it.

    With it and the `index` of their join everybody can compute their number, also when the room is over; while it is
    open, the status has what is needed. Whoever asks very often gets 429, as for the status.
    """
    await keep_pace(request)
    return _public(request, _draw_ready(_gate(request).kept(request.path_params["slug"]).room))


@hot_route(
    "GET",
    "/api/v1/drops/{slug}/entries",
    returns=(200, None),
    problems=(RoomUnknown, NotDrawnYet, EntriesGone, InvalidRequest, Overloaded),
    tag="gate",
)
async def get_entries(request: Request) -> Response:
    """The entries that were drawn from, in their order: plain text, one entry a line, in 64 hexadecimal digits.

    `?from=N` begins with entry N (0 is the first). The header `Link` has the address of what follows, if anything does.
    """
    gate = _gate(request)
    room = gate.kept(request.path_params["slug"]).room
    page = EntriesPage.of(room, request.query_params.get("from", "0"), most=gate.settings.gate.entries_page)
    headers = {"cache-control": "public, max-age=3600"}
    if page.end < page.size:
        headers["link"] = f'<{request.url.path}?from={page.end}>; rel="next"'
    return StreamingResponse(open_entries(gate, page), media_type="text/plain", headers=headers)


@hot_route(
    "GET",
    "/api/v1/drops/{slug}/entries/{index}",
    returns=(200, ProofAnswer),
    problems=(RoomUnknown, NotFound, NotDrawnYet, EntriesGone, Overloaded),
    tag="gate",
)
async def get_entry(request: Request) -> Response:
    """One entry that was drawn from, by its index (0 is the first): the proof that it is in the log, and its number."""
    gate = _gate(request)
    room = gate.kept(request.path_params["slug"]).room
    proven = await prove_publicly(gate, room, request.path_params["index"])
    return answer(proven, headers={"cache-control": "public, max-age=3600"})


@hot_route(
    "GET",
    "/api/v1/drops/{slug}/consistency/{size}",
    returns=(200, ConsistencyAnswer),
    problems=(RoomUnknown, NotFound, NotDrawnYet, EntriesGone, Overloaded),
    tag="gate",
)
async def get_consistency(request: Request) -> Response:
    """That the log grew from the one of a receipt: the proof between its first `size` entries and what was drawn from.

    A receipt names that size and root. One that is later than the draw has the drawn log at its beginning.
    """
    slug = request.path_params["slug"]
    proven = await prove_grown(_gate(request), slug, request.path_params["size"])
    return answer(proven, headers={"cache-control": "public, max-age=3600"})


@hot_route("GET", "/api/v1/gate/keys", returns=(200, KeysAnswer), tag="gate")
async def get_gate_keys(request: Request) -> Response:
    """The public keys (Ed25519) with which receipts and passes can be checked by anybody."""
    keys = [
        KeyAnswer(kid, base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
        for kid, raw in _gate(request).ring.public_keys.items()
    ]
    return answer(KeysAnswer(keys), headers={"cache-control": "public, max-age=30"})


ROUTES = (
    get_status,
    post_place,
    get_place,
    delete_place,
    get_proof,
    get_draw,
    get_entries,
    get_entry,
    get_consistency,
    get_gate_keys,
)


def _status_ready(kept: KeptStatus) -> Ready:
    return _ready(get_status.path, kept.body, kept.etag)


def _draw_ready(room: Room) -> Ready:
    """The document of a draw. A cache may keep it for a second only: the next drop may have the same address."""
    body = msgspec.json.encode(draw_answer(room))
    return _ready(get_draw.path, body, f'"{sha256(body).hexdigest()[:16]}"')


def _ready(route: str, body: bytes, etag: str) -> Ready:
    """The same for everyone, for a second."""
    return Ready(route, body, etag, headers=(*JSON_HEADERS, (b"etag", etag.encode()), PUBLIC_FOR_A_SECOND))


def _public(request: Request, ready: Ready) -> Response:
    """The long way to what the server answers by itself."""
    if request.headers.get("if-none-match") == ready.etag:
        return Response(status_code=304, headers={"etag": ready.etag, "cache-control": "public, max-age=1"})
    return Answer(ready.body, status=200, headers=ready.headers)


def _gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


async def _person(request: Request) -> Visitor:
    """Who asks about a place, unless they ask too often. Raises: NotSignedIn, TooManyRequests."""
    await keep_session_pace(request)
    return await _counted(request)


async def _counted(request: Request) -> Visitor:
    person = await require_person(request)
    await count(_gate(request), person.id)
    return person


async def _own_place(request: Request, *, or_earlier: bool = False) -> Joined:
    """The place that is asked about, which the ticket must be for and the session of. Raises: as `get_place`.

    Only with `or_earlier` it may be one in a room that was closed before the drop was opened anew.

    The ticket says whose place it is, so that is looked up while the session is. Nothing is told of it before both name
    the same person, and only what this gate has stamped is looked up at all.
    """
    gate, slug = _gate(request), request.path_params["slug"]
    await keep_session_pace(request)
    place_id = parse_id(request.path_params["place_id"])
    claim = None
    if place_id is not None and session_token(request) is not None:
        claim = claim_of(gate.ring, request.headers.get("tidegate-ticket", ""), place_id=PlaceId(place_id))
    if claim is None:
        await _counted(request)
        gate.kept(slug)
        raise PlaceUnknown() if place_id is None else TicketNotGood()
    asked = gate.ask(PlaceQuestion(*claim))
    try:
        person = await _counted(request)
        now_here = gate.kept(slug).room
        if person.id != claim[1]:
            raise TicketNotGood()
        joined = await asked
    finally:
        forget(asked)
    if joined is None or joined.place.id != place_id or joined.room.slug != slug:
        raise PlaceUnknown()
    earlier = joined.room.phase is Phase.CLOSED and joined.room.id != now_here.id
    if earlier and not or_earlier:
        raise PlaceUnknown()
    return joined


def _join_answer(gate: Gate, joined: Joined) -> JoinAnswer:
    place, room, sheet = joined.place, joined.room, joined.sheet
    assert sheet is not None, "a join has a receipt"
    return JoinAnswer(
        id=str(place.id),
        ticket=ticket_of(gate.ring, place),
        phase=room.phase.value,
        number=place.number,
        index=place.index,
        joined=room.size,
        root=room.root.hex(),
        receipt=sheet.text(gate.ring, joined.line),
    )


def _place_answer(gate: Gate, joined: Joined) -> PlaceAnswer:
    place, admission = joined.place, None
    if place.state is PlaceState.ADMITTED and place.expires_at is not None:
        admission = pass_of(
            gate.ring,
            drop_id=joined.room.drop_id,
            place_id=place.id,
            buyer_id=place.buyer_id,
            ends_at=place.expires_at,
        )
    return PlaceAnswer(id=str(place.id), number=place.number, state=place.state.value, admission=admission)

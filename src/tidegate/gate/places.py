"""Places: joining in batches, leaving, and finding one again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncCursor

from tidegate.gate.contracts import Place, PlaceState, PlaceUnknown, Receipt, Room, RoomClosed
from tidegate.gate.log import Log
from tidegate.gate.receipts import Sheet
from tidegate.gate.rooms import ROOM, ROOM_COLUMNS, room_of
from tidegate.gate.rules import GONE, draw_of, keeps_entry, number_of, why_not_join, why_not_return
from tidegate.gate.tickets import entry_of
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, PlaceId, RoomId, new_id
from tidegate.platform.reading import together

RACE = "places_one_a_person"
"""Constraint that says: this person has joined meanwhile. Joins of a room take turns, so it is a safety net."""

PLACE = "p.id, p.room_id, p.buyer_id, p.index, p.state, p.joins, p.admitted_at, p.expires_at"

LOCK = f"""
SELECT {ROOM}, frontier FROM gate.rooms WHERE slug = ANY(%b) AND phase <> 'closed' ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608
KNOWN = f"""
SELECT p.* FROM unnest(%b::text[], %b::uuid[]) AS w (slug, buyer_id)
CROSS JOIN LATERAL (
    SELECT {PLACE} FROM gate.places AS p
    WHERE p.room_id = (SELECT r.id FROM gate.rooms AS r WHERE r.slug = w.slug AND r.phase <> 'closed')
    AND p.buyer_id = w.buyer_id OFFSET 0
) AS p
"""  # noqa: S608
"""One look into the index a wish: joined plainly, the room may be read first, and then all of its places."""
FIND = f"""
SELECT p.* FROM unnest(%b::uuid[], %b::uuid[]) AS w (room_id, buyer_id)
CROSS JOIN LATERAL (
    SELECT {PLACE} FROM gate.places AS p WHERE p.room_id = w.room_id AND p.buyer_id = w.buyer_id OFFSET 0
) AS p
"""  # noqa: S608
ROOMS = f"SELECT {ROOM} FROM gate.rooms WHERE id = ANY(%b)"  # noqa: S608


class JoinWish(Struct, frozen=True):
    """Somebody's wish to have a place in the room of the drop `slug`."""

    slug: str
    buyer_id: PersonId
    guest: bool = False


class Joined(Struct, frozen=True):
    """A place that somebody has now, and its room with everybody of the same batch in it.

    `sheet` has the receipts of that batch, this one's on `line`; a place that was only looked up has none.
    """

    place: Place
    room: Room
    sheet: Sheet | None = None
    line: int = 0

    @property
    def receipt(self) -> Receipt:
        """What shows that the place is in the log."""
        place, room = self.place, self.room
        return Receipt(room.id, place.index, entry_of(place.id, place.joins), room.size, room.root)


class _Seating:
    """One room while a batch is seated: its log grows entry by entry, what changes is written at the end."""

    def __init__(self, room: Room, log: Log) -> None:
        self.room = room
        self.log = log
        self.draw = draw_of(room)
        self.places: dict[PersonId, Place] = {}
        self.entries: list[bytes] = []
        self.fresh: list[Place] = []
        self.moved: list[Place] = []
        self.restored: list[Place] = []
        self.former: list[tuple[int, bytes]] = []

    def seat(self, wish: JoinWish, *, max_joins: int) -> Exception | None:
        """Give a place to whoever has none; why not, or None."""
        place = self.places.get(wish.buyer_id)
        if place is None:
            refusal = why_not_join(self.room, guest=wish.guest)
            if refusal is None:
                fresh = Place(PlaceId(new_id()), self.room.id, wish.buyer_id, 0, None, PlaceState.WAITING, 1)
                self.fresh.append(self._enter(fresh))
            return refusal
        if place.state not in GONE:
            return None
        refusal = why_not_return(self.room, place, guest=wish.guest, max_joins=max_joins)
        if refusal is not None:
            return refusal
        if keeps_entry(self.room, place):
            self.places[wish.buyer_id] = back = replace(place, state=PlaceState.WAITING)
            self.restored.append(back)
        else:
            self.former.append((place.index, entry_of(place.id, place.joins)))
            again = replace(place, state=PlaceState.WAITING, joins=place.joins + 1, admitted_at=None, expires_at=None)
            self.moved.append(self._enter(again))
        return None

    def _enter(self, place: Place) -> Place:
        """The place as the next entry of the log."""
        index = self.log.size + len(self.entries)
        self.entries.append(entry_of(place.id, place.joins))
        place = replace(place, index=index, number=number_of(self.room, index, draw=self.draw))
        self.places[place.buyer_id] = place
        return place

    def end(self) -> None:
        """Extend the log by all that came."""
        self.log = self.log.extended(self.entries)
        self.room = replace(self.room, size=self.log.size, root=self.log.root)


async def settle_joins(conn: Connection, wishes: Sequence[JoinWish], *, max_joins: int) -> list[Joined | Exception]:
    """Settle a batch of joins in the caller's transaction; one outcome each, in the same order.

    Takes the locks of the rooms, in the order of their ids: whoever has them decides who comes next, and T0 itself
    waits for them or they for it. Each room's log and root grow in the same transaction.
    """
    slugs, buyers = [wish.slug for wish in wishes], [wish.buyer_id for wish in wishes]
    locked = await conn.execute(LOCK, (sorted(set(slugs)),), binary=True)
    known = await conn.execute(KNOWN, (slugs, buyers), binary=True)
    seatings = await _read_rooms(locked)
    by_id = {seating.room.id: seating for seating in seatings.values()}
    for row in await known.fetchall():
        seating = by_id[row[1]]
        seating.places[row[2]] = _place(row, seating.room, number_of(seating.room, row[3], draw=seating.draw))
    refusals = [
        seatings[wish.slug].seat(wish, max_joins=max_joins) if wish.slug in seatings else RoomClosed()
        for wish in wishes
    ]
    for seating in seatings.values():
        await _write(conn, seating)
    receipts: list[Receipt] = []
    sheet = Sheet(receipts)
    outcomes: list[Joined | Exception] = []
    for wish, refusal in zip(wishes, refusals, strict=True):
        if refusal is not None:
            outcomes.append(refusal)
            continue
        seating = seatings[wish.slug]
        joined = Joined(seating.places[wish.buyer_id], seating.room, sheet, len(receipts))
        receipts.append(joined.receipt)
        outcomes.append(joined)
    return outcomes


async def leave(conn: Connection, *, place_id: PlaceId, buyer_id: PersonId) -> PlaceState:
    """Give a place up that is waiting or admitted; others stay as they are. Raises: PlaceUnknown."""
    rows = await conn.execute(
        "UPDATE gate.places SET state = 'left' WHERE id = %s AND buyer_id = %s AND state IN ('waiting', 'admitted')"
        " RETURNING state",
        (place_id, buyer_id),
    )
    found = await rows.fetchone()
    if found is None:
        rows = await conn.execute("SELECT state FROM gate.places WHERE id = %s AND buyer_id = %s", (place_id, buyer_id))
        found = await rows.fetchone()
    if found is None:
        raise PlaceUnknown()
    return PlaceState(found[0])


class PlaceQuestion(Struct, frozen=True):
    """Whose place in which room."""

    room_id: RoomId
    buyer_id: PersonId


async def find_places(conn: Connection, questions: Sequence[PlaceQuestion]) -> list[Joined | None]:
    """The places asked for, as many at a time as ask; None for those that are not there."""
    rooms, buyers = [each.room_id for each in questions], [each.buyer_id for each in questions]
    async with together(conn):
        places = await conn.execute(FIND, (rooms, buyers), binary=True)
        about = await conn.execute(ROOMS, (list(set(rooms)),), binary=True)
    seen = {room.id: (room, draw_of(room)) for room in map(room_of, await about.fetchall())}
    found: dict[tuple[RoomId, PersonId], Joined] = {}
    for row in await places.fetchall():
        if row[1] in seen:  # else it was removed meanwhile, with its places
            room, draw = seen[row[1]]
            found[room.id, row[2]] = Joined(_place(row, room, number_of(room, row[3], draw=draw)), room)
    return [found.get((question.room_id, question.buyer_id)) for question in questions]


async def _read_rooms(locked: AsyncCursor[tuple[Any, ...]]) -> dict[str, _Seating]:
    found = {}
    for row in await locked.fetchall():
        room = room_of(row)
        found[room.slug] = _Seating(room, Log.unpacked(room.size, row[ROOM_COLUMNS]))
    return found


async def _write(conn: Connection, seating: _Seating) -> None:
    """Write what came of a batch in one room."""
    if seating.restored:
        await conn.execute(
            "UPDATE gate.places SET state = 'waiting' WHERE id = ANY(%b)",
            ([place.id for place in seating.restored],),
            binary=True,
        )
    if not seating.entries:
        return
    seating.end()
    room_id, log = seating.room.id, seating.log
    if seating.former:
        await conn.execute(
            "INSERT INTO gate.former_entries (room_id, index, entry)"
            " SELECT %b, * FROM unnest(%b::bigint[], %b::bytea[])",
            (room_id, [index for index, _ in seating.former], [entry for _, entry in seating.former]),
            binary=True,
        )
        await conn.execute(
            "UPDATE gate.places AS p SET index = n.index, joins = n.joins, state = 'waiting', admitted_at = NULL,"
            " expires_at = NULL, joined_at = clock_timestamp()"
            " FROM unnest(%b::uuid[], %b::bigint[], %b::int[]) AS n (id, index, joins) WHERE p.id = n.id",
            (
                [place.id for place in seating.moved],
                [place.index for place in seating.moved],
                [place.joins for place in seating.moved],
            ),
            binary=True,
        )
    await conn.execute(
        "INSERT INTO gate.places (room_id, id, buyer_id, index)"
        " SELECT %b, * FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[])",
        (
            room_id,
            [place.id for place in seating.fresh],
            [place.buyer_id for place in seating.fresh],
            [place.index for place in seating.fresh],
        ),
        binary=True,
    )
    if log.blocks:
        await conn.execute(
            "INSERT INTO gate.log_blocks (room_id, block, hash) SELECT %b, * FROM unnest(%b::bigint[], %b::bytea[])",
            (room_id, [block for block, _ in log.blocks], [found for _, found in log.blocks]),
            binary=True,
        )
    await conn.execute(
        "UPDATE gate.rooms SET size = %b, frontier = %b, root = %b WHERE id = %b",
        (log.size, log.packed, log.root, room_id),
        binary=True,
    )


def _place(row: Sequence[Any], room: Room, number: int | None) -> Place:
    return Place(row[0], room.id, row[2], row[3], number, PlaceState(row[4]), row[5], row[6], row[7])

"""Shops that are not Tidegate's and have their people wait here: their rooms, and what they say of their goods.

Such a shop has a key of its own for each room, Ed25519, whose public half is all that the gate keeps. With it the shop
says who a visitor is (`shop_words.read_visitor`) and what it has left and sold (`report_goods`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tidegate.gate.admission import Counts, Engine, Spend
from tidegate.gate.contracts import Room
from tidegate.platform.database import Connection
from tidegate.platform.ids import PlaceId, RoomId
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_TITLE = 200
MAX_SPENDS = 1_000
"""Most passes that one report says were spent."""

FIND = """
SELECT room_id, title, shop, shop_key, per_buyer, free, held, sold, p99_ms, reported_at FROM gate.foreign_rooms
WHERE room_id = ANY(%s)
"""
LATE = """
UPDATE gate.places SET state = 'spent' WHERE id = ANY(%s) AND state IN ('expired', 'left', 'waiting')
"""
"""Who bought and was given up for absent must not wait again at the end of the line."""


class ForeignRoom(Struct, frozen=True):
    """What there is to know of a room before another shop. `free` is None until the shop said what it has."""

    room_id: RoomId
    title: str
    shop: str
    shop_key: bytes
    per_buyer: int
    free: int | None
    held: int
    sold: int
    p99_ms: float | None
    reported_at: datetime | None

    def counts(self, *, unknown: int) -> Counts:
        """Items as the shop said last; while it said nothing, there is something for `unknown` people inside."""
        return Counts(unknown if self.free is None else self.free, self.held, self.sold)

    @property
    def engine(self) -> Engine | None:
        """How fast the shop said it is; None when it did not."""
        if self.p99_ms is None or self.reported_at is None:
            return None
        return Engine(self.p99_ms, self.reported_at.timestamp())


class GoodsReport(Struct, frozen=True):
    """What a shop says: items that nobody has, those in baskets, those sold; its slowest percent in ms, if it knows."""

    left: int
    held: int = 0
    sold: int = 0
    p99_ms: float | None = None
    spent: tuple[tuple[PlaceId, int], ...] = ()
    """Places whose pass bought something, and how many items."""


async def add_foreign_room(
    conn: Connection, room: Room, *, title: str, shop: str, shop_key: bytes, per_buyer: int = 1
) -> None:
    """Say that a room stands before the shop at the origin `shop`. Raises: InvalidRequest."""
    if not 1 <= len(title) <= MAX_TITLE or not title.isprintable():
        raise InvalidRequest(_("Give the room a title of at most %(most)s characters.", most=MAX_TITLE))
    await conn.execute(
        "INSERT INTO gate.foreign_rooms (room_id, title, shop, shop_key, per_buyer) VALUES (%s, %s, %s, %s, %s)",
        (room.id, title, shop, shop_key, per_buyer),
    )


async def find_foreign_rooms(conn: Connection, *, room_ids: Sequence[RoomId]) -> dict[RoomId, ForeignRoom]:
    """Those of these rooms that stand before another shop, and what it is and said."""
    rows = await conn.execute(FIND, (list(room_ids),))
    return {row[0]: ForeignRoom(*row) for row in await rows.fetchall()}


async def report_goods(conn: Connection, *, room_id: RoomId, report: GoodsReport) -> list[PlaceId]:
    """Note what a shop says of its goods; the places that it named and that are none of this room.

    Saying the same again changes nothing. Waits for the room's round, if one runs, and a round passes over a room
    that is being reported of: so a pass that was spent is never taken for one that was not used.
    """
    await conn.execute("INSERT INTO gate.admissions (room_id) VALUES (%s) ON CONFLICT DO NOTHING", (room_id,))
    await conn.execute("SELECT FROM gate.admissions WHERE room_id = %s FOR NO KEY UPDATE", (room_id,))
    await conn.execute(
        "UPDATE gate.foreign_rooms SET free = %s, held = %s, sold = %s, p99_ms = %s, reported_at = clock_timestamp()"
        " WHERE room_id = %s",
        (report.left, report.held, report.sold, report.p99_ms, room_id),
    )
    if not report.spent:
        return []
    named, items = [place for place, _ in report.spent], [count for _, count in report.spent]
    rows = await conn.execute("SELECT id FROM gate.places WHERE id = ANY(%s) AND room_id = %s", (named, room_id))
    known = {row[0] for row in await rows.fetchall()}
    await conn.execute(
        "INSERT INTO gate.foreign_spends (place_id, items) SELECT DISTINCT ON (n.id) n.id, n.items"
        " FROM unnest(%s::uuid[], %s::int[]) AS n (id, items) WHERE n.id = ANY(%s) ON CONFLICT DO NOTHING",
        (named, items, list(known)),
    )
    await conn.execute(LATE, (list(known),))
    return [place for place in named if place not in known]


async def foreign_spends(conn: Connection, *, place_ids: Sequence[PlaceId]) -> list[Spend]:
    """Which of these places spent their pass, as their shop said."""
    rows = await conn.execute(
        "SELECT place_id, items, spent_at FROM gate.foreign_spends WHERE place_id = ANY(%s)", (list(place_ids),)
    )
    return [Spend(*row) for row in await rows.fetchall()]

"""Decisions of the waiting room, without a clock or a database."""

from __future__ import annotations

from functools import lru_cache

from tidegate.gate.contracts import (
    AccountNeeded,
    JoinedTooOften,
    LobbyNotOpen,
    Phase,
    Place,
    PlaceState,
    Room,
    RoomClosed,
    RoomMode,
    RoomSoldOut,
)
from tidegate.gate.draw import Draw, draw_key
from tidegate.platform.problems import Problem

GONE = (PlaceState.LEFT, PlaceState.EXPIRED)
"""States from which somebody may come back."""

DRAWS_KEPT = 64
"""Draws whose keys are kept made: what one is made of never changes."""


def draw_of(room: Room) -> Draw | None:
    """The draw of a room; None where none was or will be."""
    if room.mode is not RoomMode.DRAW or room.drawn_at is None:
        return None
    assert room.seed is not None, "what is drawn has a seed"
    assert room.cut_root is not None, "what is drawn was cut"
    assert room.cut is not None, "what is drawn was cut"
    return _draw(room.seed, room.cut_root, room.beacon, room.cut)


@lru_cache(maxsize=DRAWS_KEPT)
def _draw(seed: bytes, root: bytes, beacon: str | None, size: int) -> Draw:
    return Draw(draw_key(seed, root=root, beacon=beacon), size)


def number_of(room: Room, index: int, *, draw: Draw | None) -> int | None:
    """The number of the place at `index`; `draw` is `draw_of(room)`. None until it is drawn."""
    if room.mode is RoomMode.ARRIVAL:
        return index + 1
    if draw is not None:
        return draw.number(index) if index < draw.size else index + 1
    return None


def index_of(room: Room, number: int, *, draw: Draw | None) -> int:
    """The index of the place with `number`: the inverse of `number_of` for a room whose places have numbers."""
    assert room.has_numbers, "no number before the draw"
    return draw.index(number) if draw is not None and number <= draw.size else number - 1


def why_not_join(room: Room, *, guest: bool) -> Problem | None:
    """Why somebody without a place cannot have one; None when they can."""
    if guest and not room.guests:
        return AccountNeeded()
    if room.phase is Phase.SCHEDULED:
        return LobbyNotOpen(opens_at=room.lobby_opens_at.isoformat())
    if room.phase is Phase.SOLD_OUT:
        return RoomSoldOut()
    if room.phase is Phase.CLOSED:
        return RoomClosed()
    return None


def keeps_entry(room: Room, place: Place) -> bool:
    """Whether somebody who comes back gets the entry that they had: before a draw there is no end to go to."""
    return room.mode is RoomMode.DRAW and room.cut is None and place.state is PlaceState.LEFT


def why_not_return(room: Room, place: Place, *, guest: bool, max_joins: int) -> Problem | None:
    """Why somebody who had a place cannot join again; None when they can."""
    if not keeps_entry(room, place) and place.joins >= max_joins:
        return JoinedTooOften()
    return why_not_join(room, guest=guest)

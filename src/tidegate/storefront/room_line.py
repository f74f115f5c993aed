"""Where somebody stands in a waiting room: what the page says of it, before our own drops and before other shops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from msgspec import structs

from tidegate import gate
from tidegate.gate import Joined, KeyRing, Phase, Place, PlaceState, Room
from tidegate.platform.ids import ANYONE, NO_DROP, PlaceId
from tidegate.storefront.contexts import whole_minutes
from tidegate.web import decimal

GUEST: Final = "guest"
LOOK_AGAIN_S: Final = 10
"""How often a browser without JavaScript loads the page of a room anew."""
SLOWEST_PER_S: Final = 0.001
"""Below this pace no time is told: nobody is being let in."""


@dataclass(frozen=True, slots=True)
class Own:
    """What the page says of one visitor alone, or that changes with everybody who comes, as it is shown.

    `taken` counts the places of the room; the rest is empty for those without a place.
    """

    taken: str
    place: str = ""
    index: str = ""
    ticket: str = ""
    receipt: str = ""


NOBODYS: Final = Own("")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineContext:
    """What `storefront/room.html` shows of a room to its visitor, whose place `place` is."""

    slug: str
    title: str
    room: Room
    place: Place | None
    own: Own
    known: bool
    """Whether the visitor may take a place here and now."""
    problem: str
    look_again_s: int = LOOK_AGAIN_S
    stage: str = field(init=False)
    """See `stage_of`."""
    ahead: int | None = field(init=False)
    """How many are before the visitor; None while nobody has a number."""
    minutes: int | None = field(init=False)
    """About how long it will be until the visitor's turn; None when that cannot be told."""
    prospect: str = field(init=False)
    """See `prospect_of`."""
    part: str = field(init=False)
    """What is said to those in line: lobby, drawing, number or sold_out."""

    def __post_init__(self) -> None:
        """Find what follows from the room and the place."""
        place = self.place
        ahead = ahead_of(self.room, place)
        found = {
            "stage": stage_of(self.room, place),
            "ahead": ahead,
            "minutes": minutes_until(self.room, ahead),
            "prospect": prospect_of(self.room, ahead),
            "part": part_of(self.room, place),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)


def own_of(room: Room, joined: Joined | None, ring: KeyRing, *, locale: str) -> Own:
    """What is a visitor's own whose place is `joined`."""
    taken = decimal(room.size, locale)
    if joined is None:
        return Own(taken)
    place = joined.place
    ticket, receipt = gate.ticket_of(ring, place), gate.receipt_text(ring, joined.receipt)
    return Own(taken, str(place.id), str(place.index), ticket, receipt)


def room_alike(room: Room, place: Place | None) -> Room:
    """The room without what changes with everybody who comes or is let in, as far as its page shows it in `Own` alone.

    To those without a place it says nothing of how far the line has come.
    """
    return structs.replace(room, size=0, root=b"", pace_per_s=0.0, serving=room.serving if place else 0)


def place_alike(place: Place | None) -> Place | None:
    """The place without whose it is."""
    if place is None:
        return None
    return structs.replace(place, id=PlaceId(NO_DROP), buyer_id=ANYONE, index=0, joins=0)


def stage_of(room: Room, place: Place | None) -> str:
    """What the page is about: before, join, line, turn, spent, missed, left, sold_out or over."""
    state = place.state if place else None
    if state is PlaceState.ADMITTED and room.phase is not Phase.CLOSED:
        return "turn"
    if state is PlaceState.SPENT:
        return "spent"
    match room.phase:
        case Phase.CLOSED:
            return "over"
        case Phase.SOLD_OUT if state is not PlaceState.WAITING:
            return "sold_out"
        case Phase.SCHEDULED:
            return "before"
    if state is None:
        return "join"
    return {PlaceState.EXPIRED: "missed", PlaceState.LEFT: "left"}.get(state, "line")


def part_of(room: Room, place: Place | None) -> str:
    """What is said to somebody in line: see `LineContext.part`. The page's script goes from one to the other."""
    if room.phase is Phase.SOLD_OUT:
        return "sold_out"
    if place is not None and place.number is not None:
        return "number"
    return "lobby" if room.cut is None else "drawing"


def ahead_of(room: Room, place: Place | None) -> int | None:
    """How many are before somebody; None while they have no number."""
    return None if place is None or place.number is None else max(place.number - room.serving, 0)


def prospect_of(room: Room, ahead: int | None) -> str:
    """What somebody in line should know of what is left: held (all of it, by others), short (of them), or nothing."""
    if ahead is None or room.phase is not Phase.OPEN or room.stock_left is None:
        return ""
    if room.stock_left == 0:
        return "held"
    return "short" if ahead >= room.stock_left else ""


def minutes_until(room: Room, ahead: int | None) -> int | None:
    """About how long it takes to let so many in; None when that cannot be told."""
    moves = room.phase is Phase.OPEN and not room.paused and room.stock_left != 0
    if ahead is None or not moves or room.pace_per_s < SLOWEST_PER_S:
        return None
    return whole_minutes(int(ahead / room.pace_per_s) + 1)

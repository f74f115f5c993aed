"""Where somebody stands in a waiting room: what the page says of it, before our own drops and before other shops."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import Final

from tidegate import gate
from tidegate.gate import Joined, KeyRing, Phase, Place, PlaceState, Room
from tidegate.storefront.contexts import whole_minutes

GUEST: Final = "guest"
LOOK_AGAIN_S: Final = 10
"""How often a browser without JavaScript loads the page of a room anew."""
SLOWEST_PER_S: Final = 0.001
"""Below this pace no time is told: nobody is being let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineContext:
    """What `storefront/room.html` shows of a room to its visitor, whose place `joined` is."""

    slug: str
    title: str
    room: Room
    joined: InitVar[Joined | None]
    ring: InitVar[KeyRing]
    known: bool
    """Whether the visitor may take a place here and now."""
    problem: str
    look_again_s: int = LOOK_AGAIN_S
    place: Place | None = field(init=False)
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
    ticket: str = field(init=False)
    receipt: str = field(init=False)
    """Both are the visitor's own, empty for those without a place."""

    def __post_init__(self, joined: Joined | None, ring: KeyRing) -> None:
        """Find what follows from the room and the place."""
        place = joined.place if joined else None
        ahead = ahead_of(self.room, place)
        found = {
            "place": place,
            "stage": stage_of(self.room, place),
            "ahead": ahead,
            "minutes": minutes_until(self.room, ahead),
            "prospect": prospect_of(self.room, ahead),
            "part": part_of(self.room, place),
            "ticket": gate.ticket_of(ring, joined.place) if joined else "",
            "receipt": gate.receipt_text(ring, joined.receipt) if joined else "",
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)


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

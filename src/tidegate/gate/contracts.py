"""What others may know of waiting rooms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct

from tidegate.platform.ids import DropId, PersonId, PlaceId, RoomId
from tidegate.platform.problems import Problem


class RoomMode(StrEnum):
    """How a room gives numbers: a draw among those who came before it opens, or the order in which people came.

    The words are those of a drop's room (`catalog.contracts.Room`); a drop whose room is none has no room here.
    """

    DRAW = "draw"
    ARRIVAL = "arrival"


class Phase(StrEnum):
    """scheduled -> lobby -> open <-> sold_out; all of them -> closed."""

    SCHEDULED = "scheduled"
    LOBBY = "lobby"
    OPEN = "open"
    SOLD_OUT = "sold_out"
    CLOSED = "closed"


class PlaceState(StrEnum):
    """waiting -> admitted -> (spent | expired); waiting | admitted -> left; left | expired -> waiting, at the end."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    SPENT = "spent"
    EXPIRED = "expired"
    LEFT = "left"


class Room(Struct, frozen=True):
    """A room as it stands; times are the database's, counts are places.

    `size`: entries in its log. `cut`: how many of them there were when it opened, None before. `serving`: numbers below
    it may buy; numbers begin with 1. `pace_per_s`: how many people are let in per second of late. `stock_left`: items
    that nobody has, None while nobody has said so. `seed`, `beacon` and `cut_root` are what the draw was made of;
    `cut_at` and `beacon_at` are when the log was cut and the beacon's value taken.
    """

    id: RoomId
    drop_id: DropId
    slug: str
    mode: RoomMode
    guests: bool
    phase: Phase
    paused: bool
    lobby_opens_at: datetime
    opens_at: datetime
    size: int
    cut: int | None
    serving: int
    pace_per_s: float
    stock_left: int | None
    commitment: bytes
    seed: bytes | None
    beacon_source: str
    beacon: str | None
    root: bytes
    cut_root: bytes | None
    drawn_at: datetime | None
    message: str = ""
    """What staff say to all who wait."""
    entries_gone: bool = False
    """Whether the room is over for so long that its entries are no longer kept."""
    cut_at: datetime | None = None
    beacon_at: datetime | None = None

    @property
    def awaits_value(self) -> bool:
        """Whether it has opened and is drawn when its beacon's value is there."""
        return self.cut is not None and not self.has_numbers and self.beacon is None and self.phase is not Phase.CLOSED

    @property
    def has_numbers(self) -> bool:
        """Whether every place has a number by now: at once in order of arrival, else once it is drawn."""
        return self.mode is RoomMode.ARRIVAL or self.drawn_at is not None

    @property
    def may_admit(self) -> bool:
        """Whether people may be let in now, as far as the room is concerned."""
        return self.phase is Phase.OPEN and not self.paused and self.has_numbers


class Place(Struct, frozen=True):
    """Somebody's place. `number` is where they stand in line, None until it is drawn; `joins`: how often they joined.

    `index` is the place's entry in the room's log, which changes when somebody comes back at the end.
    """

    id: PlaceId
    room_id: RoomId
    buyer_id: PersonId
    index: int
    number: int | None
    state: PlaceState
    joins: int
    admitted_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a join is answered with, for the draw's proof: entry `index` is in the log whose first `size` entries have
    this `root`.
    """

    room_id: RoomId
    index: int
    entry: bytes
    size: int
    root: bytes


class Pass(Struct, frozen=True):
    """Whose turn it is, where, and until when (Unix time)."""

    drop_id: DropId
    place_id: PlaceId
    buyer_id: PersonId
    ends_s: int

    @property
    def ends_at(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.ends_s, UTC)


class PollAnswer(Struct, frozen=True):
    """How a client works out when to ask again; `gate.next_poll_s` is the rule."""

    near_s: int
    far_s: int
    per_s: float
    jitter: float


class OpenDraw(Struct, frozen=True):
    """What everybody computes their own number from: `seed` and `root` in hexadecimal digits, as `draw` has them."""

    seed: str
    root: str
    beacon: str | None
    size: int


class StatusAnswer(Struct, frozen=True, omit_defaults=True):
    """What everybody may know of a room. Numbers below `serving` may buy; `left` is what is left of the goods.

    `joined` is how many entries the room has, so the last number in line. `pace_per_s`: people let in per second of
    late. `message`: what staff say to all who wait. `draw`: while the room is open and lots were drawn; with it and the
    `index` of their join nobody has to ask for their number. `room`: which room this is, as the join's receipt has it;
    a drop that is opened anew has another, and places of the earlier one are none here.
    """

    room: str
    phase: str
    mode: str
    lobby_opens_at: str
    opens_at: str
    drawn: bool
    serving: int
    pace_per_s: float
    joined: int
    left: int | None
    paused: bool
    message: str
    poll: PollAnswer
    at: str
    draw: OpenDraw | None = None


class RoomUnknown(Problem):
    """There is no waiting room here."""

    slug = "room-unknown"
    status = 404


class RoomExists(Problem):
    """This drop has a waiting room already."""

    slug = "room-exists"
    status = 409


class LobbyNotOpen(Problem):
    """The lobby of this drop has not opened yet."""

    slug = "lobby-not-open"
    status = 409


class RoomClosed(Problem):
    """This waiting room is closed."""

    slug = "room-closed"
    status = 409


class RoomSoldOut(Problem):
    """Everything is sold, so nobody can join this waiting room any more."""

    slug = "room-sold-out"
    status = 409


class AccountNeeded(Problem):
    """This waiting room is for people with an account: sign in, then join."""

    slug = "account-needed"
    status = 403


class JoinedTooOften(Problem):
    """You have left this waiting room and come back as often as is possible."""

    slug = "joined-too-often"
    status = 409


class TicketNotGood(Problem):
    """This ticket is not good for that place. Join again while signed in: you get your place and its ticket back."""

    slug = "ticket-not-good"
    status = 403


class PlaceUnknown(Problem):
    """There is no such place."""

    slug = "place-unknown"
    status = 404


class NotDrawnYet(Problem):
    """This is public once the lots are drawn."""

    slug = "not-drawn-yet"
    status = 409


class EntriesGone(Problem):
    """The entries of this draw are no longer kept: it is over for too long."""

    slug = "entries-gone"
    status = 410


class ValueTooEarly(Problem):
    """The value of a draw is drawn and typed in right after its room has opened, not before."""

    slug = "value-too-early"
    status = 409


class DrawIsOver(Problem):
    """The lots are drawn, so nothing that went into the draw can be changed."""

    slug = "draw-is-over"
    status = 409


class PassRequired(Problem):
    """This drop sells to people whose turn it is: join its room and send your pass."""

    slug = "pass-required"
    status = 409


class PassForeign(Problem):
    """This pass is somebody else's, for another drop, or not one that this shop gave."""

    slug = "pass-foreign"
    status = 403


class PassExpired(Problem):
    """This pass is over, by its time or with its place: join the room again for a place at the end of the line."""

    slug = "pass-expired"
    status = 409


class PassSpent(Problem):
    """This pass has been used."""

    slug = "pass-spent"
    status = 409


class ShopKeyNotGood(Problem):
    """This needs a token that the shop of this room signed within the last minutes."""

    slug = "shop-key-not-good"
    status = 401

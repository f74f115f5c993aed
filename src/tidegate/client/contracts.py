"""What the shop's API says of waiting rooms. Fields that a newer shop adds are passed over."""

from __future__ import annotations

import base64
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class Phase(StrEnum):
    """scheduled -> lobby -> open <-> sold_out; all of them -> closed."""

    SCHEDULED = "scheduled"
    LOBBY = "lobby"
    OPEN = "open"
    SOLD_OUT = "sold_out"
    CLOSED = "closed"


class PlaceState(StrEnum):
    """waiting -> admitted -> (spent | expired); waiting | admitted -> left."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    SPENT = "spent"
    EXPIRED = "expired"
    LEFT = "left"


class Poll(msgspec.Struct, frozen=True):
    """How to work out when to ask again; `next_poll_s` is the rule. Times in seconds, `per_s` in places a second."""

    near_s: float
    far_s: float
    per_s: float
    jitter: float


class Drawn(msgspec.Struct, frozen=True):
    """What everybody's number follows from: `seed` and `root` in hexadecimal digits, and how many were drawn."""

    seed: str
    root: str
    beacon: str | None
    size: int


class Status(msgspec.Struct, frozen=True):
    """A room as everybody may know it. Numbers below `serving` may buy; `left` is what is left of the goods.

    `at` is the shop's own clock when it said so. `draw`: while the room is open and lots were drawn. `room`: which room
    of the drop this is; one that is opened anew has another. None from shops that do not say.
    """

    phase: Phase
    mode: str
    lobby_opens_at: datetime
    opens_at: datetime
    drawn: bool
    serving: int
    joined: int
    left: int | None
    paused: bool
    poll: Poll
    at: datetime
    message: str = ""
    draw: Drawn | None = None
    room: UUID | None = None


class Joined(msgspec.Struct, frozen=True):
    """A place, and what shows whose it is. Keep all of it: `WaitingRoom(..., joined=...)` goes on from there.

    `receipt` is signed and names nobody: with it the draw can be checked afterwards (`tidegate verify-draw --receipt`).
    """

    id: UUID
    ticket: str
    number: int | None
    index: int
    receipt: str

    @property
    def room(self) -> UUID | None:
        """The room that the receipt is of; None where it cannot be read."""
        try:
            payload = self.receipt.split(".")[2]
            return UUID(bytes=base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))[:16])
        except (IndexError, ValueError):
            return None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place as it stands. `admission` is the pass that buys, while it is this person's turn."""

    id: UUID
    number: int | None
    state: PlaceState
    admission: str | None = msgspec.field(name="pass", default=None)


class Turn(msgspec.Struct, frozen=True):
    """It is this person's turn until `ends_at`: buy with the header `Tidegate-Pass` set to `admission`."""

    place: Place
    admission: str
    ends_at: datetime

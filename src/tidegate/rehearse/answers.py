"""What of the shop's answers a shopper needs."""

from __future__ import annotations

import msgspec

from tidegate.client import Status
from tidegate.gate import Draw, draw_key


class Session(msgspec.Struct, frozen=True):
    """What of a new session is needed."""

    token: str


class JoinedPlace(msgspec.Struct, frozen=True):
    """What of a join's answer is needed."""

    id: str
    ticket: str
    number: int | None
    index: int


class Drawn(msgspec.Struct, frozen=True):
    """What one's number is computed from."""

    seed: str
    root: str
    beacon: str | None
    size: int

    def order(self) -> Draw:
        """The order that was drawn."""
        return Draw(draw_key(bytes.fromhex(self.seed), root=bytes.fromhex(self.root), beacon=self.beacon), self.size)


class RoomStatus(Status, frozen=True):
    """A room's status with its draw."""

    draw: Drawn | None = None

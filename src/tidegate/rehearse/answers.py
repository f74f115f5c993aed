"""What of the shop's answers a shopper needs."""

from __future__ import annotations

import msgspec

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
    """What of a draw is needed to compute one's number."""

    seed: str | None
    root: str | None
    beacon: str | None
    size: int | None

    def order(self) -> Draw | None:
        """The order that was drawn; None before."""
        if self.seed is None or self.root is None or self.size is None:
            return None
        return Draw(draw_key(bytes.fromhex(self.seed), root=bytes.fromhex(self.root), beacon=self.beacon), self.size)

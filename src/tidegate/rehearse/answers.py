"""What of the shop's answers a shopper needs."""

from __future__ import annotations

import msgspec

from tidegate.client import Drawn
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


def order_of(drawn: Drawn) -> Draw:
    """The order that was drawn, ready for a whole crowd."""
    return Draw(draw_key(bytes.fromhex(drawn.seed), root=bytes.fromhex(drawn.root), beacon=drawn.beacon), drawn.size)

"""Identifiers: time-ordered UUIDv7, one type per kind of thing."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import NewType
from uuid import UUID

from uuid_utils.compat import uuid7

PersonId = NewType("PersonId", UUID)
ProductId = NewType("ProductId", UUID)
VariantId = NewType("VariantId", UUID)
DropId = NewType("DropId", UUID)
HoldId = NewType("HoldId", UUID)
OrderId = NewType("OrderId", UUID)
EventId = NewType("EventId", UUID)
VoucherId = NewType("VoucherId", UUID)
RoomId = NewType("RoomId", UUID)
PlaceId = NewType("PlaceId", UUID)

NO_DROP = DropId(UUID(int=0))
"""Stands for "no drop" in keys, so that they need no NULL."""

NO_VOUCHER = VoucherId(UUID(int=0))
"""Likewise for "no voucher"."""

ANYONE = PersonId(UUID(int=0))
"""Stands for all buyers together where a limit counts them all."""


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then randomness, increasing within a process."""
    return uuid7()


BY_NUMBER = attrgetter("int")
"""Sorts ids as they sort themselves: comparing them takes Python several steps each."""


def id_floor(moment: datetime) -> UUID:
    """The smallest UUID whose time is `moment` (milliseconds), or that of 1970 before it: a partition's bound."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def parse_id(text: str) -> UUID | None:
    """The UUID that `text` spells, or None: an id that cannot exist is an id that is not found."""
    try:
        return UUID(text)
    except ValueError:
        return None

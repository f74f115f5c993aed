"""Tickets: whose place it is. One is good only together with its owner's session, so a stolen one opens nothing."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

from tidegate.gate.contracts import Place
from tidegate.gate.signing import KeyRing
from tidegate.platform.ids import PersonId, PlaceId, RoomId

TICKET = "tgt1"

ENTRY_LABEL = b"tidegate-entry-v1"
TICKET_BYTES = 48


def entry_of(place_id: PlaceId, joins: int) -> bytes:
    """The entry of the log that a place has since its owner joined for the `joins`-th time.

    A pseudonym: who knows the place's id knows its entries, and from an entry nobody learns the place.
    """
    return sha256(ENTRY_LABEL + place_id.bytes + joins.to_bytes(4, "big")).digest()


def ticket_of(ring: KeyRing, place: Place) -> str:
    """The ticket of a place: the same to the letter as long as the same key signs."""
    return ring.stamp(TICKET, place.room_id.bytes + place.id.bytes + place.buyer_id.bytes)


def claim_of(ring: KeyRing, ticket: str, *, place_id: PlaceId) -> tuple[RoomId, PersonId] | None:
    """The room of a ticket that was given for this place, and to whom; None for any other."""
    payload = ring.open_stamped(TICKET, ticket)
    if payload is None or len(payload) != TICKET_BYTES or payload[16:32] != place_id.bytes:
        return None
    return RoomId(UUID(bytes=payload[:16])), PersonId(UUID(bytes=payload[32:]))

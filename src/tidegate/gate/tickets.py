"""Tickets and receipts: what somebody who joined takes along.

A ticket says whose place it is; it is good only together with its owner's session, so a stolen one opens nothing. A
receipt says that an entry is in the log under a root; it names nobody, and anybody can check it.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from uuid import UUID

from tidegate.gate.contracts import Place, Receipt
from tidegate.gate.signing import KeyRing
from tidegate.platform.ids import PersonId, PlaceId, RoomId

TICKET = "tgt1"
RECEIPT = "tgr1"

ENTRY_LABEL = b"tidegate-entry-v1"
RECEIPT_FORMAT = struct.Struct(">16sQ32sQ32s")
TICKET_BYTES = 48


def entry_of(place_id: PlaceId, joins: int) -> bytes:
    """The entry of the log that a place has since its owner joined for the `joins`-th time.

    A pseudonym: who knows the place's id knows its entries, and from an entry nobody learns the place.
    """
    return sha256(ENTRY_LABEL + place_id.bytes + joins.to_bytes(4, "big")).digest()


def ticket_of(ring: KeyRing, place: Place) -> str:
    """The ticket of a place: the same to the letter as long as the same key signs."""
    return ring.stamp(TICKET, place.room_id.bytes + place.id.bytes + place.buyer_id.bytes)


def room_of_ticket(ring: KeyRing, ticket: str, *, place_id: PlaceId, buyer_id: PersonId) -> RoomId | None:
    """The room of a ticket that was given for this place to this person; None for any other."""
    payload = ring.open_stamped(TICKET, ticket)
    if payload is None or len(payload) != TICKET_BYTES or payload[16:] != place_id.bytes + buyer_id.bytes:
        return None
    return RoomId(UUID(bytes=payload[:16]))


def receipt_text(ring: KeyRing, receipt: Receipt) -> str:
    """A receipt as its owner keeps it."""
    return ring.sign(
        RECEIPT,
        RECEIPT_FORMAT.pack(receipt.room_id.bytes, receipt.index, receipt.entry, receipt.size, receipt.root),
    )


def read_receipt(ring: KeyRing, text: str) -> Receipt | None:
    """The receipt that was signed, else None."""
    payload = ring.open_signed(RECEIPT, text)
    if payload is None or len(payload) != RECEIPT_FORMAT.size:
        return None
    room_id, index, entry, size, root = RECEIPT_FORMAT.unpack(payload)
    return Receipt(RoomId(UUID(bytes=room_id)), index, entry, size, root)

"""Receipts: that an entry is in the log under a root, signed, and naming nobody."""

from __future__ import annotations

import struct
from uuid import UUID

from tidegate.gate.contracts import Receipt
from tidegate.gate.signing import KeyRing, claimed
from tidegate.platform.ids import RoomId

KIND = "tgr1"
FORMAT = struct.Struct(">16sQ32sQ32s")
"""Room, index, entry, size, root."""


def receipt_text(ring: KeyRing, receipt: Receipt) -> str:
    """A receipt as its owner keeps it."""
    packed = FORMAT.pack(receipt.room_id.bytes, receipt.index, receipt.entry, receipt.size, receipt.root)
    return ring.sign(KIND, packed)


def read_receipt(ring: KeyRing, text: str) -> Receipt | None:
    """The receipt that was signed, else None."""
    return _unpacked(ring.open_signed(KIND, text))


def read_claim(text: str) -> Receipt | None:
    """What a receipt says, without a look at its signature: to be compared with what is public. None for no receipt."""
    return _unpacked(claimed(KIND, text))


def _unpacked(payload: bytes | None) -> Receipt | None:
    if payload is None or len(payload) != FORMAT.size:
        return None
    room_id, index, entry, size, root = FORMAT.unpack(payload)
    return Receipt(RoomId(UUID(bytes=room_id)), index, entry, size, root)

"""Receipts: that an entry is in the log under a root, signed, and naming nobody.

A signature takes as long as all else in a join's answer, so a batch of joins shares one (`KeyRing.sign_many`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tidegate.gate.contracts import Receipt
from tidegate.gate.signing import KeyRing, claimed, open_one_of_many
from tidegate.platform.ids import RoomId

KIND = "tgr1"
FORMAT = struct.Struct(">16sQ32sQ32s")
"""Room, index, entry, size, root."""


class Sheet:
    """The receipts of one batch of joins, written and signed when the first of them is asked for."""

    __slots__ = ("_receipts", "_texts")

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._receipts = receipts
        self._texts: list[str] = []

    def text(self, ring: KeyRing, line: int) -> str:
        """The receipt on that line, as its owner keeps it."""
        if not self._texts:
            self._texts = ring.sign_many(KIND, [_packed(receipt) for receipt in self._receipts])
        return self._texts[line]


def receipt_text(ring: KeyRing, receipt: Receipt) -> str:
    """A receipt that stands alone, as its owner keeps it."""
    return Sheet([receipt]).text(ring, 0)


def read_receipt(ring: KeyRing, text: str) -> Receipt | None:
    """The receipt that was signed, else None."""
    return _unpacked(ring.open_one_of_many(KIND, text))


def is_signed(text: str, keys: Mapping[str, Ed25519PublicKey]) -> bool:
    """Whether one of these keys, by their ids, signed a receipt."""
    return open_one_of_many(KIND, text, keys) is not None


def read_claim(text: str) -> Receipt | None:
    """What a receipt says, without a look at its signature: to be compared with what is public. None for no receipt."""
    return _unpacked(claimed(KIND, text))


def _packed(receipt: Receipt) -> bytes:
    return FORMAT.pack(receipt.room_id.bytes, receipt.index, receipt.entry, receipt.size, receipt.root)


def _unpacked(payload: bytes | None) -> Receipt | None:
    if payload is None or len(payload) != FORMAT.size:
        return None
    room_id, index, entry, size, root = FORMAT.unpack(payload)
    return Receipt(RoomId(UUID(bytes=room_id)), index, entry, size, root)

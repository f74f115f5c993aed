"""The draw: a keyed permutation of the entries' indices, computed for one entry at a time and never stored.

The key is HMAC-SHA-256(seed, root || beacon). A number is the index sent through a generalised Feistel network with
cycle walking (J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002): an index below N is split
into two digits to the base a = ceil(sqrt N), each round adds a function of one digit to the other modulo a, and a
result that is not below N goes through the network again, which keeps it a permutation of [0, N). The round function is
HMAC-SHA-256 of the round, N and the digit, so that a browser can compute it too. Ten rounds, as in NIST's FF1
(SP 800-38G); J. Patarin, "Security of balanced and unbalanced Feistel schemes with linear non equalities" (2010), shows
that a few more than the three of Luby and Rackoff make it indistinguishable from a random permutation.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from math import isqrt

from tidegate.gate.mac import Mac

ROUNDS = 10
LEAST_BASE = 4
"""Smallest base: with fewer than 16 pairs of digits too few networks exist to be uniform."""

LABEL = b"tidegate-draw-v1"


def commitment_of(seed: bytes) -> bytes:
    """What is published before the lobby opens: SHA-256 of the seed."""
    return sha256(seed).digest()


def draw_key(seed: bytes, *, root: bytes, beacon: str | None) -> bytes:
    """The key of a draw among the entries under `root`; a draw without a beacon has an empty one."""
    return hmac.digest(seed, root + (beacon or "").encode(), "sha256")


def digest_of(*, commitment: bytes, root: bytes, size: int, beacon_source: str, beacon: str | None) -> bytes:
    """One hash of all that a draw is made of but its seed, for printing where it cannot be changed."""
    parts = (LABEL, commitment, root, b"%d" % size, beacon_source.encode(), (beacon or "").encode())
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


@dataclass(frozen=True, slots=True)
class Draw:
    """The order that `key` gives to `size` entries. Indices count from 0 and numbers from 1."""

    key: bytes
    size: int
    base: int = field(init=False, repr=False, compare=False)
    """Of the two digits."""
    _mac: Mac = field(init=False, repr=False, compare=False)
    _labels: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    """What the text of each round begins with."""

    def __post_init__(self) -> None:
        size = self.size.to_bytes(8, "big")
        object.__setattr__(self, "base", max(LEAST_BASE, isqrt(self.size - 1) + 1) if self.size else LEAST_BASE)
        object.__setattr__(self, "_mac", Mac(self.key))
        object.__setattr__(self, "_labels", tuple(b"%s%c%s" % (LABEL, turn, size) for turn in range(ROUNDS)))

    def number(self, index: int) -> int:
        """The number of the entry at `index`."""
        assert 0 <= index < self.size, "only what was in the log at the cut is in the draw"
        found = self._forward(index)
        while found >= self.size:
            found = self._forward(found)
        return found + 1

    def index(self, number: int) -> int:
        """The entry that has `number`: the inverse of `number`."""
        assert 1 <= number <= self.size, "only numbers up to the cut are drawn"
        found = self._backward(number - 1)
        while found >= self.size:
            found = self._backward(found)
        return found

    def _forward(self, value: int) -> int:
        base = self.base
        left, right = divmod(value, base)
        for turn in range(ROUNDS):
            left, right = right, (left + self._round(turn, right)) % base
        return left * base + right

    def _backward(self, value: int) -> int:
        base = self.base
        left, right = divmod(value, base)
        for turn in reversed(range(ROUNDS)):
            left, right = (right - self._round(turn, left)) % base, left
        return left * base + right

    def _round(self, turn: int, digit: int) -> int:
        """128 bits of HMAC, so that taking them modulo a base is uniform to within 2^-64."""
        return int.from_bytes(self._mac.digest(self._labels[turn] + digit.to_bytes(8, "big"))[:16], "big")

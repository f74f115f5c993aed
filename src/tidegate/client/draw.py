"""A person's number, computed from what a room publishes at the draw: nobody has to ask for it.

docs/reference/draw.md says how; this is the same computation as the shop's, on its own.
"""

from __future__ import annotations

import hmac
from math import isqrt

from tidegate.client.contracts import Drawn

ROUNDS = 10
LEAST_BASE = 4
LABEL = b"tidegate-draw-v1"


def number_of(drawn: Drawn, index: int) -> int:
    """The number of the entry at `index`. Who joined after the draw stands in order of arrival."""
    if index >= drawn.size:
        return index + 1
    key = hmac.digest(bytes.fromhex(drawn.seed), bytes.fromhex(drawn.root) + (drawn.beacon or "").encode(), "sha256")
    base = max(LEAST_BASE, isqrt(drawn.size - 1) + 1)
    found = index
    while True:
        left, right = divmod(found, base)
        for turn in range(ROUNDS):
            text = b"%s%c%s%s" % (LABEL, turn, drawn.size.to_bytes(8, "big"), right.to_bytes(8, "big"))
            add = int.from_bytes(hmac.digest(key, text, "sha256")[:16], "big")
            left, right = right, (left + add) % base
        found = left * base + right
        if found < drawn.size:
            return found + 1

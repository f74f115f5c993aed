"""Where passes are shown: verified with the gate's public keys, which are read from the database now and then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from psycopg import AsyncCursor

from tidegate.gate.contracts import Pass
from tidegate.gate.passes import PassReader, key_of, pass_of
from tidegate.gate.signing import KeyRing, load_keys
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, PlaceId

READ_AGAIN_S = 1.0
"""Passes that name made-up keys have the keys read no oftener than this."""

KEEP_S = 60.0
"""A key that was retired is good no longer than this, where passes are shown."""

OWN = """
SELECT r.drop_id, p.id, p.expires_at FROM gate.rooms AS r JOIN gate.places AS p ON p.room_id = r.id
WHERE r.slug = %s AND r.phase <> 'closed' AND p.buyer_id = %s AND p.state = 'admitted'
    AND p.expires_at > clock_timestamp()
"""

OVER = """
SELECT p.id FROM gate.places AS p JOIN gate.rooms AS r ON r.id = p.room_id
WHERE p.id = ANY(%b) AND p.state <> 'spent' AND (p.state <> 'admitted' OR r.phase = 'closed')
"""
"""Places whose passes are good no more, whatever time they name. Whether one was spent, whoever spends it knows."""

AskedPlaces = AsyncCursor[tuple[Any, ...]] | None
"""What the database was asked about the places of passes; None where there were none."""


class PassDesk:
    """Verifies passes in one process."""

    def __init__(self) -> None:
        self._reader = PassReader({})
        self._keys: frozenset[str] = frozenset()
        self._read_s = -KEEP_S
        self._ring: KeyRing | None = None
        self._ring_s = 0.0

    async def prepare(self, conn: Connection, tokens: Sequence[str]) -> None:
        """Make sure that the keys which these passes name are known, if they exist. Without passes it does nothing."""
        if not tokens:
            return
        age_s = time.monotonic() - self._read_s
        known = all(self._reader.knows(token) or key_of(token) in self._keys for token in tokens)
        if age_s < (KEEP_S if known else READ_AGAIN_S):
            return
        self._read_s += age_s
        rows = await conn.execute("SELECT id, public_key FROM gate.signing_keys WHERE retired_at IS NULL")
        keys = {row[0]: Ed25519PublicKey.from_public_bytes(row[1]) for row in await rows.fetchall()}
        if self._keys != keys.keys():
            self._keys, self._reader = frozenset(keys), PassReader(keys)

    async def ask_over(self, conn: Connection, tokens: Sequence[str]) -> AskedPlaces:
        """Ask which of these passes outlived their places. In a pipeline this waits for nothing."""
        places = [held.place_id for held in map(self._reader.read, tokens) if held is not None]
        return await conn.execute(OVER, (places,), binary=True) if places else None

    async def own_pass(self, conn: Connection, *, drop: str, buyer_id: PersonId) -> str | None:
        """The pass of a buyer whose turn it is in the drop at the address `drop`; None when it is not.

        Pages need no other way for a pass to travel: whose turn it is is known by who they are.
        """
        rows = await conn.execute(OWN, (drop, buyer_id))
        row = await rows.fetchone()
        if row is None:
            return None
        now_s = time.monotonic()
        if self._ring is None or now_s - self._ring_s > KEEP_S:
            self._ring, self._ring_s = await load_keys(conn), now_s
        return pass_of(self._ring, drop_id=row[0], place_id=row[1], buyer_id=buyer_id, ends_at=row[2])

    def look_at(self, token: str | None) -> None:
        """Verify a pass now, so that no batch waits for its signature to be checked."""
        if token:
            self._reader.read(token)

    def read(self, token: str) -> Pass | None:
        """What a pass says; None when no known key signed it."""
        return self._reader.read(token)


async def read_over(asked: AskedPlaces) -> frozenset[PlaceId]:
    """Places that were given up or left behind by their room's end: whoever was let in there buys no more."""
    return frozenset() if asked is None else frozenset(row[0] for row in await asked.fetchall())

"""Rooms with people in them, for tests of admission: rows as the gate would have written them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.servers import TestCluster
from tidegate.gate.contracts import Pass
from tidegate.gate.passes import sign_pass
from tidegate.gate.signing import SECRET_COLUMN
from tidegate.platform.database import Connection
from tidegate.platform.ids import DropId, PersonId, PlaceId, RoomId, new_id
from tidegate.platform.sealing import current_sealer

KEY_ID = "testkey1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def database_url(cluster: TestCluster) -> Iterator[str]:
    """A fresh database: tests of selling leave goods behind, which the gate's own do not."""
    url = cluster.borrow()
    yield url
    cluster.give_back(url)


async def a_key(conn: Connection) -> None:
    """Let `KEY` be one of the gate's."""
    secret = base64.urlsafe_b64encode(KEY.private_bytes_raw()).rstrip(b"=").decode()
    await conn.execute(
        "INSERT INTO gate.signing_keys (id, public_key, secret_sealed, made_at) VALUES (%s, %s, %s, '2026-01-01Z')",
        (KEY_ID, KEY.public_key().public_bytes_raw(), current_sealer().seal(secret, column=SECRET_COLUMN)),
    )


async def a_room(
    conn: Connection, *, slug: str, buyers: Sequence[PersonId] = (), phase: str = "open", mode: str = "arrival"
) -> tuple[RoomId, DropId, list[PlaceId]]:
    """Give the drop at `slug` a room in which `buyers` wait in this order."""
    rows = await conn.execute("UPDATE catalog.drops SET room = %s WHERE slug = %s RETURNING id", (mode, slug))
    row = await rows.fetchone()
    assert row is not None
    room_id, drop_id = RoomId(new_id()), DropId(row[0])
    size, bits = len(buyers), len(buyers).bit_count()
    await conn.execute(
        "INSERT INTO gate.rooms (id, drop_id, slug, mode, phase, lobby_opens_at, opens_at, commitment, root, size,"
        " frontier, cut, cut_root, cut_at, seed, drawn_at)"
        " VALUES (%(id)s, %(drop)s, %(slug)s, %(mode)s, %(phase)s, now() - interval '1 hour', now(), %(hash)s,"
        " %(zero)s, %(size)s, %(frontier)s, %(size)s, %(zero)s, now(), %(zero)s, now())",
        {
            "id": room_id,
            "drop": drop_id,
            "slug": slug,
            "mode": mode,
            "phase": phase,
            "zero": bytes(32),
            "hash": sha256(bytes(32)).digest(),
            "size": size,
            "frontier": b"".join(sha256(bytes([bit])).digest() for bit in range(bits)),
        },
    )
    places = [PlaceId(new_id()) for _ in buyers]
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO gate.places (id, room_id, buyer_id, index) VALUES (%s, %s, %s, %s)",
            [(place, room_id, buyer, index) for index, (place, buyer) in enumerate(zip(places, buyers, strict=True))],
        )
    return room_id, drop_id, places


def a_pass(drop_id: DropId, place_id: PlaceId, buyer_id: PersonId, *, in_s: float = 120.0) -> str:
    """A pass that ends in so many seconds."""
    ends_s = int((datetime.now(UTC) + timedelta(seconds=in_s)).timestamp())
    return sign_pass(Pass(drop_id, place_id, buyer_id, ends_s), key_id=KEY_ID, key=KEY)

"""The entries of a room's log for those who check a draw: all of them page by page, or the proof of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.gate.contracts import EntriesGone, NotDrawnYet, Room, RoomUnknown
from tidegate.gate.log import BLOCK, HASH_BYTES, consistency_proof, inclusion_proof, leaf_hash, root_of
from tidegate.gate.messages import ConsistencyAnswer, ProofAnswer
from tidegate.gate.rooms import find_room
from tidegate.gate.rules import draw_of, number_of
from tidegate.gate.tickets import entry_of
from tidegate.platform.database import Connection
from tidegate.platform.ids import RoomId
from tidegate.platform.problems import InvalidRequest, NotFound, Overloaded

if TYPE_CHECKING:
    from tidegate.gate.places import Joined
    from tidegate.gate.running import Gate

CHUNK = 2_000
"""Entries read and hashed at once: a few milliseconds, after which others have their turn."""

DOWNLOAD_AGAIN_S = 10
PROOF_AGAIN_S = 2

ENTRIES = """
SELECT index, id, joins, NULL::bytea FROM gate.places
WHERE room_id = %(room)s AND index >= %(start)s AND index < %(end)s
UNION ALL
SELECT index, NULL, NULL, entry FROM gate.former_entries
WHERE room_id = %(room)s AND index >= %(start)s AND index < %(end)s
ORDER BY index
"""


class EntriesLost(Exception):
    """The log has fewer entries than its size says: a bug, or somebody deleted rows."""


@dataclass(frozen=True, slots=True)
class EntriesPage:
    """Entries `start` to `end` (not included) of the `size` that were drawn from."""

    room_id: RoomId
    start: int
    end: int
    size: int

    @classmethod
    def of(cls, room: Room, start: str, *, most: int) -> EntriesPage:
        """The page that begins at `start`. Raises: NotDrawnYet; EntriesGone; InvalidRequest for no entry's number."""
        if room.cut is None or not room.has_numbers:
            raise NotDrawnYet()
        if room.entries_gone:
            raise EntriesGone()
        if not (start.isascii() and start.isdigit() and len(start) < 16) or not 0 <= int(start) <= room.cut:
            raise InvalidRequest(f"`from` is a whole number from 0 to {room.cut}.")
        return cls(room.id, int(start), min(int(start) + most, room.cut), room.cut)


async def read_entries(conn: Connection, *, room_id: RoomId, start: int, end: int) -> list[bytes]:
    """Entries `start` to `end` (not included), in their order. Raises: EntriesLost."""
    rows = await conn.execute(ENTRIES, {"room": room_id, "start": start, "end": end})
    found = {
        index: entry_of(place_id, joins) if entry is None else entry
        for index, place_id, joins, entry in await rows.fetchall()
    }
    if len(found) < end - start:
        found |= await _kept(conn, room_id=room_id, start=start, end=end)
    try:
        return [found[index] for index in range(start, end)]
    except KeyError as missing:
        raise EntriesLost(f"{missing} of {start} to {end}") from None


async def _kept(conn: Connection, *, room_id: RoomId, start: int, end: int) -> dict[int, bytes]:
    """Entries whose places have left by now; asked for after the places, which leave in between."""
    rows = await conn.execute(
        "SELECT block, entries FROM gate.kept_entries WHERE room_id = %s AND block BETWEEN %s AND %s",
        (room_id, start // BLOCK, (end - 1) // BLOCK),
    )
    return {
        block * BLOCK + at // HASH_BYTES: entries[at : at + HASH_BYTES]
        for block, entries in await rows.fetchall()
        for at in range(0, len(entries), HASH_BYTES)
    }


def open_entries(gate: Gate, page: EntriesPage) -> AsyncIterator[bytes]:
    """The entries of a page as lines. Raises: Overloaded when as many downloads as may be are under way."""
    if gate.downloads.locked():
        raise Overloaded(retry_after_s=DOWNLOAD_AGAIN_S)
    return _lines(gate, page)


async def _lines(gate: Gate, page: EntriesPage) -> AsyncIterator[bytes]:
    async with gate.downloads:
        for start in range(page.start, page.end, CHUNK):
            end = min(start + CHUNK, page.end)
            async with gate.database.connection() as conn:
                entries = await read_entries(conn, room_id=page.room_id, start=start, end=end)
            yield b"".join(b"%s\n" % entry.hex().encode() for entry in entries)


async def prove(conn: Connection, joined: Joined) -> ProofAnswer:
    """The proof that a place's entry was drawn from. Raises: NotDrawnYet, also for somebody who came after the draw."""
    room, index = joined.room, joined.place.index
    if room.cut is None or index >= room.cut:
        raise NotDrawnYet()
    return await prove_entry(conn, room, index)


async def prove_publicly(gate: Gate, room: Room, index: str) -> ProofAnswer:
    """The proof of entry `index`, for whoever asks; as many at once as may be.

    Raises: NotDrawnYet; NotFound for what is not the index of an entry that was drawn from; Overloaded.
    """
    if room.cut is None or not room.has_numbers:
        raise NotDrawnYet()
    if not (index.isascii() and index.isdigit() and len(index) < 16) or int(index) >= room.cut:
        raise NotFound()
    if gate.proofs.locked():
        raise Overloaded(retry_after_s=PROOF_AGAIN_S)
    async with gate.proofs, gate.database.connection() as conn:
        return await prove_entry(conn, room, int(index))


async def prove_entry(conn: Connection, room: Room, index: int) -> ProofAnswer:
    """The proof that entry `index` was drawn from: reads one block of entries and the hashes of the others.

    Raises: NotDrawnYet, EntriesGone.
    """
    if room.cut is None or room.cut_root is None or not room.has_numbers:
        raise NotDrawnYet()
    if room.entries_gone:
        raise EntriesGone()
    number = number_of(room, index, draw=draw_of(room))
    assert number is not None, "everybody has a number after the draw"
    entries, blocks = await _read_hashes(conn, room, block=index // BLOCK, size=room.cut)
    leaves = [leaf_hash(entry) for entry in entries]
    proof = inclusion_proof(index, room.cut, block=leaves, blocks=blocks)
    return ProofAnswer(
        index=index,
        entry=entries[index % BLOCK].hex(),
        size=room.cut,
        proof=[sibling.hex() for sibling in proof],
        root=room.cut_root.hex(),
        number=number,
    )


async def prove_grown(gate: Gate, slug: str, size: str) -> ConsistencyAnswer:
    """The proof that the log of `size` entries and the one that was drawn from have the same beginning.

    Raises: RoomUnknown; NotDrawnYet, also for a room that opened without places; NotFound for a log that never was;
    EntriesGone; Overloaded.
    """
    if gate.proofs.locked():
        raise Overloaded(retry_after_s=PROOF_AGAIN_S)
    async with gate.proofs, gate.database.connection() as conn:
        room = await find_room(conn, slug=slug)  # as it is now: a receipt may be younger than what is kept
        if room is None:
            raise RoomUnknown()
        if not room.cut or not room.has_numbers:
            raise NotDrawnYet()
        if room.entries_gone:
            raise EntriesGone()
        if not (size.isascii() and size.isdigit() and len(size) < 16) or not 1 <= int(size) <= room.size:
            raise NotFound()
        first, second = sorted((int(size), room.cut))
        entries, blocks = await _read_hashes(conn, room, block=first // BLOCK, size=second)
        block = [leaf_hash(entry) for entry in entries] if first % BLOCK else []
        proof = consistency_proof(first, second, block=block, blocks=blocks)
    return ConsistencyAnswer(first, second, [node.hex() for node in proof])


async def _read_hashes(conn: Connection, room: Room, *, block: int, size: int) -> tuple[list[bytes], list[bytes]]:
    """The entries of a block, and the hashes of all blocks, of the log's first `size` entries."""
    last = (size - 1) // BLOCK
    entries = await read_entries(conn, room_id=room.id, start=block * BLOCK, end=min((block + 1) * BLOCK, size))
    rows = await conn.execute(
        "SELECT hash FROM gate.log_blocks WHERE room_id = %s AND block < %s ORDER BY block",
        (room.id, size // BLOCK),
    )
    blocks = [row[0] for row in await rows.fetchall()]
    if size % BLOCK:
        rest = entries if block == last else await read_entries(conn, room_id=room.id, start=last * BLOCK, end=size)
        blocks.append(root_of([leaf_hash(entry) for entry in rest]))
    return entries, blocks

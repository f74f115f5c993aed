"""The books of waiting rooms."""

from __future__ import annotations

from tidegate.platform.invariants import Invariant

ROOM_LOG_WHOLE = Invariant(
    name="room-log-whole",
    says="Every entry of a room's log belongs to a place, was given up for a later one, or left with an old room.",
    sql="""
    SELECT r.id AS room_id, r.size, r.cleared, coalesce(p.entries, 0) + coalesce(f.entries, 0) AS entries
    FROM gate.rooms AS r
    LEFT JOIN (SELECT room_id, count(*) AS entries FROM gate.places GROUP BY room_id) AS p ON p.room_id = r.id
    LEFT JOIN (SELECT room_id, count(*) AS entries FROM gate.former_entries GROUP BY room_id) AS f ON f.room_id = r.id
    WHERE r.size - r.cleared <> coalesce(p.entries, 0) + coalesce(f.entries, 0)
    """,
)

ROOM_INDEX_IN_LOG = Invariant(
    name="room-index-in-log",
    says="No place has an index beyond its room's log, or one that was given up.",
    sql="""
    SELECT p.room_id, p.id AS place_id, p.index FROM gate.places AS p JOIN gate.rooms AS r ON r.id = p.room_id
    WHERE p.index >= r.size
    UNION ALL
    SELECT p.room_id, p.id, p.index FROM gate.places AS p JOIN gate.former_entries AS f USING (room_id, index)
    """,
)

ROOM_SEED_KEPT = Invariant(
    name="room-seed-kept",
    says="A draw was made with the seed that the room had committed to before.",
    sql="SELECT id AS room_id FROM gate.rooms WHERE seed IS NOT NULL AND sha256(seed) <> commitment",
)

INVARIANTS = (ROOM_LOG_WHOLE, ROOM_INDEX_IN_LOG, ROOM_SEED_KEPT)
"""In the order in which they are shown."""

"""What is public of a draw."""

from __future__ import annotations

from datetime import UTC, datetime

from tidegate.gate.contracts import Room, RoomMode
from tidegate.gate.draw import LABEL, digest_of
from tidegate.gate.messages import DrawAnswer


def draw_answer(room: Room) -> DrawAnswer:
    """The draw of a room as far as it may be told: the commitment before, all of it once it is drawn."""
    ready = room.cut is not None and room.cut_root is not None and room.has_numbers
    drawn = room.drawn_at is not None
    digest = None
    if drawn and room.cut is not None and room.cut_root is not None:
        digest = digest_of(
            commitment=room.commitment,
            root=room.cut_root,
            size=room.cut,
            beacon_source=room.beacon_source,
            beacon=room.beacon,
        ).hex()
    return DrawAnswer(
        room=str(room.id),
        mode=room.mode.value,
        algorithm=LABEL.decode() if room.mode is RoomMode.DRAW else "arrival",
        commitment=room.commitment.hex(),
        beacon_source=room.beacon_source,
        opens_at=_moment(room.opens_at),
        assurance=_assurance(room, ready=ready),
        size=room.cut,
        root=None if room.cut_root is None else room.cut_root.hex(),
        beacon=room.beacon,
        seed=None if room.seed is None else room.seed.hex(),
        digest=digest,
        drawn_at=None if room.drawn_at is None else _moment(room.drawn_at),
        cut_at=None if room.cut_at is None else _moment(room.cut_at),
        beacon_at=None if room.beacon_at is None else _moment(room.beacon_at),
    )


def _assurance(room: Room, *, ready: bool) -> str:
    if not ready:
        return "pending"
    if room.mode is RoomMode.ARRIVAL:
        return "arrival"
    known_before = room.beacon_at is None or room.cut_at is None or room.beacon_at < room.cut_at
    return "reproducible" if known_before else "verifiable"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()

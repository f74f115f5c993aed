"""The status of a room: one small document, the same for everyone, made once a second and served from memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from math import ceil

import msgspec
from msgspec import Struct

from tidegate.gate.contracts import OpenDraw, Phase, PollAnswer, Room, RoomMode, StatusAnswer
from tidegate.platform.settings_gate import GateSettings

POLLS_ON_THE_WAY = 4
"""How often somebody asks on the way to the front when they follow the rule: at each quarter of what is left."""

LEAST_PER_S = 10.0
"""What `per_s` says before anybody was let in."""

JITTER = 0.3

ASKS_PER_S = 1_000
"""About how many ask for one room's status a second at most, of those who are far from the front. With few of them
everybody asks often, and so hears soon of a pause, a message, or that all of it is sold. How many look before the
lobby opens is not known."""


class KeptStatus(Struct, frozen=True):
    """A room and its document."""

    room: Room
    body: bytes
    etag: str


def status_of(room: Room, *, now: datetime, limits: GateSettings) -> StatusAnswer:
    """What everybody may know of a room; `now` is the database's."""
    per_s = round(max(room.pace_per_s * POLLS_ON_THE_WAY, LEAST_PER_S), 1)
    far_s = limits.poll_far_s
    if room.phase is not Phase.SCHEDULED:
        far_s = max(min(far_s, ceil(room.size / ASKS_PER_S)), limits.poll_near_s)
    near_s = limits.poll_near_s
    if room.phase is Phase.LOBBY or (room.phase is Phase.OPEN and not room.has_numbers):
        near_s = max(near_s, min(ceil(room.size / limits.poll_rush_per_s), far_s))
    return StatusAnswer(
        room=str(room.id),
        phase=room.phase.value,
        mode=room.mode.value,
        lobby_opens_at=_moment(room.lobby_opens_at),
        opens_at=_moment(room.opens_at),
        drawn=room.drawn_at is not None,
        serving=room.serving,
        pace_per_s=round(room.pace_per_s, 3),
        joined=room.size,
        left=0 if room.phase in (Phase.SOLD_OUT, Phase.CLOSED) else room.stock_left,
        paused=room.paused,
        message=room.message,
        poll=PollAnswer(near_s=near_s, far_s=far_s, per_s=per_s, jitter=JITTER),
        at=_moment(now),
        draw=_open_draw(room),
    )


def _open_draw(room: Room) -> OpenDraw | None:
    if room.phase is not Phase.OPEN or room.mode is not RoomMode.DRAW or room.drawn_at is None:
        return None
    if room.seed is None or room.cut_root is None or room.cut is None:
        return None
    return OpenDraw(room.seed.hex(), room.cut_root.hex(), room.beacon, room.cut)


def keep_statuses(rooms: Sequence[Room], *, now: datetime, limits: GateSettings) -> dict[str, KeptStatus]:
    """Documents by the drops' slugs; of a drop with several rooms the first one, which is its live or newest.

    The ETag is weak and leaves out `at`: nothing that matters has changed while only that differs.
    """
    kept: dict[str, KeptStatus] = {}
    for room in rooms:
        if room.slug not in kept:
            status = status_of(room, now=now, limits=limits)
            lasting = msgspec.json.encode(msgspec.structs.replace(status, at=""))
            etag = f'W/"{sha256(lasting).hexdigest()[:16]}"'
            kept[room.slug] = KeptStatus(room, msgspec.json.encode(status), etag)
    return kept


def next_poll_s(poll: PollAnswer, *, number: int | None, serving: int, opens_in_s: float, draw: float) -> float:
    """When a client should ask for the status again; `draw` is chance, 0 to 1. The rule that `poll` stands for.

    With a number: the distance to the front over `per_s`. Without one: a tenth of the time until the room opens. Both
    within `near_s` and `far_s`, give or take `jitter`.
    """
    far = max(number - serving, 0) / poll.per_s if number is not None else max(opens_in_s, 0.0) / 10
    return min(max(far, poll.near_s), poll.far_s) * (1 + poll.jitter * (2 * draw - 1))


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

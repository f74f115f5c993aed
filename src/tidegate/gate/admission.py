"""The line moves: one round of a room's admission, in the caller's transaction.

`begin_round` locks what belongs to the loop and says who is inside. The caller, who alone may know stock, tells
`end_round` what became of them and what is left; that decides how many enter, and writes all of it. Two schedulers at
once do no harm: the second one passes over a room whose row the first one has.

Order of locks: the room's row of `admissions`, the room, its places. Joins and leaving take the room before places too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from tidegate.gate.contracts import Phase, Room
from tidegate.gate.controller import Facts, Limits, Memory, begin, decide
from tidegate.gate.rooms import ROOM, room_of
from tidegate.gate.rules import draw_of, index_of
from tidegate.platform.database import Connection
from tidegate.platform.ids import DropId, PlaceId, RoomId
from tidegate.platform.settings_gate import AdmissionSettings

SCAN_MOST = 20_000
"""Most numbers that one round looks at: where many have left, the next round goes on."""

SCAN_LEAST = 16
"""Fewest numbers that are looked at at once; twice as many each time that too few of them wait."""

PACE_S = 10.0
"""Over how long `pace_per_s` is told."""

FINISH_WEIGHT = 0.02
"""Least weight of one round's people in how long people take."""

SPENT = "UPDATE gate.places SET state = 'spent' WHERE id = ANY(%s)"

EXPIRED = "UPDATE gate.places SET state = 'expired' WHERE id = ANY(%s) AND state = 'admitted'"

WAITING = """
SELECT w.index, p.id FROM unnest(%s::bigint[]) AS w (index)
CROSS JOIN LATERAL (
    SELECT id FROM gate.places AS p WHERE p.room_id = %s AND p.index = w.index AND p.state = 'waiting'
    OFFSET 0 FOR NO KEY UPDATE
) AS p
"""
"""One look into the index a number: asked plainly, the planner may read all places of the room instead."""

ADMIT = "UPDATE gate.places SET state = 'admitted', admitted_at = %s, expires_at = %s WHERE id = ANY(%s)"


class LiveRoom(Struct, frozen=True):
    """A room that is not closed."""

    id: RoomId
    drop_id: DropId
    slug: str
    phase: Phase


class Inside(Struct, frozen=True):
    """Somebody who was let in and, as far as the gate knows, has not spent their pass."""

    place_id: PlaceId
    admitted_at: datetime
    expires_at: datetime


class Round(Struct, frozen=True):
    """A round that has begun. `sold_before` is None in a room's first one."""

    room: Room
    memory: Memory | None
    sold_before: int | None
    speed_limit_per_s: float | None
    inside: tuple[Inside, ...]


class Spend(Struct, frozen=True):
    """Somebody inside spent their pass on a hold of `items`."""

    place_id: PlaceId
    items: int
    at: datetime


class Counts(Struct, frozen=True):
    """Items of the drop as they stand."""

    free: int
    held: int
    sold: int


class Engine(Struct, frozen=True):
    """The engine's slowest percent of holds, as measured at `at_s` (Unix time)."""

    p99_ms: float
    at_s: float


class Outcome(Struct, frozen=True):
    """What a round did, and how many are `inside` after it."""

    phase: Phase
    admitted: int
    spent: int
    expired: int
    inside: int
    serving: int


async def live_rooms(conn: Connection, *, limit: int) -> list[LiveRoom]:
    """Rooms that are not closed, those first whose turn to open came first."""
    rows = await conn.execute(
        "SELECT id, drop_id, slug, phase FROM gate.rooms WHERE phase <> 'closed' ORDER BY opens_at, id LIMIT %s",
        (limit,),
    )
    return [LiveRoom(row[0], row[1], row[2], Phase(row[3])) for row in await rows.fetchall()]


async def begin_round(conn: Connection, *, room_id: RoomId) -> Round | None:
    """Take an open room's round; None when another scheduler has it, or when it is not open."""
    await conn.execute("INSERT INTO gate.admissions (room_id) VALUES (%s) ON CONFLICT DO NOTHING", (room_id,))
    rows = await conn.execute(
        "SELECT memory::text, sold_before, speed_limit_per_min FROM gate.admissions WHERE room_id = %s"
        " FOR NO KEY UPDATE SKIP LOCKED",
        (room_id,),
    )
    taken = await rows.fetchone()
    if taken is None:
        return None
    rows = await conn.execute(
        f"SELECT {ROOM} FROM gate.rooms WHERE id = %s AND phase IN ('open', 'sold_out')",  # noqa: S608
        (room_id,),
    )
    row = await rows.fetchone()
    if row is None:
        return None
    places = await conn.execute(
        "SELECT id, admitted_at, expires_at FROM gate.places WHERE room_id = %s AND state = 'admitted'"
        " ORDER BY expires_at",
        (room_id,),
    )
    inside = tuple(Inside(*place) for place in await places.fetchall())
    memory = None if taken[0] is None else msgspec.json.decode(taken[0], type=Memory)
    limit = None if taken[2] is None else taken[2] / 60.0
    return Round(room_of(row), memory, taken[1], limit, inside)


async def end_round(
    conn: Connection,
    taken: Round,
    *,
    spends: Sequence[Spend],
    counts: Counts,
    per_buyer: int,
    engine: Engine | None,
    settings: AdmissionSettings,
) -> Outcome:
    """Note what became of those inside, let the next ones in, and say whether anything is left.

    `counts` must have been read after `spends`: then somebody who takes something in between counts twice, and never
    not at all.
    """
    rows = await conn.execute(
        f"SELECT {ROOM}, clock_timestamp() FROM gate.rooms WHERE id = %s FOR NO KEY UPDATE",  # noqa: S608
        (taken.room.id,),
    )
    row = await rows.fetchone()
    assert row is not None, "rooms are not deleted"
    room, now = room_of(row), row[-1]
    limits = Limits(per_buyer, settings.start_per_s, settings.objective_ms, taken.speed_limit_per_s)
    memory = taken.memory or begin(limits)
    over = now - timedelta(seconds=settings.grace_s)
    gone = {spend.place_id for spend in spends}
    late = [each.place_id for each in taken.inside if each.expires_at <= over and each.place_id not in gone]
    memory = _learn(memory, taken, spends, absent=len(late), counts=counts)
    if gone:
        await conn.execute(SPENT, (list(gone),))
    if late:
        await conn.execute(EXPIRED, (late,))
    inside = len(taken.inside) - len(gone) - len(late)
    admitted, serving, reach = 0, room.serving, None
    phase = _phase(room, counts)
    may_admit = phase is Phase.OPEN and room.has_numbers and not room.paused
    if may_admit:
        facts = Facts(
            now_s=now.timestamp(),
            free=counts.free,
            held=counts.held,
            inside=inside,
            waiting=min(max(room.size + 1 - serving, 0), max(settings.inside_max - inside, 0)),
            engine_p99_ms=engine.p99_ms if engine else None,
            measured_s=engine.at_s if engine else 0.0,
        )
        step = decide(facts, memory, limits)
        memory, reach = step.memory, step.reach
        ends = now + timedelta(seconds=settings.pass_s)
        admitted, serving = await _admit(conn, room, step.admit, now=now, ends=ends)
    else:
        memory = replace(memory, at_s=now.timestamp(), credit=0.0)
    outcome = Outcome(phase, admitted, len(gone), len(late), inside + admitted, serving)
    await _write(conn, taken, memory, counts, outcome, reach=reach)
    return outcome


def _phase(room: Room, counts: Counts) -> Phase:
    """Sold out when nothing is free and nothing held could come back; open again when something came back after all.

    Not before its lots are drawn: people were promised a number, and what comes back goes to the next in line.
    """
    phase = room.phase
    if phase is Phase.OPEN and room.has_numbers and counts.free <= 0 and counts.held <= 0:
        return Phase.SOLD_OUT
    if phase is Phase.SOLD_OUT and counts.free > 0:
        return Phase.OPEN
    return phase


def _learn(memory: Memory, taken: Round, spends: Sequence[Spend], *, absent: int, counts: Counts) -> Memory:
    """What the round showed of people: how many came, how long they took, how many items, and what was sold."""
    entered = {each.place_id: each.admitted_at for each in taken.inside}
    took = [max((spend.at - entered[spend.place_id]).total_seconds(), 0.0) for spend in spends]
    spent, items = memory.spent + len(spends), memory.items + sum(spend.items for spend in spends)
    finish_s = memory.finish_s
    if took:
        weight = min(max(len(took) / spent, FINISH_WEIGHT), 1.0)
        finish_s += (sum(took) / len(took) - finish_s) * weight
    sold = max(counts.sold - (taken.sold_before if taken.sold_before is not None else counts.sold), 0)
    returned = max(items - sold - counts.held, 0)
    return replace(
        memory, spent=spent, items=items, absent=memory.absent + absent, sold=sold, returned=returned, finish_s=finish_s
    )


async def _admit(conn: Connection, room: Room, count: int, *, now: datetime, ends: datetime) -> tuple[int, int]:
    """Let the next `count` people in line in; how many entered, and the first number that may not buy yet.

    Numbers of people who have left are passed over; where there are very many, the next round goes on.
    """
    draw, serving, admitted, look = draw_of(room), room.serving, 0, SCAN_LEAST
    end = min(room.size, serving - 1 + SCAN_MOST)
    while admitted < count and serving <= end:
        numbers = range(serving, min(serving + max(count - admitted, look), end + 1))
        look *= 2
        by_index = {index_of(room, number, draw=draw): number for number in numbers}
        rows = await conn.execute(WAITING, (list(by_index), room.id))
        waiting = sorted((by_index[index], place_id) for index, place_id in await rows.fetchall())
        entering = waiting[: count - admitted]
        if entering:
            await conn.execute(ADMIT, (now, ends, [place_id for _, place_id in entering]))
            admitted += len(entering)
        serving = entering[-1][0] + 1 if admitted == count else numbers.stop
    return admitted, serving


async def _write(
    conn: Connection, taken: Round, memory: Memory, counts: Counts, outcome: Outcome, *, reach: int | None
) -> None:
    """Write what the round came to: what everybody may know to the room, the rest to its row of the loop."""
    before_s, now_s = taken.memory.at_s if taken.memory else None, memory.at_s
    elapsed_s = 1.0 if before_s is None or now_s is None else max(now_s - before_s, 0.001)
    await conn.execute(
        "UPDATE gate.rooms SET serving = %(serving)s, phase = %(phase)s, stock_left = %(free)s,"
        " pace_per_s = greatest(pace_per_s + (%(admitted)s / %(elapsed)s - pace_per_s) * %(weight)s, 0)"
        " WHERE id = %(room)s",
        {
            "serving": outcome.serving,
            "phase": outcome.phase,
            "free": max(counts.free, 0),
            "admitted": float(outcome.admitted),
            "elapsed": elapsed_s,
            "weight": 1.0 - math.exp(-elapsed_s / PACE_S),
            "room": taken.room.id,
        },
    )
    await conn.execute(
        "UPDATE gate.admissions SET memory = %s, sold_before = coalesce(sold_before, %s), admitted = admitted + %s,"
        " inside = %s, held = %s, sold = %s, reach = %s, changed_at = clock_timestamp() WHERE room_id = %s",
        (
            msgspec.json.encode(memory).decode(),
            counts.sold,
            outcome.admitted,
            outcome.inside,
            counts.held,
            memory.sold,
            reach,
            taken.room.id,
        ),
    )

"""What the staff's page of a room shows and changes, in a shop as well as at a gate on its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tidegate import gate
from tidegate.gate import DrawIsOver, ValueTooEarly
from tidegate.ops import DropSample, Sample
from tidegate.platform.charts import Chart, Series, draw_chart
from tidegate.platform.database import Connection
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _
from tidegate.web import words_of

LIVE_S = 3
CHART_S = 3_600
SAMPLE_GAP_S = 35.0
"""Two samples further apart are not joined."""


async def set_speed_and_message(conn: Connection, slug: str, typed: dict[str, str], errors: dict[str, str]) -> None:
    """Set a room's speed limit and message as typed. Raises: RoomUnknown; InvalidRequest, and fills `errors`."""
    try:
        await gate.limit_speed(conn, slug=slug, per_min=_speed(typed["speed"]))
    except InvalidRequest as problem:
        errors["speed"] = words_of(problem)
    try:
        await gate.tell_waiting(conn, slug=slug, message=typed["message"])
    except InvalidRequest as problem:
        errors["message"] = words_of(problem)
    if errors:
        raise InvalidRequest()


async def give_value(conn: Connection, slug: str, value: str, errors: dict[str, str]) -> None:
    """Put what was drawn in public into a room's draw. Raises: RoomUnknown; InvalidRequest, and fills `errors`."""
    try:
        await gate.set_beacon(conn, slug=slug, value=value)
    except (InvalidRequest, ValueTooEarly, DrawIsOver) as problem:
        errors["value"] = words_of(problem)
        raise InvalidRequest() from None


def _speed(text: str) -> int | None:
    """The limit that was typed; None for none, 0 for what is no number."""
    if not text:
        return None
    plain = text.replace(",", "").replace(" ", "")
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 9 else 0


def room_charts(samples: Sequence[DropSample], measured: Sequence[Sample], *, end: float) -> tuple[Chart, ...]:
    """The curves of a room's last hour, `end` being now (Unix time)."""
    last = min(end, samples[-1].at) if samples else end
    start = max(last - CHART_S, samples[0].at if samples else last - CHART_S)
    spread = {"start": start, "end": max(last, start + 60), "gap_s": SAMPLE_GAP_S}

    def curve(name: str, values: list[int | None]) -> Series:
        points = zip((each.at for each in samples), values, strict=True)
        return Series(name, tuple((at, None if value is None else float(value)) for at, value in points))

    people = _("people")
    return (
        draw_chart(_("In line"), people, (curve(_("Waiting"), [s.waiting for s in samples]),), **spread),
        draw_chart(
            _("In the shop"),
            people,
            (
                curve(_("Choosing"), [s.inside for s in samples]),
                curve(_("Absent"), [s.absent for s in samples]),
            ),
            **spread,
        ),
        draw_chart(
            _("Items over time"),
            _("items"),
            (
                curve(_("Paid"), [s.paid for s in samples]),
                curve(_("Held"), [s.held for s in samples]),
                curve(_("Left"), [s.left for s in samples]),
            ),
            **spread,
        ),
        draw_chart(_("Let in"), _("people a minute"), (Series(_("Let in"), _let_in(samples)),), **spread),
        draw_chart(
            _("How long orders take"),
            _("ms, slowest percent"),
            (Series(_("Orders"), tuple((s.at, s.engine_p99_ms) for s in measured)),),
            **spread,
        ),
    )


def _let_in(samples: Sequence[DropSample]) -> tuple[tuple[float, float], ...]:
    """How many people a minute were let in between two samples."""
    return tuple(
        (now.at, max(0.0, (now.admitted - before.admitted) * 60 / (now.at - before.at)))
        for before, now in pairwise(samples)
        if now.admitted is not None and before.admitted is not None and 0 < now.at - before.at <= SAMPLE_GAP_S
    )

"""How the shop runs: requests, times, errors, queues, drops and processes, from the shop's own metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request
from starlette.responses import Response

from tidegate import ops
from tidegate.admin.pages import DropRow, drop_rows
from tidegate.admin.pages_shell import staff_router
from tidegate.checkout import Shop
from tidegate.ops import Sample, Statuses
from tidegate.platform.charts import Chart, Series, draw_chart
from tidegate.platform.clock import database_now
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, render

router = staff_router("/status")

MINUTES = (10, 30, 120)
LIVE_S = 10
SAMPLE_GAP_S = 35.0
"""Two samples further apart are not joined; and so old, the newest is told to be old."""


@dataclass(frozen=True, slots=True)
class StatusContext:
    """Context of `admin/status.html`. `latest` is None before the first sample; `late`: it is an old one."""

    latest: Sample | None
    latest_at: datetime | None
    late: bool
    statuses: Statuses
    drops: tuple[DropRow, ...]
    charts: tuple[Chart, ...]
    minutes: int
    choices: tuple[int, ...]
    live_s: int


@router.get("")
async def show_status(request: Request, minutes: str = "") -> Response:
    """The status page, with curves over the last `minutes`."""
    shop: Shop = request.app.state.shop
    span = next((choice for choice in MINUTES if str(choice) == minutes), MINUTES[0])
    needed = int(span * 60 / shop.settings.observability.sample_s) + 2
    samples = await ops.read_samples(shop.settings, limit=needed)
    statuses = await ops.read_statuses(shop.settings)
    async with shop.database.connection() as conn:
        drops = await drop_rows(conn, now=await database_now(conn))
    now = time.time()
    latest = samples[-1] if samples else None
    context = StatusContext(
        latest=latest,
        latest_at=datetime.fromtimestamp(latest.at, UTC) if latest else None,
        late=latest is not None and now - latest.at > SAMPLE_GAP_S,
        statuses=statuses,
        drops=drops,
        charts=_charts(samples, start=now - span * 60, end=now),
        minutes=span,
        choices=MINUTES,
        live_s=LIVE_S,
    )
    return render(request, "admin/status.html", context, headers=NOT_KEPT)


def _charts(samples: tuple[Sample, ...], *, start: float, end: float) -> tuple[Chart, ...]:
    def curve(name: str, value: Callable[[Sample], float | None]) -> Series:
        return Series(name, tuple((each.at, value(each)) for each in samples))

    def draw(title: str, unit: str, *curves: Series) -> Chart:
        return draw_chart(title, unit, curves, start=start, end=end, gap_s=SAMPLE_GAP_S)

    return (
        draw(_("Requests"), _("per second"), curve(_("All"), lambda s: s.requests_per_s)),
        draw(
            _("Time to answer"),
            _("ms"),
            curve("p99", lambda s: s.p99_ms),
            curve("p95", lambda s: s.p95_ms),
            curve("p50", lambda s: s.p50_ms),
        ),
        draw(
            _("Errors"),
            _("per second"),
            curve("4xx", lambda s: s.refused_per_s),
            curve("5xx", lambda s: s.failed_per_s),
        ),
        draw(_("Oldest job that is not done"), _("seconds"), curve(_("Age"), lambda s: s.oldest_event_s)),
        draw(
            _("Jobs that wait"),
            _("jobs"),
            curve(_("Events"), lambda s: float(s.events_waiting)),
            curve(_("Tasks"), lambda s: float(s.tasks_waiting)),
        ),
        draw(_("Purchases and holds in one batch"), _("requests"), curve(_("Mean"), lambda s: s.batch_size)),
        draw(_("Batches"), _("per second"), curve(_("All"), lambda s: s.batches_per_s)),
        draw(_("Time of a batch"), _("ms"), curve("p99", lambda s: s.batch_p99_ms)),
    )

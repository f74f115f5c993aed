"""Rehearsals: the one under way, as it goes, and the reports of past ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request
from starlette.responses import Response

from tidegate import ops
from tidegate.admin.pages_shell import staff_router
from tidegate.checkout import Shop
from tidegate.ops import RehearsalNow, RehearsalPast, RehearsalSecond
from tidegate.platform.charts import Chart, Series, draw_chart
from tidegate.platform.problems import NotFound
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, render

router = staff_router("/rehearsals")

LIVE_S = 2
GAP_S = 5.0


@dataclass(frozen=True, slots=True)
class PastRow:
    """A past rehearsal, and when it began."""

    past: RehearsalPast
    began_at: datetime


@dataclass(frozen=True, slots=True)
class RehearsalsContext:
    """Context of `admin/rehearsals.html`."""

    now: RehearsalNow | None
    latest: RehearsalSecond | None
    charts: tuple[Chart, ...]
    past: tuple[PastRow, ...]
    live_s: int


@router.get("")
async def show_rehearsals(request: Request) -> Response:
    """How the rehearsal under way goes, and the newest reports."""
    shop: Shop = request.app.state.shop
    home = shop.settings.home
    now = await asyncio.to_thread(ops.rehearsal_under_way, home, now=time.time())
    past = await asyncio.to_thread(ops.past_rehearsals, home)
    context = RehearsalsContext(
        now=now,
        latest=now.seconds[-1] if now and now.seconds else None,
        charts=_charts(now) if now else (),
        past=tuple(PastRow(each, datetime.fromtimestamp(each.began_at, UTC)) for each in past),
        live_s=LIVE_S,
    )
    return render(request, "admin/rehearsals.html", context, headers=NOT_KEPT)


@router.get("/{name}")
async def download_report(request: Request, name: str) -> Response:
    """A report, to be kept: it is a file of its own, with styles that a page of this site may not bring along."""
    shop: Shop = request.app.state.shop
    page = await asyncio.to_thread(ops.rehearsal_page, shop.settings.home, name=name)
    if page is None:
        raise NotFound()
    kept = {"content-disposition": f'attachment; filename="{name}.html"'}
    return Response(page, media_type="text/html", headers={**NOT_KEPT, **kept})


def _charts(now: RehearsalNow) -> tuple[Chart, ...]:
    def curve(name: str, value: Callable[[RehearsalSecond], float | None]) -> Series:
        return Series(name, tuple((now.began_at + each.at, value(each)) for each in now.seconds))

    def draw(title: str, unit: str, *curves: Series) -> Chart:
        start = now.began_at + (now.seconds[0].at if now.seconds else 0.0)
        return draw_chart(title, unit, curves, start=start, end=now.told_at, gap_s=GAP_S)

    return (
        draw(_("Arrivals"), _("per second"), curve(_("All"), lambda s: s.arrived)),
        draw(
            _("Shoppers in the shop"),
            _("people"),
            curve(_("All"), lambda s: s.inside),
            curve(_("Waiting"), lambda s: s.waiting),
        ),
        draw(_("Orders"), _("per second"), curve(_("All"), lambda s: s.bought)),
        draw(_("Requests"), _("per second"), curve(_("All"), lambda s: s.answered)),
        draw(_("Time to answer"), _("ms"), curve("p99", lambda s: s.p99_ms)),
        draw(_("Shoppers who met a failure"), _("per second"), curve(_("All"), lambda s: s.failed)),
    )

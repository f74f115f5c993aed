"""The staff's page of rehearsals: the one under way, and reports of past ones."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.admin.test_pages import sign_in
from tests.rehearse.makers import report, second, told
from tests.storefront.conftest import app, reading, text_of
from tidegate import ops
from tidegate.ops.rehearsals import MOST_KEPT, SILENT_S, rehearsals_folder
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings
from tidegate.rehearse.contracts import Report, Step
from tidegate.rehearse.progress import Progress

__all__ = ["app"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


def played(began_at: float, name: str = "smoke") -> Report:
    visit = msgspec.structs.replace(told(ends={"bought": 5}, latencies={}), began_at=began_at)
    return msgspec.structs.replace(report(visit), name=name)


async def test_staff_see_a_rehearsal_while_it_goes_on_and_its_report_afterwards(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    await sign_in(client, database)
    assert "No rehearsal is under way." in text_of(await client.get("/admin/rehearsals"))
    progress = Progress(settings.home, title="A <small> drop", target="http://127.0.0.1:8000", shoppers=4_321)
    for n in (1.0, 2.0):
        progress(msgspec.structs.replace(second(n, steps={Step.PURCHASE: 7}, cpu={}), arrived=30, failed=1, inside=50))
    shown = text_of(await client.get("/admin/rehearsals"))
    for part in ("Under way: A <small> drop", "4,321 simulated shoppers", "Arrived 60", "In the shop 50", "Orders 14"):
        assert part in shown, shown
    assert "Met a failure 2" in shown
    progress.keep(played(1_795_000_000.0))
    progress.end()
    page = await client.get("/admin/rehearsals")
    assert "No rehearsal is under way." in text_of(page)
    assert "5 shoppers came for 5 units, 5 bought" in text_of(page)
    address = "/admin/rehearsals/20261118-110640-smoke"
    assert address in page.text
    kept = await client.get(address)
    assert kept.headers["content-disposition"] == 'attachment; filename="20261118-110640-smoke.html"'
    assert "<title>A short one: rehearsal</title>" in kept.text


@pytest.mark.parametrize("name", ["20261118-110640-none", "..%2Fsecrets", "now", "20261118-110640-a.summary"])
async def test_what_is_no_report_is_not_there(name: str, client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    assert (await client.get(f"/admin/rehearsals/{name}")).status_code == 404


def test_a_rehearsal_that_fell_silent_is_not_under_way(tmp_path: Path) -> None:
    progress = Progress(tmp_path, title="Cut off", target="", shoppers=1)
    progress(second(1.0, steps={Step.PAGE: 1}, cpu={}))
    assert ops.rehearsal_under_way(tmp_path, now=time.time()) is not None
    assert ops.rehearsal_under_way(tmp_path, now=time.time() + SILENT_S + 1) is None


def test_a_bounded_number_of_reports_is_kept_and_the_newest_stay(tmp_path: Path) -> None:
    progress = Progress(tmp_path, title="Again", target="", shoppers=1)
    for n in range(MOST_KEPT + 3):
        progress.keep(played(1_795_000_000.0 + n, name=f"run {n}"))
    names = [each.name for each in ops.past_rehearsals(tmp_path)]
    assert len(names) == MOST_KEPT
    assert names[0].endswith("run-22")
    assert names == sorted(names, reverse=True)
    assert len(list(rehearsals_folder(tmp_path).iterdir())) == 2 * MOST_KEPT


def test_what_somebody_else_wrote_there_breaks_nothing(tmp_path: Path) -> None:
    folder = rehearsals_folder(tmp_path)
    folder.mkdir()
    for name in ("now.json", "20261118-110640-x.summary.json", "x.summary.json"):
        (folder / name).write_text("{")
    assert ops.past_rehearsals(tmp_path) == ()
    assert ops.rehearsal_under_way(tmp_path, now=time.time()) is None


def test_without_a_home_nothing_is_written(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "none", title="Nobody looks", target="", shoppers=1)
    progress(second(1.0, steps={Step.PAGE: 1}, cpu={}))
    progress.keep(played(1.0))
    progress.end()
    assert list(tmp_path.iterdir()) == []

"""A rehearsal with faults: the ways round before its shop starts, and the drill beside the crowd."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from tidegate.platform.database import Database
from tidegate.platform.settings import current_settings
from tidegate.rehearse.contracts import Scenario, Told
from tidegate.rehearse.crowd import Crowd
from tidegate.rehearse.detours import Detours, open_detours
from tidegate.rehearse.drill import Drill
from tidegate.rehearse.faults import Fault, Happening, Played, load_matrix
from tidegate.rehearse.probes import TRY_S, Prober, Ready, stage_probes
from tidegate.rehearse.stage import SLUG, moment
from tidegate.rehearse.storm import Storm
from tidegate.rehearse.wrecking import LED_ROUND, Wrecker

LOBBY_OPENS_S = 3_000.0
"""The probes' room opens after every rehearsal with faults is over, and takes people from its begin."""


@contextmanager
def ways_round(timetable: Sequence[Happening], *, home: Path) -> Iterator[Detours | None]:
    """Proxies between the shop that will run in `home` and what it depends on; none for a timetable without faults."""
    if not timetable:
        yield None
        return
    with open_detours(LED_ROUND, note=home / "run" / "detours.json") as detours:
        yield detours


def told_of(detours: Detours | None) -> Mapping[str, str]:
    """The settings of a shop that is led round."""
    if detours is None:
        return {}
    return {"TIDEGATE_SUPERVISOR__DETOURS": json.dumps(dict(detours.ports))}


@dataclass(frozen=True, slots=True)
class Beside:
    """What a rehearsal with faults has beside its crowd: the ways round, probes that are ready, followers."""

    detours: Detours
    ready: Ready
    storm: Storm


async def prepare_faults(database: Database, *, scenario: Scenario, detours: Detours) -> Beside:
    """Make what the scenario's faults need; it takes a while where they tell many followers something."""
    ready = await stage_probes(database, opens_at=moment(LOBBY_OPENS_S))
    storm = Storm(database)
    followers = max((each.count for each in scenario.faults if each.fault is Fault.SEND), default=0)
    if followers:
        await storm.make(followers)
    return Beside(detours, ready, storm)


async def play_beside(
    crowd: Crowd,
    beside: Beside | None,
    *,
    port: int,
    scenario: Scenario,
    on_fault: Callable[[str], None],
) -> tuple[Told, tuple[Played, ...], Sequence[str]]:
    """Let the crowd come, and play the scenario's faults meanwhile: what both found, and the probes' paid orders."""
    if beside is None:
        return await crowd.run(), (), ()
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=0)
    base_url = f"http://127.0.0.1:{port}"
    strangers = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # each request is somebody else's
    async with httpx.AsyncClient(
        base_url=base_url, timeout=TRY_S, limits=limits, trust_env=False, cookies=strangers
    ) as client:
        prober = Prober(client, slug=SLUG, has_room=scenario.sale.room != "none", ready=beside.ready)
        drill = Drill(
            scenario.faults,
            matrix=load_matrix(),
            wrecker=Wrecker(current_settings().home.absolute(), beside.detours, storm=beside.storm),
            prober=prober,
            on_fault=on_fault,
        )
        visit = asyncio.ensure_future(crowd.run())
        try:
            await crowd.begun.wait()
            played = await drill.play(began_s=crowd.began_s)
            told = await visit
        finally:
            visit.cancel()
    return told, played, prober.orders

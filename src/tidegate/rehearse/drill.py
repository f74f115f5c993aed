"""Playing a timetable of faults against a shop of one's own, with probes that say what shoppers could do meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from tidegate.rehearse.faults import Can, Happening, Matrix, Played
from tidegate.rehearse.probes import Attempt, Prober, tried
from tidegate.rehearse.wrecking import Wrecker

WITHIN_S, RECOVERS_WITHIN_S = 8.0, 30.0
"""For faults of which the matrix says nothing."""

EVERYTHING = tuple(Can)


class Drill:
    """One timetable. `on_fault` is told of each fault as it begins and as it is over."""

    def __init__(
        self,
        timetable: Sequence[Happening],
        *,
        matrix: Matrix,
        wrecker: Wrecker,
        prober: Prober,
        on_fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._timetable = timetable
        self._matrix = matrix
        self._wrecker = wrecker
        self._prober = prober
        self._on_fault = on_fault

    async def play(self, *, began_s: float) -> tuple[Played, ...]:
        """Play it, and mend what it broke however it ends; `began_s` is when the first shopper came (perf_counter)."""
        played = []
        await self._prober.take_place()
        try:
            for happening in self._timetable:
                await asyncio.sleep(max(began_s + happening.at_s - time.perf_counter(), 0.0))
                played.append(await self._play_one(happening, began_s))
                self._on_fault(told_in_short(played[-1]))
        finally:
            self._wrecker.resume()
        return tuple(played)

    async def _play_one(self, happening: Happening, began_s: float) -> Played:
        row = self._matrix.find(happening.dependency, happening.fault)
        must = row.must if row is not None else EVERYTHING
        within_s = row.within_s if row is not None else WITHIN_S
        recovers_s = row.recovers_within_s if row is not None else RECOVERS_WITHIN_S
        begin_s = time.perf_counter()
        await self._wrecker.begin(happening)
        attempts = self._prober.attempts()
        try:
            await self._try_meanwhile(attempts, must, lasts_s=happening.lasts_s, within_s=within_s)
            found = tried(attempts, must)
        finally:
            note = await self._wrecker.end(happening)
        end_s = time.perf_counter()
        missing = await _all_done(attempts, within_s=recovers_s)
        if not missing:  # those who tried meanwhile have what they wanted; does it work for others, too?
            left_s = recovers_s - (time.perf_counter() - end_s)
            missing = await _all_done(self._prober.attempts(), within_s=max(left_s, 1.0))
        over_s = time.perf_counter()
        return Played(
            dependency=happening.dependency,
            fault=happening.fault,
            began_s=round(begin_s - began_s, 1),
            ended_s=round(end_s - began_s, 1),
            tried=found,
            recovered_s=None if missing else round(over_s - end_s, 1),
            recovers_within_s=recovers_s,
            missing=missing,
            note=note,
        )

    async def _try_meanwhile(
        self, attempts: Sequence[Attempt], must: Sequence[Can], *, lasts_s: float, within_s: float
    ) -> None:
        """All try at once while it is broken: for `lasts_s`, those who must succeed for `within_s` if it is longer."""
        now_s = time.monotonic()
        tasks = [
            asyncio.ensure_future(
                each.go_on(until_s=now_s + (max(lasts_s, within_s) if each.can in must else lasts_s)),
            )
            for each in attempts
        ]
        musts = {task for task, each in zip(tasks, attempts, strict=True) if each.can in must}
        try:
            _, late = await asyncio.wait(tasks, timeout=lasts_s)
            if late & musts:
                await asyncio.wait(late & musts, timeout=max(within_s - lasts_s, 0.0))
            await asyncio.sleep(max(lasts_s - (time.monotonic() - now_s), 0.0))
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def told_in_short(played: Played) -> str:
    """One line about a fault that is over."""
    hurt = f"shoppers could not {', '.join(played.broken)}" if played.broken else "shoppers could do what they must"
    if played.recovered_s is None:
        return f"{played.name}: {hurt}; not mended within {played.recovers_within_s:g} s: {', '.join(played.missing)}"
    return f"{played.name}: {hurt}; all well {played.recovered_s:.1f} s later"


async def _all_done(attempts: Sequence[Attempt], *, within_s: float) -> tuple[str, ...]:
    """Let all go on until each has succeeded; what has not by then."""
    until_s = time.monotonic() + within_s
    done = await asyncio.gather(*(each.go_on(until_s=until_s) for each in attempts))
    return tuple(f"{each.can} ({each.found})" for each, worked in zip(attempts, done, strict=True) if not worked)

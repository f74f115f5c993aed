"""What the shop's processes use while the crowd is there: cores and memory, by kind of process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import psutil

from tidegate.rehearse.rules import CROWD, OTHERS

MIB = 1 << 20
WORK = 20_000
LOOKS = 5
"""So often is looked at the same processes before new ones are looked for."""


class Monitor:
    """Call `look` once a second, in a thread: cores used since the last call, and resident MiB, by kind of process."""

    def __init__(self, processes: Callable[[], Sequence[tuple[str, int]]]) -> None:
        """`processes` are names and pids at this moment; `site-1` and `site-2` are of one kind."""
        self._processes = processes
        self._roots: dict[int, tuple[str, psutil.Process]] = {}
        self._began_at = time.time()
        self._spent: dict[int, float] = {}
        self._busy_s = _busy_s()
        self._known: list[tuple[str, list[psutil.Process]]] | None = None
        self._looks = 0
        self._looked_s = time.perf_counter()
        self.look()

    def look(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Cores and MiB."""
        now_s = time.perf_counter()
        passed_s, self._looked_s = max(now_s - self._looked_s, 1e-6), now_s
        spent: dict[int, float] = {}
        cores: dict[str, float] = {}
        memory: dict[str, float] = {}
        for kind, family in self._families():
            for process in family:
                try:
                    with process.oneshot():
                        times, used = process.cpu_times(), process.memory_info()
                        began_at = process.create_time()
                except psutil.Error:
                    if process.pid in self._spent:
                        spent[process.pid] = self._spent[process.pid]
                    continue
                now = spent[process.pid] = times.user + times.system
                before, over_s = self._spent.get(process.pid), passed_s
                if before is None:  # what is younger than this look has used all of it meanwhile
                    fresh = began_at > self._began_at
                    before, over_s = (0.0, max(passed_s, time.time() - began_at)) if fresh else (now, passed_s)
                cores[kind] = cores.get(kind, 0.0) + (now - before) / over_s
                # PostgreSQL's processes share most of their memory: of each only its own part counts
                own = used.rss - getattr(used, "shared", 0) if kind == "postgres" else used.rss
                memory[kind] = memory.get(kind, 0.0) + own / MIB
        self._spent = spent
        busy_s, self._busy_s = self._busy_s, _busy_s()
        cores[OTHERS] = max((self._busy_s - busy_s) / passed_s - sum(cores.values()), 0.0)
        return (
            {kind: round(value, 3) for kind, value in cores.items()},
            {kind: round(value, 1) for kind, value in memory.items()},
        )

    def _find_roots(self) -> dict[int, tuple[str, psutil.Process]]:
        found: dict[int, tuple[str, psutil.Process]] = {}
        for name, pid in [*self._processes(), (CROWD, psutil.Process().pid)]:
            known = self._roots.get(pid)
            try:
                found[pid] = known if known and known[1].is_running() else (kind_of(name), psutil.Process(pid))
            except psutil.NoSuchProcess:
                continue
        return found

    def _families(self) -> list[tuple[str, list[psutil.Process]]]:
        """Each root with all that descend from it; the crowd alone, of which the shop may descend.

        Looking for those takes a while, so it is done now and then.
        """
        if self._known is None or self._looks % LOOKS == 0:
            self._roots = self._find_roots()
            children: dict[int, list[psutil.Process]] = {}
            for process in psutil.process_iter(["ppid"]):
                children.setdefault(process.info["ppid"], []).append(process)
            self._known = [
                (kind, [root] if kind == CROWD else _descent(root, children)) for kind, root in self._roots.values()
            ]
        self._looks += 1
        return self._known


def work_us() -> float:
    """CPU time of a fixed little piece of work, in microseconds: how slow the machine is at this moment.

    What shares a core's units with others, or a virtual machine its host, needs up to twice as long for the same.
    """
    began_s, total = time.thread_time(), 0
    for number in range(WORK):
        total += number
    return (time.thread_time() - began_s) * 1e6


def _busy_s() -> float:
    """CPU seconds of the whole machine so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def kind_of(name: str) -> str:
    """Processes `site-1` and `site-2` are of one kind."""
    return name.rstrip("0123456789").rstrip("-")


def _descent(root: psutil.Process, children: Mapping[int, Sequence[psutil.Process]]) -> list[psutil.Process]:
    found = [root]
    for process in found:
        found += children.get(process.pid, ())
    return found

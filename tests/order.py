"""In which order the workers of a run take files: no worker should be left alone with a long one at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

LONG = (
    "tests/ops/test_backup_shop.py",
    "tests/gate/test_own.py",
    "tests/benchmarks/test_gate.py",
    "tests/benchmarks/test_growth.py",
    "tests/benchmarks/test_orders.py",
    "tests/benchmarks/test_notify.py",
    "tests/benchmarks/test_browse.py",
    "tests/e2e/test_access.py",
    "tests/e2e/test_bad_input.py",
    "tests/faults/test_keys.py",
    "tests/e2e/test_rooms.py",
    "tests/faults/test_crowds.py",
    "tests/faults/test_kills.py",
)
"""Files of few tests that take long, longest first. What is not here is taken to be as long as it has tests."""

SHARED_SHOPS = ("tests/e2e/", "tests/faults/", "tests/ops/test_up.py", "tests/rehearse/")
"""What visits a shop that lives to the end of its worker: also when nobody visits it any more, it takes its time."""
SERVERS = frozenset({"server_home", "new_shop"})


def long_files_first(items: list[pytest.Item]) -> None:
    """Sort files: those with servers of their own, those that share a shop, then what needs neither and fills gaps."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(_file(item), []).append(item)
    items[:] = [item for tests in sorted(files.values(), key=_place) for item in tests]


def _place(tests: Sequence[pytest.Item]) -> tuple[int, int, int]:
    file = _file(tests[0])
    length = LONG.index(file) if file in LONG else len(LONG)
    if file.startswith(SHARED_SHOPS):
        return 1, length, -len(tests)
    return 0 if file in LONG or _need_servers(tests) else 2, length, -len(tests)


def _need_servers(tests: Iterable[pytest.Item]) -> bool:
    return any(not SERVERS.isdisjoint(getattr(test, "fixturenames", ())) for test in tests)


def _file(item: pytest.Item) -> str:
    return item.nodeid.split("::", 1)[0]

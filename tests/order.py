"""Which tests a worker of a run takes together, and in which order it takes them.

Files are taken whole. Those that visit one running shop are taken by one worker, for each worker that visits it would
have to start its own; no worker should be left alone with a long file at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

FIRST_SHOP = (
    "tests/e2e/test_access.py",
    "tests/e2e/test_rooms.py",
    "tests/e2e/test_following.py",
    "tests/e2e/test_buying.py",
    "tests/e2e/test_accounts.py",
    "tests/e2e/test_customers.py",
    "tests/rehearse/test_rehearsal.py",
)
SECOND_SHOP = ("tests/e2e/",)
SALE = ("tests/faults/",)
TOGETHER = {"first shop": FIRST_SHOP, "second shop": SECOND_SHOP, "sale": SALE}
"""What visits a shop that several files share, as long as the tests of those files take: the first entry that fits."""

OWN_SHOP = ("tests/e2e/test_shop.py", "tests/e2e/test_own_gate.py")
"""Among browser tests, those with a shop or a gate of their own."""

LONG = (
    "tests/e2e/test_access.py",
    "tests/e2e/test_bad_input.py",
    "tests/e2e/test_shop.py",
    "tests/ops/test_backup_shop.py",
    "tests/gate/test_own.py",
    "tests/ops/test_up.py",
    "tests/benchmarks/test_gate.py",
    "tests/benchmarks/test_notify_pacing.py",
    "tests/benchmarks/test_orders.py",
    "tests/benchmarks/test_notify.py",
    "tests/benchmarks/test_growth.py",
    "tests/benchmarks/test_browse.py",
    "tests/benchmarks/test_parts.py",
    "tests/benchmarks/test_holds.py",
    "tests/benchmarks/test_receipts.py",
    "tests/benchmarks/test_overload.py",
    "tests/benchmarks/test_rehearse.py",
    "tests/benchmarks/test_edge.py",
    "tests/rehearse/test_breaking.py",
    "tests/notify/test_processes.py",
    "tests/notify/test_own.py",
    "tests/ops/test_sampling.py",
    "tests/faults/test_keys.py",
    "tests/faults/test_crowds.py",
    "tests/faults/test_kills.py",
)
"""Files of few tests that take long, longest first. What is not here is taken to be as long as it has tests."""

SERVERS = frozenset({"server_home", "new_shop"})


def together(nodeid: str) -> str:
    """A name that this test shares with those which the same worker takes: its file, or one of TOGETHER."""
    file = nodeid.split("::", 1)[0]
    if file in OWN_SHOP:
        return file
    return next((name for name, files in TOGETHER.items() if file.startswith(files)), file)


def long_files_first(items: list[pytest.Item]) -> None:
    """Sort files: those that share a shop, those with servers of their own, then what needs neither and fills gaps."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(_file(item), []).append(item)
    items[:] = [item for tests in sorted(files.values(), key=_place) for item in tests]


def _place(tests: Sequence[pytest.Item]) -> tuple[int, int, int, int]:
    file, names = _file(tests[0]), list(TOGETHER)
    name = together(file)
    length = LONG.index(file) if file in LONG else len(LONG)
    if name in names:
        return 0, names.index(name), length, -len(tests)
    return 1 if file in LONG or _need_servers(tests) else 2, 0, length, -len(tests)


def _need_servers(tests: Iterable[pytest.Item]) -> bool:
    return any(not SERVERS.isdisjoint(getattr(test, "fixturenames", ())) for test in tests)


def _file(item: pytest.Item) -> str:
    return item.nodeid.split("::", 1)[0]

"""The collector looks when a process is calm, and leaves it alone when much is under way."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from tests.waiting import eventually
from tidegate.platform import garbage

pytestmark = pytest.mark.anyio


class Node:
    """Refers to itself: only the collector finds it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def no_looks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "LOOK_S", 0.005)
    gc.disable()
    gc.collect()
    yield
    gc.enable()


async def test_what_refers_to_itself_is_found_when_it_is_calm_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "MOST_PUT_OFF", 1_000_000)
    left = weakref.ref(Node())
    garbage.look_when_calm()
    under_way = [[number] for number in range(2 * garbage.CALM)]
    await asyncio.sleep(0.1)
    assert left() is not None
    under_way.clear()
    await eventually(lambda: left() is None)


async def test_it_is_found_after_a_while_also_where_much_that_is_new_stays() -> None:
    left = weakref.ref(Node())
    garbage.look_when_calm()
    connections = [[number] for number in range(2 * garbage.CALM)]
    await eventually(lambda: left() is None)
    assert len(connections) == 2 * garbage.CALM


@pytest.mark.parametrize(("every", "generation"), [("OLDER_EVERY", 1), ("OLDEST_EVERY", 2)])
async def test_what_outlived_a_look_is_found_by_a_later_one(
    monkeypatch: pytest.MonkeyPatch, every: str, generation: int
) -> None:
    node = Node()
    left = weakref.ref(node)
    for younger in range(generation):
        gc.collect(younger)
    del node
    gc.collect(generation - 1)
    assert left() is not None
    monkeypatch.setattr(garbage, every, 3)
    garbage.look_when_calm()
    await eventually(lambda: left() is None)


def test_looks_go_deeper_now_and_then() -> None:
    looks = [garbage.depth(look) for look in range(1, garbage.OLDEST_EVERY + 1)]
    assert looks.count(2) == 1
    assert looks.count(1) == garbage.OLDEST_EVERY // garbage.OLDER_EVERY - 1
    assert looks[-1] == 2

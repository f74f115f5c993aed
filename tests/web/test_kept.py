"""What is kept of finished answers stays within its bounds, and is made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import eventually
from tidegate.platform.ids import VariantId
from tidegate.platform.problems import Overloaded
from tidegate.web.kept import AT_ONCE_S, MARKS, PATIENCE_S, Answers, Gap, Kept, Level, MadeFrom, fill, make_kept

pytestmark = pytest.mark.anyio

LAMP = VariantId(UUID(int=1))


def a_kept(text: str = "page", **made_from: object) -> Kept:
    return make_kept(text.encode(), MadeFrom(revision=1, **made_from), route="/", headers=())  # type: ignore[arg-type]


async def put(answers: Answers, name: str, kept: Kept) -> None:
    async def make() -> Kept:
        return kept

    assert await answers.get((name, b"", ""), make, alone=True) is kept


def some_answers(*, max_bytes: int = 1_000_000, max_variants: int = 100) -> Answers:
    answers = Answers(max_bytes=max_bytes, max_variants=max_variants)
    answers.heard(1)
    return answers


@given(st.lists(st.one_of(st.sampled_from(Gap), st.text(st.characters(codec="utf-8")))))
def test_a_page_is_cut_at_its_gaps_and_put_together_again(parts: list[Gap | str]) -> None:
    kept = a_kept("".join(MARKS[part] if isinstance(part, Gap) else part for part in parts))
    values = {gap: f"<{gap}>".encode() for gap in Gap}
    whole = "".join(f"<{part}>" if isinstance(part, Gap) else part for part in parts)
    assert fill(kept, values) == whole.encode()
    assert kept.gaps == {part for part in parts if isinstance(part, Gap)}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9_000), st.sets(st.integers(0, 30), max_size=8))))
def test_it_never_grows_beyond_its_bounds(puts: list[tuple[int, set[int]]]) -> None:
    async def fill_it() -> None:
        answers = some_answers(max_bytes=20_000, max_variants=12)
        for name, (size, variants) in enumerate(puts):
            stock = {VariantId(UUID(int=each)): Level(1) for each in variants}
            await put(answers, str(name), a_kept("x" * size, stock=stock))
            assert answers.bytes <= 20_000
            assert len(answers.watched()) <= 12
        answers.heard(2)
        assert (answers.bytes, len(answers), answers.watched()) == (0, 0, [])

    asyncio.run(fill_it())


async def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    answers = some_answers(max_bytes=5_500)
    for name in ("a", "b"):
        await put(answers, name, a_kept("x" * 1_000))
    assert answers.find(("a", b"", "")) is not None
    await put(answers, "c", a_kept("x" * 1_000))
    assert [answers.find((name, b"", "")) is not None for name in "abc"] == [True, False, True]


async def test_everyone_who_asks_at_once_waits_for_one() -> None:
    answers = some_answers()
    made = 0
    go = asyncio.Event()

    async def make() -> Kept:
        nonlocal made
        made += 1
        await go.wait()
        return a_kept()

    waiting = [asyncio.create_task(answers.get(("a", b"", ""), make)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    go.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert made == 1
    assert isinstance(found[0], asyncio.CancelledError)
    assert len({id(each) for each in found[1:]}) == 1


async def test_what_a_change_overtook_is_not_kept_and_not_joined() -> None:
    answers = some_answers()
    go = asyncio.Event()

    async def slow() -> Kept:
        await go.wait()
        return a_kept("old")

    async def fast() -> Kept:
        return make_kept(b"new", MadeFrom(revision=2), route="/", headers=())

    old = asyncio.create_task(answers.get(("a", b"", ""), slow))
    await asyncio.sleep(0)
    answers.heard(2)
    assert fill(await answers.get(("a", b"", ""), fast), {}) == b"new"
    go.set()
    assert fill(await old, {}) == b"old"
    kept = answers.find(("a", b"", ""))
    assert kept is not None and fill(kept, {}) == b"new"


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    answers = some_answers()

    async def fail() -> Kept:
        raise LookupError("gone")

    found = await asyncio.gather(*(answers.get(("a", b"", ""), fail) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [LookupError] * 3
    await put(answers, "a", a_kept())


async def test_stock_that_changed_is_not_shown() -> None:
    answers = some_answers()
    await put(answers, "shelf", a_kept(stock={LAMP: Level(3)}))
    await put(answers, "drop", a_kept(stock={LAMP: Level(3, 1)}))
    answers.stock_is({LAMP: (3, 1)})
    assert len(answers) == 2
    answers.stock_is({LAMP: (3, 0)})
    assert answers.find(("drop", b"", "")) is None, "it tells what is held"
    assert answers.find(("shelf", b"", "")) is not None
    answers.stock_is({LAMP: (2, 0)})
    assert len(answers) == 0


@pytest.mark.parametrize(("shown", "now", "stays"), [(40, 39, True), (40, 6, True), (6, 5, False), (5, 4, False)])
async def test_stock_that_looks_the_same_is_shown_on(shown: int, now: int, stays: bool) -> None:
    answers = Answers(max_bytes=10_000, max_variants=10)
    answers.heard(1)
    await put(answers, "shelf", a_kept(stock={LAMP: Level(shown, up_to=6)}))
    answers.stock_is({LAMP: (now, 3)})
    assert (answers.find(("shelf", b"", "")) is not None) == stays


async def test_a_moment_ends_it_but_not_while_the_database_is_away() -> None:
    now_s = 10.0
    answers = Answers(max_bytes=1_000_000, max_variants=10, now_s=lambda: now_s)
    answers.heard(1)
    await put(answers, "a", a_kept(until_s=11.0))
    assert answers.find(("a", b"", "")) is not None
    now_s = 11.0
    answers.connected = False
    assert answers.find(("a", b"", "")) is not None
    answers.connected = True
    assert answers.find(("a", b"", "")) is None


async def test_what_is_kept_is_shown_for_a_while_only_when_the_database_is_away() -> None:
    now_s = 10.0
    answers = Answers(max_bytes=1_000_000, max_variants=10, stale_s=60, now_s=lambda: now_s)
    answers.heard(1)
    await put(answers, "a", a_kept())
    answers.connected = False
    now_s = 40.0
    answers.connected = False  # said again, it is away since the first time
    assert answers.find(("a", b"", "")) is not None
    now_s = 71.0
    assert answers.find(("a", b"", "")) is None
    answers.connected = True
    assert answers.find(("a", b"", "")) is not None


async def test_one_waits_for_a_page_whose_stock_changed_and_not_all() -> None:
    now_s = 10.0
    answers = Answers(max_bytes=1_000_000, max_variants=10, now_s=lambda: now_s)
    answers.heard(1)
    key = ("drop", b"", "")
    go = asyncio.Event()
    await put(answers, "drop", a_kept("5 left", stock={LAMP: Level(5)}))
    answers.stock_is({LAMP: (4, 0)})
    assert answers.at_once(key) is None, "somebody must begin to make another"

    async def makes() -> Kept:
        await go.wait()
        return a_kept("4 left", stock={LAMP: Level(4)}, until_s=13.0)

    first = asyncio.create_task(answers.get(key, makes))
    await asyncio.sleep(0)
    shown = answers.at_once(key)
    assert shown is not None and fill(shown, {}) == b"5 left"
    assert fill(await answers.get(key, makes), {}) == b"5 left"
    now_s += AT_ONCE_S
    assert answers.at_once(key) is None, "not for long"
    go.set()
    assert fill(await first, {}) == b"4 left", "whoever was alone with it sees what is"
    now_s = 13.0
    assert answers.at_once(key) is None
    opened = asyncio.create_task(answers.get(key, makes, alone=True))
    await asyncio.sleep(0)
    assert answers.at_once(key) is None, "a drop opened: that is waited for"
    await opened


async def test_an_answer_from_before_is_shown_with_what_was_seen_last() -> None:
    answers = Answers(max_bytes=10_000, max_variants=1)
    answers.heard(1)
    await put(answers, "drop", a_kept(stock={LAMP: Level(2_000, up_to=10)}, counted=(LAMP,)))
    kept = answers.find(("drop", b"", ""))
    assert kept is not None and answers.left_of(kept) == 2_000
    answers.stock_is({LAMP: (1_500, 0)})
    assert (answers.find(("drop", b"", "")), answers.left_of(kept)) == (kept, 1_500)
    answers.stock_is({LAMP: (0, 0)})
    assert (answers.find(("drop", b"", "")), answers.left_of(kept)) == (None, 0)
    for number in range(2, 10):
        await put(answers, f"other-{number}", a_kept(stock={VariantId(UUID(int=number)): Level(1)}))
    assert len(answers._available) <= 2, "it is bounded by what is watched"
    answers.heard(2)
    assert answers._available == {}


async def test_what_may_not_be_shown_while_the_database_is_away_is_not_shown_meanwhile() -> None:
    answers = Answers(max_bytes=1_000_000, max_variants=10, stale_s=-1)
    answers.heard(1)
    key = ("drop", b"", "")
    await put(answers, "drop", a_kept("5 left", stock={LAMP: Level(5)}))
    answers.stock_is({LAMP: (4, 0)})
    never = asyncio.Event()

    async def hangs() -> Kept:
        await never.wait()
        raise AssertionError("nobody sets it")

    making = asyncio.create_task(answers.get(key, hangs))
    await asyncio.sleep(0)
    assert answers.at_once(key) is not None
    answers.connected = False
    assert answers.at_once(key) is None
    making.cancel()


async def test_whoever_changes_it_waits_for_the_answer_of_now() -> None:
    answers = some_answers()
    await put(answers, "drop", a_kept("5 left", stock={LAMP: Level(5)}))
    answers.stock_is({LAMP: (4, 0)})
    await put(answers, "drop", a_kept("4 left", stock={LAMP: Level(4)}))
    assert (shown := answers.at_once(("drop", b"", ""))) is not None and fill(shown, {}) == b"4 left"
    answers.stock_is({LAMP: (3, 0)})
    answers.heard(2)
    assert answers.at_once(("drop", b"", "")) is None, "the catalogue changed"


async def test_the_last_answer_is_shown_where_no_other_can_be_made() -> None:
    now_s = 10.0
    answers = Answers(max_bytes=1_000_000, max_variants=10, now_s=lambda: now_s)
    answers.heard(1)
    key = ("drop", b"", "")
    await put(answers, "drop", a_kept("5 left", stock={LAMP: Level(5)}))
    answers.stock_is({LAMP: (4, 0)})
    assert answers.find(key) is None
    now_s += AT_ONCE_S

    async def cannot() -> Kept:
        raise Overloaded()

    assert fill(await answers.get(key, cannot), {}) == b"5 left"
    never = asyncio.Event()

    async def hangs() -> Kept:
        await never.wait()
        return a_kept("4 left", stock={LAMP: Level(4)})

    assert fill(await answers.get(key, hangs), {}) == b"5 left", "nobody waits for long"
    never.set()
    await eventually(lambda: answers.find(key))
    assert fill(await answers.get(key, cannot), {}) == b"4 left"
    answers.heard(2)
    with pytest.raises(Overloaded):  # what the catalogue does not offer any more is not shown
        await answers.get(key, cannot)


async def test_what_a_moment_ended_is_waited_for_until_the_database_is_known_to_be_away() -> None:
    now_s = 10.0
    answers = Answers(max_bytes=1_000_000, max_variants=10, now_s=lambda: now_s)
    answers.heard(1)
    key = ("drop", b"", "")
    await put(answers, "drop", a_kept("opens soon", until_s=11.0))
    now_s = 11.0

    async def hangs() -> Kept:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    waiting = asyncio.create_task(answers.get(key, hangs))
    await asyncio.wait([waiting], timeout=1.5 * PATIENCE_S)
    assert not waiting.done()
    answers.connected = False
    async with asyncio.timeout(20):
        assert fill(await waiting, {}) == b"opens soon"
        assert fill(await answers.get(key, hangs), {}) == b"opens soon"

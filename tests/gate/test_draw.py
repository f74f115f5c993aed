"""The permutation of the draw: one to one, uniform, and what another program computes."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from math import isqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gate.draw import Draw, commitment_of, digest_of, draw_key

KEYS = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 16, 17, 255, 256, 257, 1000, 1023, 1025, 4099])
def test_numbers_are_one_to_one(size: int) -> None:
    draw = Draw(b"k" * 32, size)
    numbers = [draw.number(index) for index in range(size)]
    assert sorted(numbers) == list(range(1, size + 1))
    assert [draw.index(number) for number in numbers] == list(range(size))


@given(KEYS, st.integers(1, 10**12), st.data())
def test_a_number_leads_back_to_its_index_in_rooms_of_any_size(key: bytes, size: int, data: st.DataObject) -> None:
    draw, index = Draw(key, size), data.draw(st.integers(0, size - 1))
    assert 1 <= draw.number(index) <= size
    assert draw.index(draw.number(index)) == index


@given(KEYS, st.integers(1, 400))
def test_any_key_and_size_give_a_permutation(key: bytes, size: int) -> None:
    draw = Draw(key, size)
    assert sorted(map(draw.number, range(size))) == list(range(1, size + 1))


def chi_square(seen: Counter[int], cells: int, total: int) -> float:
    expected = total / cells
    return sum((seen[cell] - expected) ** 2 / expected for cell in range(1, cells + 1))


def keys(count: int) -> list[bytes]:
    return [hashlib.sha256(b"chi-square %d" % each).digest() for each in range(count)]


@pytest.mark.parametrize(("size", "bound"), [(2, 20.0), (3, 25.0), (10, 45.0), (17, 60.0)])
def test_every_number_is_as_likely_for_every_index(size: int, bound: float) -> None:
    """Keys are fixed, so the result is; the bounds are exceeded by chance less than once in 100,000."""
    draws = [Draw(key, size) for key in keys(600)]
    for index in {0, size // 2, size - 1}:
        assert chi_square(Counter(draw.number(index) for draw in draws), size, len(draws)) < bound


def test_every_order_of_three_is_as_likely() -> None:
    orders = Counter(tuple(Draw(key, 3).number(index) for index in range(3)) for key in keys(1_200))
    assert len(orders) == 6
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 32


def test_early_and_late_entries_get_numbers_from_everywhere() -> None:
    """One large draw: the first tenth of the entries spreads over the numbers' tenths."""
    draw = Draw(b"one large draw" * 2, 20_000)
    tenths = Counter(1 + (draw.number(index) - 1) // 2_000 for index in range(2_000))
    assert chi_square(tenths, 10, 2_000) < 45


def number_by_the_book(key: bytes, size: int, index: int) -> int:
    """The construction of `draw.py`'s docstring, written again without looking at its code."""
    base = max(4, isqrt(size - 1) + 1)

    def once(value: int) -> int:
        high, low = value // base, value % base
        for turn in range(10):
            text = b"tidegate-draw-v1" + bytes([turn]) + size.to_bytes(8, "big") + low.to_bytes(8, "big")
            high, low = low, (high + int(hmac.new(key, text, "sha256").hexdigest()[:32], 16)) % base
        return high * base + low

    found = once(index)
    while found >= size:
        found = once(found)
    return found + 1


def test_another_program_computes_the_same() -> None:
    seed, root, beacon = bytes(range(32)), hashlib.sha256(b"root").digest(), "round 1: 8f3a"
    key = hmac.new(seed, root + beacon.encode(), "sha256").digest()
    assert draw_key(seed, root=root, beacon=beacon) == key
    assert [Draw(key, 1000).number(index) for index in range(20)] == [
        number_by_the_book(key, 1000, index) for index in range(20)
    ]


def test_vectors_stay_as_they_are() -> None:
    """Whoever checks an old draw with a newer program must get the same numbers. Made by `number_by_the_book`."""
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
    assert [Draw(key, 10).number(index) for index in range(10)] == VECTOR_10
    assert [Draw(key, 1_000_000).number(index) for index in (0, 1, 2, 499_999, 999_999)] == VECTOR_1M


VECTOR_10 = [8, 2, 6, 10, 9, 4, 7, 5, 1, 3]
VECTOR_1M = [345089, 119334, 86483, 848481, 483049]


def test_all_that_a_draw_is_made_of_changes_its_key_or_digest() -> None:
    seed, root = b"s" * 32, b"r" * 32
    assert len({draw_key(seed, root=root, beacon=beacon) for beacon in (None, "1", "2")}) == 3
    assert draw_key(seed, root=b"q" * 32, beacon="1") != draw_key(seed, root=root, beacon="1")
    about: dict[str, Any] = {
        "commitment": commitment_of(seed), "root": root, "size": 3, "beacon_source": "staff", "beacon": "1",
    }  # fmt: skip
    changes: list[dict[str, Any]] = [
        {}, {"root": b"q" * 32}, {"size": 4}, {"beacon": "2"}, {"beacon_source": ""}, {"commitment": b"c" * 32},
    ]  # fmt: skip
    assert len({digest_of(**about | change) for change in changes}) == 6

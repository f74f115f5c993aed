"""The log against RFC 9162's own definitions, written out plainly, and against vectors from another program."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gate.log import (
    BLOCK,
    EMPTY_ROOT,
    Log,
    LogBroken,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    path_to,
    root_of,
)

# Merkle tree hashes of the test entries of the Certificate Transparency projects (leaves "", 00, 10, 2021, 3031,
# 40414243, 5051525354555657, 606162...6f), for the first 1, 2, ... 8 of them.
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def defined_root(entries: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    half = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\x01" + defined_root(entries[:half]) + defined_root(entries[half:])).digest()


def entries_of(count: int) -> list[bytes]:
    return [b"entry %d" % index for index in range(count)]


def block_hashes(entries: list[bytes]) -> list[bytes]:
    return [root_of([leaf_hash(e) for e in entries[at : at + BLOCK]]) for at in range(0, len(entries), BLOCK)]


@pytest.mark.parametrize("count", range(1, 9))
def test_roots_are_those_of_certificate_transparency(count: int) -> None:
    assert Log().extended(ENTRIES[:count]).root.hex() == ROOTS[count - 1]


def test_an_empty_log_has_the_root_of_nothing() -> None:
    assert Log().root == EMPTY_ROOT == defined_root([])


@given(st.lists(st.integers(0, 40), max_size=12))
def test_any_cut_into_batches_gives_the_defined_root(batches: list[int]) -> None:
    log, entries = Log(), entries_of(sum(batches))
    done = 0
    for count in batches:
        log = log.extended(entries[done : done + count])
        done += count
        assert log.root == defined_root(entries[:done])
        log = Log.unpacked(log.size, log.packed)
    assert root_of([leaf_hash(entry) for entry in entries]) == log.root


def test_blocks_are_told_once_when_they_are_whole() -> None:
    entries = entries_of(3 * BLOCK + 5)
    log = Log()
    told: list[tuple[int, bytes]] = []
    for at in range(0, len(entries), 700):
        log = log.extended(entries[at : at + 700])
        told += log.blocks
    assert told == list(enumerate(block_hashes(entries)[:3]))


@given(st.integers(1, 300), st.data())
def test_every_entry_can_be_proven_and_no_other(size: int, data: st.DataObject) -> None:
    entries = entries_of(size)
    index = data.draw(st.integers(0, size - 1))
    leaves = [leaf_hash(entry) for entry in entries]
    root = defined_root(entries)
    proof = path_to(leaves, index)
    assert is_included(leaves[index], index, size, proof, root)
    assert not is_included(leaf_hash(b"another"), index, size, proof, root)
    assert not is_included(leaves[index], index, size, proof, sha256(root).digest())
    assert not is_included(leaves[index], index, size, [*proof, root], root)
    assert not is_included(leaves[index], size, size, proof, root)
    if proof:
        assert not is_included(leaves[index], index, size, proof[:-1], root)
        assert not is_included(leaves[index], index, size, [sha256(proof[0]).digest(), *proof[1:]], root)


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 300, 3 * BLOCK])
def test_proofs_from_blocks_are_those_of_the_whole_log(size: int) -> None:
    entries = entries_of(size)
    leaves = [leaf_hash(entry) for entry in entries]
    for index in {0, size // 2, size - 1}:
        start = index // BLOCK * BLOCK
        proof = inclusion_proof(index, size, block=leaves[start : start + BLOCK], blocks=block_hashes(entries))
        assert proof == path_to(leaves, index)
        assert is_included(leaves[index], index, size, proof, Log().extended(entries).root)


def defined_consistency(first: int, entries: list[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 9162, 2.1.4.1, word for word."""
    if first == len(entries):
        return [] if whole else [defined_root(entries)]
    half = 1 << (len(entries) - 1).bit_length() - 1
    if first <= half:
        return [*defined_consistency(first, entries[:half], whole=whole), defined_root(entries[half:])]
    return [*defined_consistency(first - half, entries[half:], whole=False), defined_root(entries[:half])]


def consistency_of(first: int, entries: list[bytes]) -> list[bytes]:
    start = first // BLOCK * BLOCK
    block = [leaf_hash(entry) for entry in entries[start : start + BLOCK]] if first % BLOCK else []
    return consistency_proof(first, len(entries), block=block, blocks=block_hashes(entries))


@given(st.integers(1, 200), st.data())
def test_a_log_is_shown_to_begin_with_an_older_one_and_with_no_other(second: int, data: st.DataObject) -> None:
    entries = entries_of(second)
    first = data.draw(st.integers(1, second))
    proof = consistency_of(first, entries)
    assert proof == defined_consistency(first, entries)
    roots = {"first_root": defined_root(entries[:first]), "second_root": defined_root(entries)}
    assert is_consistent(first, second, proof, **roots)
    for name, root in roots.items():
        assert not is_consistent(first, second, proof, **roots | {name: sha256(root).digest()})
    assert not is_consistent(first, second, [*proof, roots["second_root"]], **roots)
    assert not is_consistent(second + 1, second, proof, **roots)
    assert not is_consistent(0, second, proof, **roots)
    moved = [entries[-1], *entries[1:-1], entries[0]] if first > 1 else [b"another", *entries[1:]]
    if first < second:
        assert not is_consistent(
            first, second, consistency_of(first, moved), **roots | {"second_root": defined_root(moved)}
        )
    for at in range(len(proof)):
        assert not is_consistent(first, second, proof[:at] + proof[at + 1 :], **roots)
        assert not is_consistent(first, second, [*proof[:at], sha256(proof[at]).digest(), *proof[at + 1 :]], **roots)


SIZES = [1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 300, 3 * BLOCK, 3 * BLOCK + 1]


def test_consistency_from_blocks_is_that_of_the_whole_log() -> None:
    entries = entries_of(SIZES[-1])
    for first in SIZES:
        for second in SIZES:
            if first <= second:
                assert consistency_of(first, entries[:second]) == defined_consistency(first, entries[:second])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(LogBroken):
        Log(3, (EMPTY_ROOT,))
    with pytest.raises(LogBroken):
        Log.unpacked(1, b"short")
    with pytest.raises(LogBroken):
        path_to([EMPTY_ROOT], 1)
    with pytest.raises(LogBroken):
        inclusion_proof(0, 2, block=[EMPTY_ROOT], blocks=[EMPTY_ROOT])
    with pytest.raises(LogBroken):
        consistency_proof(3, 2, block=[EMPTY_ROOT] * 2, blocks=[EMPTY_ROOT])
    with pytest.raises(LogBroken):
        consistency_proof(1, 2, block=[], blocks=[EMPTY_ROOT])

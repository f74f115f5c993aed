"""An append-only Merkle log, hashed as RFC 9162 (Certificate Transparency 2.0), section 2.1, with SHA-256.

A log of n entries is kept as its frontier: the hashes of the full subtrees from left to right, one for each bit of n
that is set. That is enough to append to it and to know its root; proofs need the entries, or hashes of whole blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()
"""Root of a log without entries."""

BLOCK_LEVEL = 10
BLOCK = 1 << BLOCK_LEVEL
"""Entries of a block, a subtree whose hash is kept so that a proof reads one block and not the whole log."""

LEAF, NODE = b"\x00", b"\x01"
"""Prefixes that keep a leaf from passing for a node."""


class LogBroken(Exception):
    """Hashes that are not those of a log of that size."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry."""
    return sha256(LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class Log:
    """The first `size` entries of a log. `blocks` are the hashes of blocks that the last `extended` completed."""

    size: int = 0
    frontier: tuple[bytes, ...] = ()
    blocks: tuple[tuple[int, bytes], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.frontier) != self.size.bit_count():
            raise LogBroken(f"{len(self.frontier)} hashes for {self.size} entries")

    @classmethod
    def unpacked(cls, size: int, packed: bytes) -> Log:
        """The log of which `packed` was made. Raises: LogBroken."""
        if len(packed) % HASH_BYTES:
            raise LogBroken("half a hash")
        return cls(size, tuple(packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)))

    @property
    def packed(self) -> bytes:
        """The frontier as bytes."""
        return b"".join(self.frontier)

    @property
    def root(self) -> bytes:
        """Merkle tree hash of all entries."""
        if not self.frontier:
            return EMPTY_ROOT
        root = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            root = node_hash(left, root)
        return root

    def extended(self, entries: Sequence[bytes]) -> Log:
        """The log with `entries` at its end, in O(entries + log size)."""
        frontier, size = list(self.frontier), self.size
        blocks: list[tuple[int, bytes]] = []
        for entry in entries:
            subtree, level = sha256(LEAF + entry).digest(), 0
            while size >> level & 1:
                subtree = sha256(NODE + frontier.pop() + subtree).digest()
                level += 1
                if level == BLOCK_LEVEL:
                    blocks.append((size >> BLOCK_LEVEL, subtree))
            frontier.append(subtree)
            size += 1
        return Log(size, tuple(frontier), tuple(blocks))


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Root over the hashes of leaves, or of subtrees that are all full and of one size except the last."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        odd = row[-1:] if len(row) % 2 else []
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)] + odd
    return row[0]


def path_to(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings on the way from `hashes[index]` to the root, the lowest first; `hashes` as `root_of` takes them."""
    if not 0 <= index < len(hashes):
        raise LogBroken(f"no entry {index} among {len(hashes)}")
    row, path = list(hashes), []
    while len(row) > 1:
        sibling = index ^ 1
        if sibling < len(row):
            path.append(row[sibling])
        odd = row[-1:] if len(row) % 2 else []
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)] + odd
        index //= 2
    return path


def paths_to_root(hashes: Sequence[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """The root over the hashes of leaves, and the way from each of them to it: what `path_to` says, for all at once."""
    if not hashes:
        return EMPTY_ROOT, []
    row: list[bytes] = list(hashes)
    paths: list[list[bytes]] = [[] for _ in row]
    level = 0
    while len(row) > 1:
        for at, path in enumerate(paths):
            sibling = at >> level ^ 1
            if sibling < len(row):
                path.append(row[sibling])
        odd = row[-1:] if len(row) % 2 else []
        row = [sha256(NODE + row[at] + row[at + 1]).digest() for at in range(0, len(row) - 1, 2)] + odd
        level += 1
    return row[0], paths


def inclusion_proof(index: int, size: int, *, block: Sequence[bytes], blocks: Sequence[bytes]) -> list[bytes]:
    """The inclusion proof (RFC 9162, 2.1.3) of entry `index` among the first `size`.

    `block`: hashes of the leaves of the entry's own block, as many as there are. `blocks`: hashes of all whole blocks,
    and at the end that of the last one (its root) if it is not whole.
    """
    mine, at = divmod(index, BLOCK)
    if len(blocks) != -(-size // BLOCK) or len(block) != min(BLOCK, size - mine * BLOCK):
        raise LogBroken(f"the hashes do not fit {size} entries")
    return path_to(block, at) + path_to(blocks, mine)


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf with this hash is entry `index` of the log with this root."""
    return root_by(leaf, index, size, proof) == root


def root_by(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root to which `proof` leads from the leaf with this hash, entry `index` of `size`; None if it leads nowhere.

    The algorithm of RFC 9162, 2.1.3.2.
    """
    if not 0 <= index < size:
        return None
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        at >>= 1
        last >>= 1
    return found if last == 0 else None


def consistency_proof(first: int, size: int, *, block: Sequence[bytes], blocks: Sequence[bytes]) -> list[bytes]:
    """That the first `first` entries of the log of `size` are its beginning (RFC 9162, 2.1.4).

    `block`: hashes of the leaves of the block that entry `first - 1` is in, as many as there are; none where that block
    is whole in the first log. `blocks` as `inclusion_proof` takes them.
    """
    partial = first // BLOCK if first % BLOCK else None
    wanted = 0 if partial is None else min(BLOCK, size - partial * BLOCK)
    if not 1 <= first <= size or len(blocks) != -(-size // BLOCK) or len(block) != wanted:
        raise LogBroken(f"the hashes do not fit {first} of {size} entries")

    def subtree(start: int, end: int) -> bytes:
        if partial is not None and partial * BLOCK <= start and end <= (partial + 1) * BLOCK:
            return root_of(block[start - partial * BLOCK : end - partial * BLOCK])
        return root_of(blocks[start // BLOCK : -(-end // BLOCK)])

    proof: list[bytes] = []
    start, end, left, whole = 0, size, first, True
    while left < end - start:
        half = 1 << (end - start - 1).bit_length() - 1
        if left <= half:
            proof.append(subtree(start + half, end))
            end = start + half
        else:
            proof.append(subtree(start, start + half))
            start, left, whole = start + half, left - half, False
    return ([] if whole else [subtree(start, end)]) + proof[::-1]


def is_consistent(first: int, second: int, proof: Sequence[bytes], *, first_root: bytes, second_root: bytes) -> bool:
    """Whether `proof` shows that the log with the first root is the beginning of the one with the second.

    The algorithm of RFC 9162, 2.1.4.2; `first` and `second` are how many entries they have.
    """
    if not 1 <= first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = [first_root, *proof] if first.bit_count() == 1 else list(proof)
    if not path:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at >>= 1
        last >>= 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            new = node_hash(new, node)
        at >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root

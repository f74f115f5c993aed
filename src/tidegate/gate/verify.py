"""Checking a draw from what is public: the log, the commitment, the digest, and the order that comes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from tidegate.gate.contracts import RoomMode
from tidegate.gate.draw import LABEL, Draw, commitment_of, digest_of, draw_key
from tidegate.gate.log import HASH_BYTES, Log
from tidegate.gate.messages import DrawAnswer

PROGRESS_EVERY = 10_000
HASH = re.compile(r"[0-9a-f]{64}")


class NotChecked(Exception):
    """The draw could not be checked: something is missing, cannot be read, or is not over yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `wrong` is empty for a draw that is as it was promised.

    `order` is a hash over the entries in the order of their numbers: two people who compare it compare everything.
    """

    size: int
    assurance: str
    wrong: tuple[str, ...]
    order: str


def check_draw(
    draw: DrawAnswer,
    entries: Sequence[bytes],
    *,
    commitment: str | None = None,
    digest: str | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Verdict:
    """Recompute all of a draw. `commitment` and `digest` are what somebody wrote down before or elsewhere.

    Raises: NotChecked when the draw is not over, or of a kind that this version does not know.
    """
    size, root = draw.size, _hash(draw.root, "root")
    if size is None:
        raise NotChecked("the draw does not say how many entries it was made of")
    wrong = []
    if len(entries) != size:
        wrong.append(f"the list has {len(entries):,} entries, the draw says {size:,}")
    if len(set(entries)) != len(entries):
        wrong.append("an entry is in the list twice")
    if Log().extended(entries).root != root:
        wrong.append("the list's root is not the draw's: entries were added, left out, changed or moved")
    wrong += wrong_values(draw, commitment=commitment, digest=digest)
    if draw.mode == RoomMode.ARRIVAL:
        return Verdict(size, "arrival", tuple(wrong), _order_hash(entries, range(0 if wrong else size)))
    key = draw_key(_hash(draw.seed, "seed"), root=root, beacon=draw.beacon)
    order = [] if wrong else _order(Draw(key, size), on_progress=on_progress)
    if not wrong and sorted(order) != list(range(size)):
        wrong.append("the numbers are not one for each entry")
    return Verdict(size, assurance_of(draw), tuple(wrong), _order_hash(entries, order))


def assurance_of(draw: DrawAnswer) -> str:
    """What a draw is worth, by what went into it."""
    if draw.mode == RoomMode.ARRIVAL:
        return "arrival"
    return "verifiable" if draw.beacon is not None and not _was_known_before(draw) else "reproducible"


def wrong_values(draw: DrawAnswer, *, commitment: str | None = None, digest: str | None = None) -> list[str]:
    """What does not fit together in the draw's own document, and with what was noted. Raises: NotChecked."""
    wrong = []
    if commitment is not None and commitment != draw.commitment:
        wrong.append("the commitment is not the one that was published before")
    if digest is not None and digest != draw.digest:
        wrong.append("the digest is not the one that was noted")
    return wrong if draw.mode == RoomMode.ARRIVAL else wrong + _misfits(draw)


def number_in(draw: DrawAnswer, index: int) -> int:
    """The number of entry `index` with a draw that was checked. Raises: NotChecked."""
    if draw.size is None:
        raise NotChecked("the draw is not over yet")
    if draw.mode == RoomMode.ARRIVAL or index >= draw.size:
        return index + 1
    key = draw_key(_hash(draw.seed, "seed"), root=_hash(draw.root, "root"), beacon=draw.beacon)
    return Draw(key, draw.size).number(index)


def read_entry(line: str) -> bytes:
    """One line of a list. Raises: NotChecked."""
    if HASH.fullmatch(line) is None:
        raise NotChecked(f"the list has a line that is no entry: {line[:80]!r}")
    return bytes.fromhex(line)


def _was_known_before(draw: DrawAnswer) -> bool:
    """Whether the value was taken while people still joined, as the draw itself says."""
    if draw.cut_at is None or draw.beacon_at is None:
        return False
    try:
        return datetime.fromisoformat(draw.beacon_at) < datetime.fromisoformat(draw.cut_at)
    except (ValueError, TypeError):
        raise NotChecked("the draw's times cannot be read") from None


def _misfits(draw: DrawAnswer) -> list[str]:
    if draw.algorithm != LABEL.decode():
        raise NotChecked(f"this version does not know the draw {draw.algorithm!r}")
    commitment, seed, root = _hash(draw.commitment, "commitment"), _hash(draw.seed, "seed"), _hash(draw.root, "root")
    wrong = []
    if commitment_of(seed) != commitment:
        wrong.append("the seed is not the one that was committed to")
    expected = digest_of(
        commitment=commitment, root=root, size=draw.size or 0, beacon_source=draw.beacon_source, beacon=draw.beacon
    )
    if expected.hex() != draw.digest:
        wrong.append("the digest is not that of this draw")
    return wrong


def _order(draw: Draw, *, on_progress: Callable[[int], None]) -> list[int]:
    """The index of each number, from number 1 on."""
    order = [0] * draw.size
    for index in range(draw.size):
        order[draw.number(index) - 1] = index
        if index % PROGRESS_EVERY == 0:
            on_progress(index)
    return order


def _order_hash(entries: Sequence[bytes], order: Sequence[int]) -> str:
    found = sha256()
    for index in order:
        found.update(entries[index])
    return found.hexdigest()


def _hash(text: str | None, name: str) -> bytes:
    if text is None:
        raise NotChecked(f"the draw is not over: it has no {name} yet")
    if HASH.fullmatch(text) is None or len(text) != 2 * HASH_BYTES:
        raise NotChecked(f"the draw's {name} is not a hash in 64 hexadecimal digits")
    return bytes.fromhex(text)

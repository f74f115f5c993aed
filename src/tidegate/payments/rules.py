"""Decisions about charges: pure functions around one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from tidegate.payments.contracts import Answer, Applied, ChargeState
from tidegate.platform.money import Money

INTENT, REQUIRES_ACTION, CAPTURED, FAILED, CANCELLED = ChargeState

MOVES: Mapping[ChargeState, frozenset[ChargeState]] = MappingProxyType(
    {
        INTENT: frozenset({REQUIRES_ACTION, CANCELLED, FAILED, CAPTURED}),
        REQUIRES_ACTION: frozenset({CANCELLED, FAILED, CAPTURED}),
        CANCELLED: frozenset({FAILED, CAPTURED}),
        FAILED: frozenset({CAPTURED}),
        CAPTURED: frozenset(),
    }
)
"""Where an answer may take a charge. A total order: so any answers, in any order and number, end in the same state,
and a capture, once told, is never untold. Answers that are not moves say nothing new."""

CAPTURED_TWICE = "captured-twice"
"""The failure of a charge whose money must go back because another attempt had paid the order first."""

MAX_FAILURE = 255
"""Longest failure that is kept, in characters."""

MAX_DESCRIPTION = 255
"""Longest description that is kept, in characters."""

LONGEST_PAUSE_S = 60.0
"""Longest pause between two questions about the same charge, refund or webhook."""

METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}", re.ASCII)
CARD_DIGITS = re.compile(r"[0-9]{12}")


class Step(Struct, frozen=True):
    """What becomes of a charge: its next state and failure, and what to report."""

    state: ChargeState
    failure: str | None
    applied: Applied


def pays(answer: Answer, total: Money) -> bool:
    """Whether `answer` tells of a capture of all of `total`."""
    return answer.state is CAPTURED and answer.total in (None, total)


def decide(state: ChargeState, failure: str | None, answer: Answer, *, total: Money, paid_by_other: bool) -> Step:
    """What `answer` does to a charge of `total` in `state`; `paid_by_other`: another attempt of the order is captured.

    A capture of another sum changes nothing: it does not pay the order, what to give back is not ours to guess, and
    an open charge goes on keeping the order's stock while the reconciler asks, until a human has mended it at the
    provider. A capture of a second attempt never becomes one here: the charge is closed as not ours to keep, and
    reported every time it is told, so that a crash before the refund was recorded costs nothing.
    """
    if answer.state is CAPTURED and state is not CAPTURED and not pays(answer, total):
        return Step(state, failure, Applied.OTHER_TOTAL)
    if answer.state is CAPTURED and state is not CAPTURED and paid_by_other:
        return Step(state if state.settled else CANCELLED, CAPTURED_TWICE, Applied.CAPTURED_TWICE)
    if answer.state not in MOVES[state] or failure == CAPTURED_TWICE:
        return Step(state, failure, Applied.SAME)
    told = (answer.failure or answer.state.value)[:MAX_FAILURE] if answer.state in (FAILED, CANCELLED) else None
    # Between two ways of not being paid there is nothing that anybody must do.
    applied = Applied.SAME if state is CANCELLED and answer.state is FAILED else Applied.CHANGED
    return Step(answer.state, told, applied)


def may_be_method(text: str) -> bool:
    """Whether `text` can be kept as a method: a name that could not be a card's number."""
    return METHOD.fullmatch(text) is not None and CARD_DIGITS.search(text.replace("_", "")) is None

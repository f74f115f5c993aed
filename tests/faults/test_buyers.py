"""What the buyers of these tests take for one answer."""

from __future__ import annotations

import json

import pytest

from tests.faults.buyers import differ
from tests.faults.wire import Answer

MADE = Answer(201, json.dumps({"id": "order", "hold_id": "own"}).encode())
HELD = Answer(201, json.dumps({"id": "own", "lines": []}).encode())
SOLD_OUT = Answer(409, json.dumps({"type": "/problems/sold-out"}).encode())


def holds_open(hold_id: str) -> Answer:
    return Answer(409, json.dumps({"type": "/problems/holds-open", "hold_id": hold_id}).encode())


@pytest.mark.parametrize(
    ("answers", "are_different"),
    [
        ([MADE, MADE], False),
        ([MADE, SOLD_OUT], True),
        ([MADE, holds_open("earlier")], False),
        ([MADE, holds_open("own")], True),
        ([HELD, holds_open("own")], True),
        ([holds_open("earlier"), holds_open("earlier")], False),
    ],
)
def test_that_another_hold_is_open_is_no_answer_but_ones_own_is(answers: list[Answer], are_different: bool) -> None:
    assert differ(answers) is are_different

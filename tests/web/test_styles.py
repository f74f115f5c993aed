"""The one style sheet is whole: a block that is not closed takes the rest of the file with it, in silence."""

from __future__ import annotations

import re
from pathlib import Path

import tidegate.web

SHEET = Path(tidegate.web.__file__).parent / "static" / "site.css"


def test_sections_begin_outside_of_blocks() -> None:
    depth = 0
    for number, line in enumerate(SHEET.read_text(encoding="utf-8").splitlines(), start=1):
        if re.match(r"/\*.*\*/$", line):
            assert depth == 0, f"line {number}: a block before {line!r} is not closed"
        depth += line.count("{") - line.count("}")
        assert depth >= 0, f"line {number} closes a block that is not open"
    assert depth == 0, "the last block is not closed"

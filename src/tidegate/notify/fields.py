"""The problem for a request whose fields are wrong, each named with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MOST_NAMED: Final = 100
"""Most wrong fields that one problem names."""


def wrong_fields(errors: Sequence[tuple[str, str]]) -> InvalidRequest:
    """Pairs of a field's path (`recipients[3].email`) and what is wrong with it, as a problem."""
    named = [{"field": field[:200], "message": message} for field, message in errors[:MOST_NAMED]]
    return InvalidRequest(_("Some fields are missing or wrong. Nothing was changed."), errors=named)

"""Telling of failures without telling of people."""

from __future__ import annotations

import traceback


def describe_error(error: BaseException) -> str:
    """The error's type and where it arose, without its text, which may carry personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "tidegate" in f.filename), frames[-1] if frames else None)
    where = "" if place is None else f" at {place.filename.rpartition('tidegate/')[2]}:{place.lineno}"
    return f"{type(error).__module__}.{type(error).__qualname__}{where}"

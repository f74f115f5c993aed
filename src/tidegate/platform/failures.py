"""Telling of failures without telling of people, and telling several callers of the same one."""

from __future__ import annotations

import asyncio
import traceback
from typing import TypeVar

T = TypeVar("T")
Failure = TypeVar("Failure", bound=Exception)


def describe_error(error: BaseException) -> str:
    """The error's type and where it arose, without its text, which may carry personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "tidegate" in f.filename), frames[-1] if frames else None)
    where = "" if place is None else f" at {place.filename.rpartition('tidegate/')[2]}:{place.lineno}"
    return f"{type(error).__module__}.{type(error).__qualname__}{where}"


def own_copy(error: Failure) -> Failure:
    """The same failure for another caller: who raises one object in several tasks mixes up their tracebacks.

    It is made past the class's own `__init__`, whose arguments nobody knows any more.
    """
    kind = type(error)
    copied = kind.__new__(kind, *error.args)
    built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    built_in.__init__(copied, *error.args)  # type: ignore[misc]  # itself, not what a subclass makes of it
    if isinstance(error, OSError) and isinstance(copied, OSError) and error.filename is not None:
        copied.filename = error.filename  # not among its `args`
    copied.__dict__.update(error.__dict__)
    copied.__context__, copied.__cause__ = error.__context__, error.__cause__
    copied.__suppress_context__ = error.__suppress_context__
    return copied.with_traceback(error.__traceback__)


async def outcome_of(work: asyncio.Future[T]) -> T:
    """What shared work comes to; its error is a copy of the caller's own, and the work outlives the caller.

    Raises: what the work raised; CancelledError also when the work was cancelled.
    """
    await asyncio.wait([work])
    if not work.cancelled() and isinstance(error := work.exception(), Exception):
        raise own_copy(error)
    return work.result()

"""What the pages need to know of a visitor, without knowing the module that keeps accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from tidegate.platform.attempts import Limit
from tidegate.platform.ids import PersonId


class Visitor(Protocol):
    """Somebody with a session."""

    @property
    def id(self) -> PersonId:
        """Who it is."""

    @property
    def role(self) -> str:
        """What they may do: guest, customer, staff or admin."""


class NewSession(Protocol):
    """A session that was just made."""

    @property
    def token(self) -> str:
        """What its owner must show; told once."""

    @property
    def person(self) -> Visitor:
        """Whose it is."""


ResolvePerson = Callable[[str], Awaitable[Visitor | None]]
"""Finds whose session a token is; `app.state.resolve_person`, put there by the site's entry point."""

ResolveBuyer = Callable[[str, Limit | None], Awaitable[Visitor | None]]
"""The same for a request that buys; `app.state.resolve_buyer`.

It counts the request, and raises TooManyRequests when there were too many, or when a bucket of the limit is full.
"""

MakeGuest = Callable[[], Awaitable[NewSession]]
"""Makes a guest with a session; `app.state.make_guest`."""

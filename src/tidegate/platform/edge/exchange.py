"""What the layers of the edge know about one request and its response, in one object that they share."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

SCOPE_KEY = "tidegate.exchange"


@dataclass(slots=True)
class Exchange:
    """One request and its response."""

    request_id: str
    """Goes into every log line, and to the caller in `X-Request-ID`."""
    status: int = 0
    """HTTP status of the response; 0 until it has started."""
    complete: bool = False
    """Whether the last byte of the response was handed to the server."""
    route: str = ""
    """Template of the address (`/api/v1/holds/{hold_id}`), where a hot route served it."""
    hot_methods: frozenset[str] = frozenset()
    """Methods that hot routes take at this address, when none of them is the request's."""


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of a request; a fresh one for a scope that did not come through the edge."""
    found: Exchange = scope.setdefault(SCOPE_KEY, Exchange(request_id="-"))
    return found

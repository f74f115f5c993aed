"""What the layers of the edge know about one request and its response, in one object that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Scope

SCOPE_KEY = "tidegate.exchange"


@dataclass(slots=True)
class Exchange:
    """One request and its response."""

    request_id: str
    """Goes into every log line, and to the caller in `X-Request-ID`."""
    headers: Mapping[bytes, bytes]
    """The request's headers by their names in small letters; the first of each name."""
    status: int = 0
    """HTTP status of the response; 0 until it has started."""
    complete: bool = False
    """Whether the last byte of the response was handed to the server."""
    route: str = ""
    """Template of the address (`/api/v1/holds/{hold_id}`), where a hot route served it."""
    hot_methods: frozenset[str] = frozenset()
    """Methods that hot routes take at this address, when none of them is the request's."""
    stream: bool = False
    """Whether the response has no end to wait for: it is noted when it starts, and no bound on its time holds."""
    release: Callable[[], None] | None = None
    """Takes the request out of those whose time is bounded."""

    def begin_stream(self) -> None:
        """Let the response last for as long as it lasts; its handler bounds how many there are and how they end."""
        self.stream = True
        if self.release is not None:
            self.release()


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of a request; a fresh one for a scope that did not come through the edge."""
    found: Exchange | None = scope.get(SCOPE_KEY)
    if found is None:
        found = scope[SCOPE_KEY] = Exchange(request_id="-", headers=first_of_each(scope["headers"]))
    return found


def first_of_each(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; of several by one name, the first, as Starlette takes it too."""
    return dict(reversed(headers))

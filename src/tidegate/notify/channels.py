"""What a channel to people is: an adapter over the far side's protocol. Inboxes are in the shop and have none.

An adapter says how a delivery becomes a message, lends connections to hand messages over, and how much of it the far
side takes. All else is the same for every channel: claims, leases, quotas, retries, outcomes, counts. `adapters` lists
those that there are.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from tidegate.notify.message_texts import Texts
from tidegate.notify.outcomes import Delivery
from tidegate.platform.settings import Settings


class FarSideAway(Exception):
    """The far side cannot be reached or does not let us in: no message's fault."""


class Refusal(Exception):
    """The far side did not take this message. `final`: it never will. The text names no address.

    `doubtful`: it had all of it and did not answer, so that it may have taken it all the same. `busy`: it wants less,
    or later. `closing`: it wants nothing at all for now, whatever the message. `silent`: it did not answer.
    """

    def __init__(
        self,
        reason: str,
        *,
        final: bool,
        doubtful: bool = False,
        busy: bool = False,
        closing: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.doubtful = doubtful
        self.busy = busy
        self.closing = closing
        self.silent = silent


class Line(Protocol):
    """A connection to the far side."""

    async def send(self, message: Any, /) -> str:
        """Hand one message over; the id by which its provider knows it. Raises: BadAddress, Refusal, FarSideAway."""


class Lines(Protocol):
    """Connections that a process keeps."""

    def lend(self) -> AbstractAsyncContextManager[Line]:
        """One for the length of a block, made when its first message is sent."""

    async def close(self) -> None:
        """Hang up on all that are kept."""


class Writer(Protocol):
    """Writes the messages of a batch: what their recipients share is rendered once."""

    def write(self, delivery: Delivery, /) -> Any:
        """The message that a delivery is, as its lines take it. Raises: BadAddress, MessageUnfit."""


class Limits(Protocol):
    """How much of a provider a process uses; `MailSettings` says what each means."""

    @property
    def connections(self) -> int:
        """Lines that one task uses at once."""

    @property
    def window(self) -> int:
        """Most messages that one task has in hand."""

    @property
    def per_s(self) -> float:
        """Messages a second that the provider takes from all processes; 0: it has no limit."""

    @property
    def burst(self) -> int:
        """Messages that may go at once; 0: those of a second."""

    @property
    def local_share(self) -> float:
        """Part of `per_s` that each process takes while Valkey is away."""

    @property
    def breaker_failures(self) -> int:
        """Silences in a row before the provider is left alone."""

    @property
    def breaker_pause_s(self) -> int:
        """How long it is left alone."""


class Adapter(Protocol):
    """A channel by one provider."""

    @property
    def channel(self) -> str:
        """As deliveries name it."""

    def limits(self, settings: Settings, /) -> Limits:
        """What the provider puts up with."""

    def quota_key(self, settings: Settings, /) -> bytes:
        """Where Valkey keeps the quota: one for each provider and sender."""

    def id_ending(self, settings: Settings, /) -> str:
        """Behind the key of a delivery it makes the id under which its message is handed over, however often."""

    def lines(self, settings: Settings, /) -> Lines:
        """Connections for one event loop."""

    def writer(self, settings: Settings, texts: Texts, /) -> Writer:
        """A writer for one batch."""

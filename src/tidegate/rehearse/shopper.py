"""One simulated shopper: as little memory as a person needs to be somebody."""

from __future__ import annotations

from tidegate.rehearse.contracts import Kind, Step


class Shopper:
    """Somebody in the shop. Times are seconds of the crowd's clock.

    `due_s` is when what they do now was due: latency counts from it; `sent_s` is when it was sent. `turn` counts their
    decisions. `index` is where their entry stands in the room's log, `line` their number in the line, `token` whose
    session they have, `order` the id of their hold and then of their order. Of somebody with two tabs each tab is a
    `Shopper`; `tab` says that it is the second.
    """

    __slots__ = (
        "admission",
        "admitted",
        "came_s",
        "due_s",
        "failures",
        "index",
        "kind",
        "line",
        "looked",
        "number",
        "order",
        "over",
        "place",
        "sent_s",
        "step",
        "tab",
        "ticket",
        "token",
        "turn",
    )

    def __init__(self, number: int, kind: Kind, came_s: float, *, token: bytes = b"", tab: bool = False) -> None:
        self.number = number
        self.kind = kind
        self.came_s = came_s
        self.due_s = self.sent_s = came_s
        self.token = token
        self.tab = tab
        self.step = Step.PAGE
        self.order = b""
        self.place = b""
        self.ticket = b""
        self.admission = b""
        self.admitted = False
        self.line: int | None = None
        self.index = 0
        self.looked = 0
        self.failures = 0
        self.over = False
        self.turn = 0

    @property
    def buys(self) -> Step:
        """What they do when they may buy."""
        return Step.HOLD if self.kind is Kind.HOLDER else Step.PURCHASE

    @property
    def waits(self) -> bool:
        """Whether they have a place and not yet a pass."""
        return bool(self.place) and not self.admission

"""A site process as `tidegate up` starts it, with one way to pay more: `instant` captures at once, in the process.

So a benchmark measures the shop, not a simulator of somebody else's gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tidegate.entrypoints.site import serve
from tidegate.payments.contracts import (
    Answer,
    BadSignature,
    Charge,
    ChargeIntent,
    ChargeRef,
    ChargeState,
    Refund,
    RefundAnswer,
    RefundState,
)
from tidegate.platform.settings import current_settings


class InstantProvider:
    """A `Provider` that always says yes."""

    name = "instant"

    def check_method(self, method: str) -> None:
        """Every method will do."""

    async def charge(self, intent: ChargeIntent) -> Answer:
        """Captured."""
        return Answer(ChargeState.CAPTURED, intent.ref.key)

    async def ask(self, charge: Charge) -> Answer:
        """Captured, as it was the first time."""
        return Answer(ChargeState.CAPTURED, charge.ref.key)

    async def end(self, charge: Charge) -> Answer:
        """Too late: captured."""
        return Answer(ChargeState.CAPTURED, charge.ref.key)

    async def refund(self, refund: Refund, *, provider_ref: str) -> RefundAnswer:
        """Given back."""
        return RefundAnswer(RefundState.DONE, refund.key)

    async def close(self) -> None:
        """It has nothing to let go of."""

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> str:
        """It sends no webhooks."""
        raise BadSignature("This provider sends no webhooks.")

    def read_event(self, body: bytes) -> tuple[ChargeRef, Answer] | None:
        """It sends no webhooks."""
        return None


def main() -> None:
    """Serve until SIGTERM, on the inherited socket."""
    serve(current_settings(), providers=(InstantProvider(),))


if __name__ == "__main__":
    main()

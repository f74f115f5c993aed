"""A checkout process as `tidegate up` starts it beside the site, with the way to pay of `benchmarks.site`.

With AT_ONCE in its environment its gateway is slow: it takes so many charges of this process at once, each for WAIT_S.
"""

from __future__ import annotations

import asyncio
import os

from benchmarks.site import InstantProvider
from tidegate.entrypoints.parts import CHECKOUT, serve
from tidegate.payments.contracts import Answer, ChargeIntent
from tidegate.platform.settings import current_settings

AT_ONCE = "BENCHMARK_CHARGES_AT_ONCE"
WAIT_S = 0.2


class SlowProvider(InstantProvider):
    """Says yes after a while, to some at once."""

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)

    async def charge(self, intent: ChargeIntent) -> Answer:
        """Captured, when it is its turn and some time has passed."""
        async with self._room:
            await asyncio.sleep(WAIT_S)
        return await super().charge(intent)


def main() -> None:
    """Serve until SIGTERM, on the inherited socket."""
    at_once = int(os.environ.get(AT_ONCE, "0"))
    serve(CHECKOUT, current_settings(), providers=(SlowProvider(at_once) if at_once else InstantProvider(),))


if __name__ == "__main__":
    main()

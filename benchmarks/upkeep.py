"""What the scheduler does for the sale, without its outbox relay: expiry of holds and orders, reconciliation."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

from benchmarks.site import InstantProvider
from tidegate.checkout import Shop, expire_holds_once, expire_orders_once, reconcile_once
from tidegate.payments import make_providers
from tidegate.platform.database import open_database
from tidegate.platform.loops import Loop, run_loops
from tidegate.platform.observability import configure_logging
from tidegate.platform.settings import Settings, current_settings

GRACE_S = 2.0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_database(settings) as database:
        shop = Shop(database, settings, make_providers(database, settings, extra=(InstantProvider(),)))
        sweep_s = settings.holds.sweep_interval_ms / 1000
        loops = [
            Loop("expire-holds", partial(expire_holds_once, shop), sweep_s),
            Loop("expire-orders", partial(expire_orders_once, shop), sweep_s),
            Loop("reconcile", partial(reconcile_once, shop), settings.payments.reconcile_interval_ms / 1000),
        ]
        await run_loops(loops, stop=stop, grace_s=GRACE_S)


def main() -> None:
    """Run until SIGTERM."""
    settings = current_settings()
    configure_logging(settings, process_name="upkeep")
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()

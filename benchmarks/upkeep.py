"""What the scheduler does for the sale, without its outbox relay: expiry of holds and orders, reconciliation."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial

from benchmarks.site import InstantProvider
from tidegate.checkout import expire_holds_once, expire_orders_once, open_shop, reconcile_once
from tidegate.payments import make_providers
from tidegate.platform.database import open_database
from tidegate.platform.loops import Loop, run_loops
from tidegate.platform.observability import configure_logging
from tidegate.platform.settings import Settings, current_settings

GRACE_S = 2.0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        providers = make_providers(database, settings, extra=(InstantProvider(),))
        shop = await stack.enter_async_context(open_shop(database, settings, providers))
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

"""localstripe on 127.0.0.1 alone, keeping nothing on disk: `python -m tests.payments.localstripe_server` says its port.

Its own start would listen on every interface and write to a fixed place.
"""

from __future__ import annotations

import asyncio
import sys

import localstripe.resources
import localstripe.server
from aiohttp import web


async def serve() -> None:
    """Answer until standard input ends, which it does with whoever started this."""
    runner = web.AppRunner(localstripe.server.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, input_ended)
    await runner.cleanup()


def input_ended() -> None:
    """Wait for it."""
    while True:
        try:
            input()
        except EOFError:
            return


if __name__ == "__main__":
    localstripe.resources.Store.dump_to_disk = lambda _store: None
    asyncio.run(serve())

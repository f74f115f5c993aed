"""The gateway as a process: `python -m tests.gateway --port N` prints its address and serves until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import signal

from tests.gateway.server import open_gateway


async def _serve(host: str, port: int, webhook_url: str, webhook_secret: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_gateway(host=host, port=port) as gateway:
        gateway.hooks.url = webhook_url
        gateway.hooks.secrets = [webhook_secret]
        print(gateway.url, flush=True)  # noqa: T201
        await stop.wait()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--webhook-url", default="", help="where events are sent; empty for nowhere")
    parser.add_argument("--webhook-secret", default="whsec_gateway")
    options = parser.parse_args()
    asyncio.run(_serve(options.host, options.port, options.webhook_url, options.webhook_secret))


if __name__ == "__main__":
    main()

"""The rehearsal's proxies, in a process of their own: between the shop's processes and what they depend on.

Run as `python -m tidegate.rehearse.detours NOTE NAME ...`. NOTE is the file in which the shop's supervisor says where
each NAME really is. The first line on standard output is JSON, the port before each. Lines of JSON on standard input
say what to do to what passes, each answered by a line; the end of the input ends the process, so that it never outlives
who started it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from tidegate.platform.broken_network import Break, Proxy, dial_url
from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.problems import StartupError

STOP_S = 5.0


class Order(msgspec.Struct, frozen=True):
    """From now on do `how` to what passes through the proxy before `name`."""

    name: str
    how: Break
    delay_s: float = 0.0


class Detours:
    """The proxies, as the rehearsal commands them. `ports` says where the one before each dependency listens."""

    def __init__(self, ports: Mapping[str, int], process: subprocess.Popen[bytes]) -> None:
        self.ports = ports
        self._process = process

    async def break_all(self, name: str, how: Break, *, delay_s: float = 0.0) -> None:
        """Do this to what passes before `name`; returns when it is so."""
        await asyncio.to_thread(self._tell, Order(name, how, delay_s))

    def _tell(self, order: Order) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise StartupError("the rehearsal's proxies ended by themselves")


@contextmanager
def open_detours(names: Sequence[str], *, note: Path) -> Iterator[Detours]:
    """Start a proxy before each of `names`; they end with the block, or with this process. Raises: StartupError."""
    argv = (sys.executable, "-m", __name__, str(note), *names)
    with subprocess.Popen(
        launch_command(Program(argv=argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            try:
                ports = msgspec.json.decode(process.stdout.readline(), type=dict[str, int])
            except msgspec.MsgspecError:
                raise StartupError("the rehearsal's proxies did not start") from None
            yield Detours(ports, process)
        finally:
            process.stdin.close()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def serve_detours(note: Path, names: Sequence[str]) -> None:
    """Listen on a free port for each of `names`; pass on and break as standard input says, until its end."""
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with AsyncExitStack() as stack:
        proxies = {name: await stack.enter_async_context(Proxy(partial(_dial, note, name))) for name in names}
        print(json.dumps({name: proxy.port for name, proxy in proxies.items()}), flush=True)  # noqa: T201 - so it tells
        while line := await orders.readline():
            order = msgspec.json.decode(line, type=Order)
            proxies[order.name].break_all(order.how, delay_s=order.delay_s)
            print("done", flush=True)  # noqa: T201


async def _dial(note: Path, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to where the supervisor says; OSError before it has said so."""
    told = await asyncio.to_thread(note.read_text)
    return await dial_url(json.loads(told)[name])


def main(arguments: Sequence[str]) -> None:
    """Run the process."""
    note, *names = arguments
    uvloop.run(serve_detours(Path(note), names))


if __name__ == "__main__":
    main(sys.argv[1:])

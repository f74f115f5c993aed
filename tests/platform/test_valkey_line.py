"""A line to Valkey outlives its connection, also as the shop's own event loop tells of a reset."""

from __future__ import annotations

import asyncio

import uvloop

from tidegate.platform.valkey import Script, ScriptLine

SAY = Script("return ARGV[1]")


def test_a_connection_that_was_reset_is_made_anew(valkey_url: str) -> None:
    async def ask_twice() -> list[bytes]:
        line = ScriptLine(valkey_url, scripts=[SAY], timeout_s=5.0, name="test")
        first = await line.ask(SAY, [], [b"first"])
        writer = line._connection._writer
        assert writer is not None
        writer.transport.abort()
        await asyncio.sleep(0)
        second = await line.ask(SAY, [], [b"second"])
        await line.close()
        return [first, second]

    assert uvloop.run(ask_twice()) == [b"first", b"second"]

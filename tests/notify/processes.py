"""Processes of the shop on a test's servers, and a send that they work on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.waiting import eventually
from tidegate import notify
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id

STOP_S = 8.0


@dataclass(slots=True)
class Processes:
    """Processes of the shop on this test's servers."""

    folder: Path
    environment: Mapping[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """`tidegate NAME`."""
        with (self.folder / f"{name}-{len(self.running)}.log").open("ab") as out:
            command = [sys.executable, "-m", "tidegate", name]
            process = subprocess.Popen(command, env=dict(self.environment), stdout=out, stderr=out)
        self.running.append(process)
        return process

    async def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9 one; returns when its children are gone, too."""
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        process.wait()
        self.running.remove(process)
        await eventually(lambda: not any(one.is_running() for one in family))

    def stop(self) -> dict[int, int]:
        """Ask all to stop, in bounded time; exit codes by process id."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        try:
            return {process.pid: process.wait(max(deadline - time.monotonic(), 0.1)) for process in self.running}
        finally:
            for process in self.running:
                process.kill()
                process.wait()
            self.running.clear()


async def begin(database: Database, key: str) -> EventId:
    """Begin to tell the followers of a collection."""
    event_id = EventId(new_id())
    async with database.transaction() as conn:
        (topic,) = await notify.find_followed(conn, topics={notify.TopicKind.COLLECTION: [key]})
        variables = {"title": "Lamps", "url": "http://127.0.0.1:8000/drops/lamps"}
        await notify.begin_send(conn, event_id=event_id, topic=topic, template="drop_open", variables=variables)
    return event_id


async def progress(database: Database, event_id: EventId) -> notify.Progress:
    """How far a send has come."""
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=10, event_id=event_id)
    return send.progress


async def inboxes(database: Database, event_id: EventId) -> int:
    """How many inboxes an event is in."""
    async with database.connection() as conn:
        found = await conn.execute("SELECT count(*) FROM notify.inbox_messages WHERE event_id = %s", (event_id,))
        row = await found.fetchone()
    assert row is not None
    return int(row[0])

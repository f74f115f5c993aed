"""The worker and the scheduler of the notify benchmark: the shop's own, and beside them the naive way to be compared.

    python -m benchmarks.notify_processes {worker,single,urgent,scheduler} METRICS_PORT

The naive way is a task per recipient, each a transaction of its own: an inbox message and its delivery.
"""

from __future__ import annotations

import sys
from functools import partial
from uuid import UUID

from celery import shared_task

from tidegate.entrypoints import scheduler, worker
from tidegate.notify.messages import MessageContext, write_inbox
from tidegate.platform.database import Database
from tidegate.platform.jobs import BULK, LANES, run_async
from tidegate.platform.settings import Settings, current_settings

NAIVE_TASK = "benchmarks.naive"
VARIABLES = {"title": "Lamps", "topic_title": "Lamps", "url": "http://127.0.0.1:8000/drops/lamps"}


@shared_task(name=NAIVE_TASK)
def tell_one(event_id: str, recipient_id: str) -> None:
    """Tell one recipient."""
    run_async(partial(_tell_one, event_id=UUID(event_id), recipient_id=UUID(recipient_id)))


async def _tell_one(database: Database, settings: Settings, *, event_id: UUID, recipient_id: UUID) -> None:
    async with database.transaction() as conn:
        found = await conn.execute("SELECT locale FROM notify.recipients WHERE recipient_id = %s", (recipient_id,))
        row = await found.fetchone()
        assert row is not None
        words = write_inbox("drop_open", VARIABLES, context=MessageContext(settings.shop_name, row[0]))
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, sent_at)
            VALUES (%s, %s, 'inbox', 'drop_open', '{}', 'sent', clock_timestamp())
            """,
            (event_id, recipient_id),
        )
        await conn.execute(
            """
            INSERT INTO notify.inbox_messages (event_id, recipient_id, subject, body, link)
            VALUES (%s, %s, %s, %s, %s)
            """,
            (event_id, recipient_id, words.subject, words.text, words.link),
        )


def main(kind: str, metrics_port: int) -> None:
    """Run one of them until SIGTERM."""
    settings = current_settings()
    observability = settings.observability.model_copy(update={"metrics_port": metrics_port})
    settings = settings.model_copy(update={"observability": observability})
    if kind == "scheduler":
        scheduler.serve(settings)
    elif kind == "urgent":
        worker.serve(settings, lanes=[lane for lane in LANES if lane != BULK], processes=1)
    else:
        worker.serve(settings, processes=1 if kind == "single" else None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Telling the followers of an event without a broker: cutting it into shards, and expanding these."""

from __future__ import annotations

from tidegate.notify.shards import expand_shard, plan_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.settings import Settings


async def tell(database: Database, settings: Settings, event_id: EventId) -> list[int]:
    """Cut a send into shards and expand all; how many followers each told."""
    while await plan_send(database, settings, event_id=event_id):
        pass
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT shard_no FROM notify.send_shards WHERE event_id = %s AND expanded_at IS NULL ORDER BY shard_no",
            (event_id,),
        )
        numbers = [row[0] for row in await rows.fetchall()]
    shards = [await expand_shard(database, settings, event_id=event_id, shard_no=number) for number in numbers]
    return [shard.followers for shard in shards if shard is not None]


def in_shards_of(settings: Settings, batch: int) -> Settings:
    """Settings with shards of so many followers."""
    return settings.model_copy(update={"follows": settings.follows.model_copy(update={"batch": batch})})

"""Telling the followers of an event without a broker: cutting it into shards, and expanding these."""

from __future__ import annotations

from tidegate.notify.shards import expand_shard, finish_send, plan_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.settings import Settings


async def tell(database: Database, settings: Settings, event_id: EventId) -> list[int]:
    """Cut a send into shards, expand all, and close it where nothing is left; how many followers each shard told."""
    while await plan_send(database, settings, event_id=event_id):
        pass
    told = []
    while numbers := await _untold(database, event_id):
        shards = [await expand_shard(database, settings, event_id=event_id, shard_no=number) for number in numbers]
        told += [shard.followers for shard in shards if shard is not None]
        await finish_send(database, event_id=event_id)
        if None in shards:
            break
    return told


async def _untold(database: Database, event_id: EventId) -> list[int]:
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT shard_no FROM notify.send_shards WHERE event_id = %s AND expanded_at IS NULL ORDER BY shard_no",
            (event_id,),
        )
        return [row[0] for row in await rows.fetchall()]


def in_shards_of(settings: Settings, batch: int) -> Settings:
    """Settings with shards of so many followers."""
    return settings.model_copy(update={"follows": settings.follows.model_copy(update={"batch": batch})})

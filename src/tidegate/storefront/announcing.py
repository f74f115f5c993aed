"""Telling followers: of a drop when it opens, of a product when it is back.

What holds is looked for, again and again, instead of being told of: stock comes back in many ways (a delivery, a hold
that ran out, a cancelled order), and a drop opens by itself. A look is bounded and goes on where the last one ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from tidegate import catalog, inventory, notify
from tidegate.catalog import Opening
from tidegate.notify import TopicKind, WaitingTopic
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import EventId, id_floor, new_id
from tidegate.platform.settings import Settings

DROP_OPEN = "drop_open"
PRODUCT_BACK = "product_back"

CLOSED_WITHIN_S = 3_600.0
"""How long after a drop was closed messages of its opening are looked for that have not gone out, in seconds."""

SHOP_KEY = "shop"
"""The key of the one topic of its kind."""

VERSION_7 = 0x7000_8000_0000_0000_0000
"""The bits of a UUIDv7 that say so (RFC 9562)."""
RANDOM_BITS = 0x0FFF_3FFF_FFFF_FFFF_FFFF


class Announcer:
    """Looks for what followers wait for. Two at once do no harm."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._after: dict[TopicKind, UUID | None] = {}

    async def once(self) -> int:
        """One look; returns how many topics' followers will be told."""
        async with self._database.transaction() as conn:
            drops = await self._drops(conn)
            return drops + await self._products(conn)

    async def _drops(self, conn: Connection) -> int:
        limits = self._settings.follows
        waiting = {each.topic.key: each for each in await self._waiting(conn, TopicKind.DROP)}
        begun = 0
        for opening in await catalog.opened(conn, slugs=list(waiting)) if waiting else ():
            begun += await self._tell(conn, opening, [waiting[opening.slug]])
        lately = await catalog.opened_lately(conn, within_s=limits.opened_within_s, limit=limits.announce_batch)
        for opening in lately:
            topics = {TopicKind.COLLECTION: opening.collections, TopicKind.SHOP: (SHOP_KEY,)}
            begun += await self._tell(conn, opening, await notify.find_followed(conn, topics=topics))
        over = await catalog.closed_lately(conn, within_s=CLOSED_WITHIN_S, limit=limits.announce_batch)
        await notify.expire_sends(conn, event_ids=[opening_event(each) for each in over])
        return begun

    async def _products(self, conn: Connection) -> int:
        waiting = await self._waiting(conn, TopicKind.PRODUCT)
        wanted = {each.topic.key: each.topic.key.partition(":") for each in waiting}
        if not wanted:
            return 0
        slugs = sorted({slug for slug, _, _ in wanted.values()})
        variants = await catalog.loose_variants(conn, slugs=slugs, currency=self._settings.currency)
        named = await catalog.find_variants(conn, skus=[sku for _, _, sku in wanted.values() if sku])
        left = await inventory.available(conn, variant_ids=[each for ids in variants.values() for each in ids])
        begun = 0
        events = {slug: EventId(new_id()) for slug in slugs}
        until = await database_now(conn) + timedelta(hours=self._settings.follows.back_matters_h)
        gone = []
        for each in waiting:
            slug, _, sku = wanted[each.topic.key]
            is_back = any(left[id] > 0 for id in variants.get(slug, ()) if not sku or id == named.get(sku))
            if each.ended and not is_back:
                gone.append(each.topic_id)
            if is_back and not each.ended:
                begun += await notify.begin_send(
                    conn,
                    event_id=events[slug],
                    topic=each,
                    template=PRODUCT_BACK,
                    variables={"title": each.topic.title, "url": f"{self._settings.base_url}{each.topic.path}"},
                    expires_at=until,
                )
        if gone:
            await notify.tell_anew(conn, topic_ids=gone)
        return begun

    async def _tell(self, conn: Connection, opening: Opening, topics: Sequence[WaitingTopic]) -> int:
        variables = {"title": opening.title, "url": f"{self._settings.base_url}/drops/{opening.slug}"}
        event_id = opening_event(opening)
        until = opening.opens_at + timedelta(hours=self._settings.follows.open_matters_h)
        begun = 0
        for topic in topics:
            begun += await notify.begin_send(
                conn, event_id=event_id, topic=topic, template=DROP_OPEN, variables=variables, expires_at=until
            )
        return begun

    async def _waiting(self, conn: Connection, kind: TopicKind) -> Sequence[WaitingTopic]:
        """The next topics of a kind; from the start again behind the last one."""
        limit = self._settings.follows.announce_batch
        found = await notify.waiting_topics(conn, kind=kind, after=self._after.get(kind), limit=limit)
        self._after[kind] = found[-1].topic_id if len(found) == limit else None
        return found


def opening_event(opening: Opening) -> EventId:
    """The id of the event that a drop opened at its moment: the same whoever tells of it, so that it is told once."""
    digest = hashlib.blake2b(opening.id.bytes, digest_size=10).digest()
    own = int.from_bytes(digest) & RANDOM_BITS
    return EventId(UUID(int=id_floor(opening.opens_at).int | VERSION_7 | own))

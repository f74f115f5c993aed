"""What people wait for: drops that have opened, and the loose variants of products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tidegate.catalog.search import SOLD_IN
from tidegate.platform.database import Connection
from tidegate.platform.ids import DropId, VariantId


@dataclass(frozen=True, slots=True)
class Opening:
    """A drop that has opened, and the slugs of the collections that its products are in."""

    id: DropId
    slug: str
    title: str
    opens_at: datetime
    collections: tuple[str, ...]


_DROPS = """
SELECT d.id, d.slug, d.title, d.opens_at, ARRAY(
    SELECT DISTINCT o.slug FROM catalog.drop_items AS i JOIN catalog.variants AS v ON v.id = i.variant_id
    JOIN catalog.product_collections AS m ON m.product_id = v.product_id
    JOIN catalog.collections AS o ON o.id = m.collection_id WHERE i.drop_id = d.id ORDER BY o.slug
)
FROM catalog.drops AS d
"""
_OPENINGS = f"{_DROPS} WHERE d.closed_at IS NULL AND d.opens_at <= clock_timestamp()"


async def opened(conn: Connection, *, slugs: Sequence[str]) -> tuple[Opening, ...]:
    """Those of these drops that are open."""
    rows = await conn.execute(f"{_OPENINGS} AND d.slug = ANY(%s) ORDER BY d.slug", (list(slugs),))
    return tuple(Opening(row[0], row[1], row[2], row[3], tuple(row[4])) for row in await rows.fetchall())


async def opened_lately(conn: Connection, *, within_s: float, limit: int) -> tuple[Opening, ...]:
    """The drops that opened in the last `within_s` seconds, the latest first, at most `limit`."""
    rows = await conn.execute(
        f"{_OPENINGS} AND d.opens_at > clock_timestamp() - make_interval(secs => %s)"
        " ORDER BY d.opens_at DESC, d.slug LIMIT %s",
        (within_s, limit),
    )
    return tuple(Opening(row[0], row[1], row[2], row[3], tuple(row[4])) for row in await rows.fetchall())


async def closed_lately(conn: Connection, *, within_s: float, limit: int) -> tuple[Opening, ...]:
    """The drops that were closed in the last `within_s` seconds, the latest first, at most `limit`."""
    rows = await conn.execute(
        f"{_DROPS} WHERE d.closed_at > clock_timestamp() - make_interval(secs => %s)"
        " ORDER BY d.closed_at DESC, d.slug LIMIT %s",
        (within_s, limit),
    )
    return tuple(Opening(row[0], row[1], row[2], row[3], tuple(row[4])) for row in await rows.fetchall())


async def loose_variants(conn: Connection, *, slugs: Sequence[str], currency: str) -> dict[str, tuple[VariantId, ...]]:
    """The variants of active products that can be bought outside of drops, by the product's slug."""
    rows = await conn.execute(
        "SELECT p.slug, v.id FROM catalog.products AS p JOIN catalog.variants AS v ON v.product_id = p.id"  # noqa: S608
        " JOIN catalog.prices AS c ON c.variant_id = v.id AND c.currency = %(currency)s"
        f" WHERE p.slug = ANY(%(slugs)s) AND {SOLD_IN}"
        " AND NOT EXISTS (SELECT FROM catalog.drop_items AS i WHERE i.variant_id = v.id AND i.live)"
        " ORDER BY p.slug, v.id",
        {"slugs": list(slugs), "currency": currency},
    )
    found: defaultdict[str, list[VariantId]] = defaultdict(list)
    for slug, variant_id in await rows.fetchall():
        found[slug].append(VariantId(variant_id))
    return {slug: tuple(variants) for slug, variants in found.items()}

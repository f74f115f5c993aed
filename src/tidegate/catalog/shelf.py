"""Variants of all products, also of those that are not for sale, as staff look for them."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.catalog.contracts import VariantName
from tidegate.catalog.rules import options_text, search_patterns, storable
from tidegate.platform.database import Connection
from tidegate.platform.ids import VariantId


async def list_variants(
    conn: Connection, *, query: str = "", after: str = "", only: Sequence[VariantId] | None = None, limit: int
) -> tuple[VariantName, ...]:
    """Variants in order of their SKUs, at most `limit`.

    Each word of `query` must be in the SKU or the title, in any case. `after`: the SKU that the page before ended with.
    `only`: no others than these. Raises: InvalidRequest for too long a query.
    """
    rows = await conn.execute(
        "SELECT v.id, v.sku, p.title, v.options, p.slug FROM catalog.variants AS v"
        " JOIN catalog.products AS p ON p.id = v.product_id"
        " WHERE v.sku > %(after)s AND (v.sku || ' ' || p.title) ILIKE ALL(%(patterns)s::text[])"
        " AND (%(only)s::uuid[] IS NULL OR v.id = ANY(%(only)s)) ORDER BY v.sku LIMIT %(limit)s",
        {
            "after": after if storable(after) else "",
            "patterns": search_patterns(query),
            "only": None if only is None else list(only),
            "limit": limit,
        },
    )
    return tuple(VariantName(row[0], row[1], row[2], options_text(row[3]), row[4]) for row in await rows.fetchall())

"""Which products staff mean: their list of products, and what many of them would become.

Staff see products whatever their status, so nothing here is for shoppers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from tidegate.catalog.contracts import Status
from tidegate.catalog.editing import (
    BulkChange,
    BulkPreview,
    Choice,
    EditableVariant,
    ProductFilter,
    ProductRow,
    ProductRows,
)
from tidegate.catalog.edits import bulk_edit
from tidegate.catalog.products import WRITE_LOCK
from tidegate.catalog.rules import is_slug, search_patterns
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, VariantId, parse_id
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

SORTS = ("title", "updated", "price")
"""What the staff's list can be sorted by."""

NO_COLLECTION = "-"
MAX_LISTING_CURSOR = 1_200

_LOWEST: LiteralString = (
    "coalesce((SELECT min(c.amount) FROM catalog.variants AS v JOIN catalog.prices AS c ON c.variant_id = v.id"
    " AND c.currency = %(currency)s WHERE v.product_id = p.id), 0)"
)
_KEYS: dict[str, tuple[LiteralString, LiteralString]] = {
    "title": ("p.title", "text"),
    "updated": ("p.updated_at", "timestamptz"),
    "price": (_LOWEST, "bigint"),
}
"""What to sort by, and the type of it."""


async def list_for_staff(
    conn: Connection,
    *,
    wanted: ProductFilter,
    sort: str,
    descending: bool,
    after: str,
    limit: int,
    currency: str,
) -> ProductRows:
    """A page of products in the order of `sort`, then of ids. `after`: `next` of the page before.

    Raises: InvalidRequest for a cursor of another list, or too long a search text.
    """
    key, kind = _KEYS[sort]
    where, values = _where(wanted)
    values |= {"currency": currency, "limit": limit + 1}
    counted = await conn.execute(f"SELECT count(*) FROM catalog.products AS p WHERE {where}", values)  # noqa: S608 - our own constants
    count = await counted.fetchone()
    assert count is not None
    order: LiteralString = "DESC" if descending else "ASC"
    if after:
        values["key"], values["last"] = _place(after, sort)
        where += f" AND ({key}, p.id) {'<' if descending else '>'} (%(key)s::{kind}, %(last)s)"
    found = await conn.execute(
        f"SELECT p.id, p.slug, p.title, p.status, p.updated_at, p.tags, {key} AS k FROM catalog.products AS p"  # noqa: S608
        f" WHERE {where} ORDER BY k {order}, p.id {order} LIMIT %(limit)s",
        values,
    )
    rows = await found.fetchall()
    page = rows[:limit]
    more = _cursor(sort, page[-1]) if len(rows) > limit else None
    return ProductRows(await _rows(conn, page, currency), int(count[0]), more)


async def choose(
    conn: Connection,
    *,
    wanted: ProductFilter | None = None,
    product_ids: Sequence[ProductId] = (),
    limit: int,
    keep: bool = False,
) -> Choice:
    """The products of a filter, or those of `product_ids` that exist, with the state that they are in.

    With `keep` nobody else edits the catalogue until the caller's transaction ends.
    Raises: InvalidRequest when they are more than `limit`.
    """
    if keep:
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
    where, values = _where(wanted) if wanted is not None else ("p.id = ANY(%(ids)s)", {"ids": list(product_ids)})
    found = await conn.execute(
        f"SELECT p.id, p.updated_at FROM catalog.products AS p WHERE {where} ORDER BY p.id LIMIT %(limit)s",  # noqa: S608
        values | {"limit": limit + 1},
    )
    rows = await found.fetchall()
    if len(rows) > limit:
        raise InvalidRequest(
            _("More than %(most)s products fit. Narrow the search, and change a part at a time.", most=f"{limit:,}")
        )
    state = "".join(f"{row[0]} {row[1].timestamp():.6f}\n" for row in rows)
    return Choice(tuple(row[0] for row in rows), hashlib.sha256(state.encode()).hexdigest())


async def variants_to_edit(conn: Connection, *, product_id: ProductId, currency: str) -> tuple[EditableVariant, ...]:
    """All variants of a product in the merchant's order, also those without a price."""
    found = await conn.execute(
        "SELECT v.id, v.sku, v.options, c.amount, c.compare_at_amount FROM catalog.variants AS v LEFT JOIN"
        " catalog.prices AS c ON c.variant_id = v.id AND c.currency = %s WHERE v.product_id = %s"
        " ORDER BY v.position, v.sku",
        (currency, product_id),
    )

    def money(amount: int | None) -> Money | None:
        return None if amount is None else Money(amount, currency)

    return tuple(
        EditableVariant(row[0], row[1], tuple((name, value) for name, value in row[2]), money(row[3]), money(row[4]))
        for row in await found.fetchall()
    )


async def preview_bulk_edit(conn: Connection, *, change: BulkChange, currency: str, samples: int) -> BulkPreview:
    """What `bulk_edit` would do: it is done and taken back, so that nothing else can come of it later.

    `samples`: products that are shown before and after. Raises: what `bulk_edit` does.
    """
    async with conn.transaction(force_rollback=True):
        before = await _sample(conn, change, currency, samples)
        edited = await bulk_edit(conn, change=change)
        after = await _sample(conn, change, currency, samples)
    return BulkPreview(edited, tuple(zip(before, after, strict=True)))


async def _sample(conn: Connection, change: BulkChange, currency: str, limit: int) -> tuple[ProductRow, ...]:
    """The first of the chosen products by title."""
    found = await conn.execute(
        "SELECT p.id, p.slug, p.title, p.status, p.updated_at, p.tags FROM catalog.products AS p WHERE p.id = ANY(%s)"
        " ORDER BY p.title, p.id LIMIT %s",
        (list(change.product_ids), limit),
    )
    return await _rows(conn, await found.fetchall(), currency)


def _where(wanted: ProductFilter) -> tuple[LiteralString, dict[str, Any]]:
    """The condition on `catalog.products AS p`, and its values."""
    parts: list[LiteralString] = ["true"]
    patterns = search_patterns(wanted.query)
    if patterns:
        parts.append(
            "(p.title || ' ' || array_to_string(p.tags, ' ') || ' ' || coalesce((SELECT string_agg(v.sku, ' ')"
            " FROM catalog.variants AS v WHERE v.product_id = p.id), '')) ILIKE ALL(%(patterns)s)"
        )
    if wanted.status is not None:
        parts.append("p.status = %(status)s")
    if wanted.collection == NO_COLLECTION:
        parts.append("NOT EXISTS (SELECT FROM catalog.product_collections AS m WHERE m.product_id = p.id)")
    elif wanted.collection:
        parts.append(
            "EXISTS (SELECT FROM catalog.product_collections AS m JOIN catalog.collections AS o"
            " ON o.id = m.collection_id WHERE m.product_id = p.id AND o.slug = %(collection)s)"
        )
    if wanted.variants is not None:
        parts.append("p.id IN (SELECT v.product_id FROM catalog.variants AS v WHERE v.id = ANY(%(variants)s))")
    return " AND ".join(parts), {
        "patterns": patterns,
        "status": wanted.status.value if wanted.status else None,
        "collection": wanted.collection if is_slug(wanted.collection) else "",
        "variants": list(wanted.variants or ()),
    }


async def _rows(conn: Connection, found: Sequence[tuple[Any, ...]], currency: str) -> tuple[ProductRow, ...]:
    """The rows with what stands in other tables. `found`: id, slug, title, status, updated_at, tags, ..."""
    ids = [row[0] for row in found]
    priced = await conn.execute(
        "SELECT v.product_id, min(c.amount), max(c.amount), array_agg(v.id ORDER BY v.position)"
        " FROM catalog.variants AS v LEFT JOIN catalog.prices AS c ON c.variant_id = v.id AND c.currency = %s"
        " WHERE v.product_id = ANY(%s) GROUP BY v.product_id",
        (currency, ids),
    )
    prices = {row[0]: row[1:] for row in await priced.fetchall()}
    joined = await conn.execute(
        "SELECT m.product_id, array_agg(o.title ORDER BY o.title) FROM catalog.product_collections AS m"
        " JOIN catalog.collections AS o ON o.id = m.collection_id WHERE m.product_id = ANY(%s) GROUP BY m.product_id",
        (ids,),
    )
    titles = {row[0]: tuple(row[1]) for row in await joined.fetchall()}

    def row(product: tuple[Any, ...]) -> ProductRow:
        lowest, highest, variants = prices.get(product[0], (None, None, ()))
        return ProductRow(
            id=product[0],
            slug=product[1],
            title=product[2],
            status=Status(product[3]),
            updated_at=product[4],
            lowest=None if lowest is None else Money(lowest, currency),
            highest=None if highest is None else Money(highest, currency),
            variants=tuple(VariantId(each) for each in variants),
            tags=tuple(product[5]),
            collections=titles.get(product[0], ()),
        )

    return tuple(row(product) for product in found)


def _cursor(sort: str, row: tuple[Any, ...]) -> str:
    key = row[6].isoformat() if isinstance(row[6], datetime) else row[6]
    return base64.urlsafe_b64encode(json.dumps([sort, key, str(row[0])]).encode()).decode().rstrip("=")


def _place(cursor: str, sort: str) -> tuple[str | int | datetime, UUID]:
    """The place that `_cursor` wrote for this order. Raises: InvalidRequest."""
    wrong = InvalidRequest(_("This link is not of this list. Begin at its start."))
    if len(cursor) > MAX_LISTING_CURSOR or not cursor.isascii():
        raise wrong
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        match found:
            case [str(of), str(key), str(last)] if of == sort == "updated" and (place := parse_id(last)):
                return datetime.fromisoformat(key), place
            case [str(of), str(key), str(last)] if of == sort == "title" and (place := parse_id(last)):
                return key.encode("utf-8").decode().replace("\0", ""), place
            case [str(of), int(key), str(last)] if of == sort == "price" and (place := parse_id(last)):
                return min(max(key, 0), 2**62), place
    except (binascii.Error, ValueError, RecursionError):
        raise wrong from None
    raise wrong

"""Collections as staff keep them: all of them, made, taken away, and which of them a product is in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tidegate.catalog.addresses import take_address
from tidegate.catalog.contracts import CollectionExists, CollectionRef, UnknownCollection
from tidegate.catalog.editing import CollectionRow, EditableProduct
from tidegate.catalog.edits import touch
from tidegate.catalog.products import WRITE_LOCK
from tidegate.catalog.rules import MAX_TEXT, clean_text, is_slug, slugify
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, new_id
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_KEPT = 1_000
"""Most collections that staff see in a list, and that there can be by their hand."""


async def list_all_collections(conn: Connection) -> tuple[CollectionRow, ...]:
    """All collections by title, also those without a product; at most MAX_KEPT."""
    found = await conn.execute(
        "SELECT o.slug, o.title, count(p.id), count(p.id) FILTER (WHERE p.status = 'active')"
        " FROM catalog.collections AS o LEFT JOIN catalog.product_collections AS m ON m.collection_id = o.id"
        " LEFT JOIN catalog.products AS p ON p.id = m.product_id"
        " GROUP BY o.id ORDER BY o.title, o.slug LIMIT %s",
        (MAX_KEPT,),
    )
    return tuple(CollectionRow(*row) for row in await found.fetchall())


async def collections_of(conn: Connection, *, product_id: ProductId) -> tuple[str, ...]:
    """The slugs of the collections that a product is in."""
    found = await conn.execute(
        "SELECT o.slug FROM catalog.product_collections AS m JOIN catalog.collections AS o ON o.id = m.collection_id"
        " WHERE m.product_id = %s ORDER BY o.slug",
        (product_id,),
    )
    return tuple(row[0] for row in await found.fetchall())


async def create_collection(conn: Connection, *, title: str) -> CollectionRef:
    """Make a collection; its address is made of its title. Raises: InvalidRequest, CollectionExists."""
    title = clean_title(title)
    slug = slugify(title)
    if not slug:
        raise InvalidRequest(_("A collection's name needs at least one letter or digit."))
    await _lock(conn)
    kept = await conn.execute("SELECT count(*) FROM catalog.collections")
    count = await kept.fetchone()
    if count is not None and count[0] >= MAX_KEPT:
        raise InvalidRequest(_("A shop has at most %(most)s collections. Take one away first.", most=f"{MAX_KEPT:,}"))
    await take_address(conn, kind="collection", slug=slug)
    made = await conn.execute(
        "INSERT INTO catalog.collections (id, slug, title) VALUES (%s, %s, %s) ON CONFLICT (slug) DO NOTHING",
        (new_id(), slug, title),
    )
    if made.rowcount == 0:
        raise CollectionExists(_("There is a collection of this name already. Choose another one."))
    return CollectionRef(slug, title)


async def remove_collection(conn: Connection, *, slug: str) -> None:
    """Take a collection away; its products stay, and stay in their others. Raises: UnknownCollection."""
    if not is_slug(slug):
        raise UnknownCollection()
    await _lock(conn)
    removed = await conn.execute("DELETE FROM catalog.collections WHERE slug = %s", (slug,))
    if removed.rowcount == 0:
        raise UnknownCollection()


async def set_collections(
    conn: Connection, *, product_id: ProductId, seen: datetime, slugs: Sequence[str]
) -> EditableProduct:
    """Put a product into these collections and out of all others.

    Raises: UnknownCollection, UnknownProduct, ProductChanged.
    """
    await _lock(conn)
    product = await touch(conn, product_id, seen)
    found = await conn.execute("SELECT id FROM catalog.collections WHERE slug = ANY(%s)", (list(slugs),))
    ids = [row[0] for row in await found.fetchall()]
    if len(ids) < len(set(slugs)):
        raise UnknownCollection(_("One of these collections is gone. Nothing was changed."))
    await conn.execute(
        "DELETE FROM catalog.product_collections WHERE product_id = %s AND collection_id <> ALL(%s)", (product_id, ids)
    )
    await conn.execute(
        "INSERT INTO catalog.product_collections (collection_id, product_id)"
        " SELECT id, %s FROM unnest(%s::uuid[]) AS o (id) ON CONFLICT DO NOTHING",
        (product_id, ids),
    )
    return product


def clean_title(text: str) -> str:
    """A collection's name on one line. Raises: InvalidRequest."""
    title = clean_text(text)
    if not 1 <= len(title) <= MAX_TEXT:
        raise InvalidRequest(_("A collection's name has 1 to %(most)s characters.", most=MAX_TEXT))
    return title


async def _lock(conn: Connection) -> None:
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))

"""How a collection presents itself: its words, its address, its picture, and the order of its products."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tidegate.catalog.addresses import leave_address
from tidegate.catalog.collections import clean_title
from tidegate.catalog.contracts import CollectionChanged, CollectionExists, SeoTexts, Status, UnknownCollection
from tidegate.catalog.editing import EditableCollection, PlacedProduct
from tidegate.catalog.pictures import check_alt, use_image
from tidegate.catalog.products import WRITE_LOCK
from tidegate.catalog.rules import MAX_DESCRIPTION, check_address, check_seo, is_slug, storable
from tidegate.catalog.views import find_collection
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_PLACED = 200
"""Products of a collection that the merchant can give a place; the others follow by popularity."""


async def collection_to_edit(conn: Connection, *, slug: str) -> EditableCollection:
    """The collection at this address. Raises: UnknownCollection."""
    shelf = await find_collection(conn, slug=slug)
    if shelf is None:
        raise UnknownCollection()
    found = await conn.execute(
        "SELECT p.id, p.slug, p.title, p.status, m.position, count(*) OVER () FROM catalog.product_collections AS m"
        " JOIN catalog.collections AS o ON o.id = m.collection_id JOIN catalog.products AS p ON p.id = m.product_id"
        " WHERE o.slug = %s ORDER BY m.position, p.status <> 'active', p.popularity DESC, p.slug LIMIT %s",
        (slug, MAX_PLACED),
    )
    rows = await found.fetchall()
    placed = tuple(
        PlacedProduct(row[0], row[1], row[2], Status(row[3]), None if row[4] is None else row[4] + 1) for row in rows
    )
    picture = shelf.picture
    state = [shelf.slug, shelf.title, shelf.description, shelf.seo.title, shelf.seo.description]
    state += [picture.digest, picture.alt] if picture else []
    state += [f"{each.id} {each.place}" for each in placed if each.place is not None]
    return EditableCollection(
        slug=shelf.slug,
        title=shelf.title,
        description=shelf.description,
        seo=shelf.seo,
        picture=picture,
        placed=placed,
        products=rows[0][5] if rows else 0,
        seen=hashlib.sha256("\0".join(state).encode()).hexdigest(),
    )


async def edit_collection(
    conn: Connection, *, slug: str, seen: str, title: str, description: str, seo: SeoTexts, new_slug: str
) -> None:
    """Change what a collection says, and its address: the one that it leaves leads to it from now on.

    Raises: InvalidRequest, UnknownCollection, CollectionChanged, CollectionExists.
    """
    title, seo = clean_title(title), check_seo(seo)
    check_address(new_slug)
    if len(description) > MAX_DESCRIPTION or not storable(description):
        raise InvalidRequest(_("A description has at most 50,000 characters."))
    await _unchanged(conn, slug, seen)
    if new_slug != slug:
        taken = await conn.execute("SELECT 1 FROM catalog.collections WHERE slug = %s", (new_slug,))
        if await taken.fetchone() is not None:
            raise CollectionExists(_("Another collection has this address already. Nothing was changed."))
    changed = await conn.execute(
        "UPDATE catalog.collections SET slug = %s, title = %s, description = %s, seo_title = %s, seo_description = %s"
        " WHERE slug = %s RETURNING id",
        (new_slug, title, description, seo.title, seo.description, slug),
    )
    row = await changed.fetchone()
    assert row is not None
    if new_slug != slug:
        await leave_address(conn, kind="collection", thing=row[0], left=slug, taken=new_slug)


async def set_collection_picture(conn: Connection, *, slug: str, seen: str, digest: str | None, alt: str) -> None:
    """Show a stored picture with a collection, or none. `alt` empty: it is decorative.

    Raises: InvalidRequest, UnknownPicture, UnknownCollection, CollectionChanged.
    """
    alt = check_alt(alt) if digest else ""
    await _unchanged(conn, slug, seen)
    if digest is not None:
        await use_image(conn, digest=digest)
    await conn.execute("UPDATE catalog.collections SET digest = %s, alt = %s WHERE slug = %s", (digest, alt, slug))


async def arrange_collection(conn: Connection, *, slug: str, seen: str, places: Mapping[ProductId, int]) -> None:
    """Give these products of a collection their places, smallest number first, and all others none.

    Raises: InvalidRequest, UnknownCollection, CollectionChanged.
    """
    if len(places) > MAX_PLACED:
        raise InvalidRequest(_("At most %(most)s products of a collection can have a place.", most=MAX_PLACED))
    before = await _unchanged(conn, slug, seen)
    known = [each.id for each in before.placed if each.id in places]
    ordered = sorted(known, key=lambda each: places[each])  # equal numbers stay in the order that was shown
    await conn.execute(
        "UPDATE catalog.product_collections AS m SET position = w.place - 1 FROM catalog.collections AS o,"
        " unnest(%s::uuid[]) WITH ORDINALITY AS w (product_id, place)"
        " WHERE o.slug = %s AND m.collection_id = o.id AND m.product_id = w.product_id",
        (ordered, slug),
    )
    await conn.execute(
        "UPDATE catalog.product_collections AS m SET position = NULL FROM catalog.collections AS o"
        " WHERE o.slug = %s AND m.collection_id = o.id AND m.position IS NOT NULL AND m.product_id <> ALL(%s)",
        (slug, ordered),
    )


async def _unchanged(conn: Connection, slug: str, seen: str) -> EditableCollection:
    """The collection as the person saw it, and nobody else edits until this transaction ends."""
    if not is_slug(slug):
        raise UnknownCollection()
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
    now = await collection_to_edit(conn, slug=slug)
    if now.seen != seen:
        raise CollectionChanged()
    return now

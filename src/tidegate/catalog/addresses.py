"""The addresses that products and collections had before: each leads to where its thing is now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, LiteralString
from uuid import UUID

from tidegate.catalog.rules import is_slug
from tidegate.platform.database import Connection

Kind = Literal["product", "collection"]

MOST_FORMER = 20
"""Former addresses that one thing keeps; the oldest go."""

_OWNER: dict[Kind, LiteralString] = {"product": "product_id", "collection": "collection_id"}
_TABLE: dict[Kind, LiteralString] = {"product": "catalog.products", "collection": "catalog.collections"}


async def moved_to(conn: Connection, *, kind: Kind, slug: str) -> str | None:
    """The slug of what was at this address before, or None."""
    return (await all_moved(conn, kind=kind, slugs=[slug])).get(slug)


async def all_moved(conn: Connection, *, kind: Kind, slugs: Sequence[str]) -> dict[str, str]:
    """Those of `slugs` that are former addresses, with the present ones."""
    rows = await conn.execute(
        f"SELECT f.slug, t.slug FROM catalog.former_addresses AS f JOIN {_TABLE[kind]} AS t ON t.id = f.{_OWNER[kind]}"  # noqa: S608
        " WHERE f.kind = %s AND f.slug = ANY(%s)",
        (kind, [slug for slug in slugs if is_slug(slug)]),
    )
    return dict(await rows.fetchall())


async def leave_address(conn: Connection, *, kind: Kind, thing: UUID, left: str, taken: str) -> None:
    """Remember that `thing` was at `left` before it took the address `taken`."""
    owner = _OWNER[kind]
    await take_address(conn, kind=kind, slug=taken)
    await conn.execute(
        f"INSERT INTO catalog.former_addresses (kind, slug, {owner}) VALUES (%s, %s, %s) ON CONFLICT (kind, slug)"  # noqa: S608
        f" DO UPDATE SET {owner} = excluded.{owner}, left_at = clock_timestamp()",
        (kind, left, thing),
    )
    await conn.execute(
        f"DELETE FROM catalog.former_addresses WHERE kind = %(kind)s AND slug IN (SELECT slug"  # noqa: S608
        f" FROM catalog.former_addresses WHERE {owner} = %(thing)s ORDER BY left_at DESC, slug OFFSET %(most)s)",
        {"kind": kind, "thing": thing, "most": MOST_FORMER},
    )


async def take_address(conn: Connection, *, kind: Kind, slug: str) -> None:
    """Let an address lead to nothing else any more, since something is there now."""
    await conn.execute("DELETE FROM catalog.former_addresses WHERE kind = %s AND slug = %s", (kind, slug))

"""Pictures of products: stored, put in order, taken away; and the files that nothing shows any more.

A picture's row in `catalog.images` is committed before its files are written and goes in the transaction that removes
them. Who begins to show a picture touches its row first, so that this and the removal wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from tidegate.catalog.contracts import Picture, PicturesBusy, UnknownPicture
from tidegate.catalog.darkroom import Darkroom
from tidegate.catalog.editing import EditableProduct
from tidegate.catalog.edits import touch
from tidegate.catalog.products import WRITE_LOCK
from tidegate.catalog.rules import clean_text, is_digest
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.files import SHARDS, FileStore
from tidegate.platform.ids import ProductId, new_id
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

log = structlog.get_logger(__name__)

MAX_ALT = 500
"""Characters that describe a picture."""
MAX_STRAYS = 200
"""Files without a row that are looked at in one shard."""
SHARDS_AT_ONCE = 32

_COLUMNS = "i.digest, i.width, i.height, i.widths"


@dataclass(frozen=True, slots=True)
class ProductPicture:
    """A picture in its place among those of a product."""

    id: UUID
    picture: Picture


@dataclass(frozen=True, slots=True)
class PictureWish:
    """What staff want of a picture: its words, its place among the others (equal ones keep their order), or gone."""

    id: UUID
    alt: str
    place: int
    remove: bool = False


async def store_picture(database: Database, files: FileStore, darkroom: Darkroom, *, uploaded: bytes) -> Picture:
    """Develop an upload and store its files; nothing shows it yet.

    Raises: UnusablePicture; PicturesBusy, also when the files cannot be written.
    """
    developed = await darkroom.develop(uploaded)
    widths = tuple(sorted(developed.files))
    picture = Picture(developed.digest, developed.width, developed.height, widths, "")
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO catalog.images (digest, width, height, widths, bytes) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (digest) DO UPDATE SET used_at = clock_timestamp()",
            (picture.digest, picture.width, picture.height, list(widths), developed.bytes),
        )
    try:
        await files.put({picture.file(width): developed.files[width] for width in widths})
    except OSError as error:
        log.error("picture not stored", error=describe_error(error))
        words = _("The shop could not store the picture: its disk does not take it. Nothing was changed.")
        raise PicturesBusy(words) from None
    return picture


async def find_picture(conn: Connection, *, digest: str) -> Picture | None:
    """A stored picture, whether or not anything shows it."""
    if not is_digest(digest):
        return None
    rows = await conn.execute(f"SELECT {_COLUMNS} FROM catalog.images AS i WHERE i.digest = %s", (digest,))  # noqa: S608
    row = await rows.fetchone()
    return Picture(row[0], row[1], row[2], tuple(row[3]), "") if row else None


async def pictures_to_edit(conn: Connection, *, product_id: ProductId) -> tuple[ProductPicture, ...]:
    """All pictures of a product, in order."""
    rows = await conn.execute(
        f"SELECT m.id, {_COLUMNS}, m.alt FROM catalog.product_pictures AS m JOIN catalog.images AS i"  # noqa: S608
        " ON i.digest = m.digest WHERE m.product_id = %s ORDER BY m.position, m.id",
        (product_id,),
    )
    return tuple(
        ProductPicture(row[0], Picture(row[1], row[2], row[3], tuple(row[4]), row[5])) for row in await rows.fetchall()
    )


async def add_picture(conn: Connection, *, product_id: ProductId, digest: str, alt: str, most: int) -> EditableProduct:
    """Show a stored picture with a product, after its others, whatever else changed. `alt` empty: it is decorative.

    Raises: InvalidRequest, also for more than `most` pictures; UnknownPicture, UnknownProduct.
    """
    alt = check_alt(alt)
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
    product = await touch(conn, product_id, None)
    await use_image(conn, digest=digest)
    rows = await conn.execute(
        "SELECT count(*), coalesce(max(position), -1), bool_or(digest = %s) FROM catalog.product_pictures"
        " WHERE product_id = %s",
        (digest, product_id),
    )
    found = await rows.fetchone()
    assert found is not None
    if found[2]:
        raise InvalidRequest(_("This product shows this picture already."))
    if found[0] >= most:
        raise InvalidRequest(_("A product shows at most %(most)s pictures. Take one away first.", most=most))
    await conn.execute(
        "INSERT INTO catalog.product_pictures (id, product_id, digest, alt, position) VALUES (%s, %s, %s, %s, %s)",
        (new_id(), product_id, digest, alt, found[1] + 1),
    )
    return product


async def arrange_pictures(
    conn: Connection, *, product_id: ProductId, seen: datetime, wishes: Sequence[PictureWish]
) -> EditableProduct:
    """Give a product's pictures their words and order, and take some away. Those that are not named come last.

    Raises: InvalidRequest, UnknownProduct, ProductChanged.
    """
    words = {wish.id: check_alt(wish.alt) for wish in wishes}
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
    product = await touch(conn, product_id, seen)
    known = await pictures_to_edit(conn, product_id=product_id)
    places = {wish.id: wish.place for wish in wishes}
    gone = {wish.id for wish in wishes if wish.remove}
    left = sorted((each for each in known if each.id not in gone), key=lambda each: places.get(each.id, len(known) + 1))
    await conn.execute(
        "DELETE FROM catalog.product_pictures WHERE product_id = %s AND id = ANY(%s)", (product_id, list(gone))
    )
    await conn.execute(
        "UPDATE catalog.product_pictures AS m SET alt = w.alt, position = w.place - 1"
        " FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS w (id, alt, place)"
        " WHERE m.id = w.id AND m.product_id = %s",
        ([each.id for each in left], [words.get(each.id, each.picture.alt) for each in left], product_id),
    )
    return product


async def use_image(conn: Connection, *, digest: str) -> None:
    """Keep a stored picture until this transaction has said what shows it. Raises: UnknownPicture."""
    used = await conn.execute(
        "UPDATE catalog.images SET used_at = clock_timestamp() WHERE digest = %s",
        (digest if is_digest(digest) else "",),
    )
    if used.rowcount == 0:
        raise UnknownPicture()


def check_alt(text: str) -> str:
    """The words for a picture on one line. Raises: InvalidRequest."""
    alt = clean_text(text)
    if len(alt) > MAX_ALT:
        raise InvalidRequest(_("Describe the picture in at most %(most)s characters.", most=MAX_ALT))
    return alt


async def sweep_pictures(database: Database, files: FileStore, *, unused_hours: float, limit: int) -> int:
    """Remove at most `limit` pictures that nothing has shown for a time, rows and files. Returns how many went."""
    async with database.transaction() as conn:
        rows = await conn.execute(
            f"SELECT {_COLUMNS} FROM catalog.images AS i"  # noqa: S608 - our own constant
            " WHERE i.used_at < clock_timestamp() - %s * interval '1 hour'"
            " AND NOT EXISTS (SELECT FROM catalog.product_pictures AS m WHERE m.digest = i.digest)"
            " AND NOT EXISTS (SELECT FROM catalog.collections AS o WHERE o.digest = i.digest)"
            " ORDER BY i.used_at LIMIT %s FOR UPDATE SKIP LOCKED",
            (unused_hours, limit),
        )
        gone = [Picture(row[0], row[1], row[2], tuple(row[3]), "") for row in await rows.fetchall()]
        await files.delete([each.file(width) for each in gone for width in each.widths])
        await conn.execute("DELETE FROM catalog.images WHERE digest = ANY(%s)", ([each.digest for each in gone],))
    return len(gone)


async def sweep_strays(database: Database, files: FileStore, *, unused_hours: float, turn: int) -> int:
    """Remove old files that no row names, as a restored backup may leave; `turn` says which part of them to look at.

    A row is made for the time of the removal, so that an upload of the same picture waits. Returns how many went.
    """
    before_s = time.time() - unused_hours * 3_600
    start = turn * SHARDS_AT_ONCE % len(SHARDS)
    removed = 0
    for shard in SHARDS[start : start + SHARDS_AT_ONCE]:
        found = await files.names(shard, older_than_s=before_s, limit=MAX_STRAYS)
        names: dict[str, list[str]] = {}
        for name in found:
            names.setdefault(name.partition("/")[2].partition("-")[0], []).append(name)
        digests = [digest for digest in names if is_digest(digest)]
        async with database.transaction() as conn:
            rows = await conn.execute(
                "INSERT INTO catalog.images (digest, width, height, widths, bytes)"
                " SELECT digest, 1, 1, '{1}', 0 FROM unnest(%s::text[]) AS d (digest) ORDER BY digest"
                " ON CONFLICT (digest) DO NOTHING RETURNING digest",
                (digests,),
            )
            strays = [row[0] for row in await rows.fetchall()]
            await files.delete([name for digest in strays for name in names[digest]])
            await conn.execute("DELETE FROM catalog.images WHERE digest = ANY(%s)", (strays,))
        removed += sum(len(names[digest]) for digest in strays)
    return removed

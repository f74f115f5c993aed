"""Pictures of products in the database and their files in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import psycopg
import pytest

from tests.catalog.makers import a_product, write
from tests.pictures import a_picture
from tidegate import catalog
from tidegate.catalog import (
    Darkroom,
    EditableProduct,
    Picture,
    PicturesBusy,
    PictureWish,
    ProductChanged,
    UnknownPicture,
)
from tidegate.ops.archive import is_upload
from tidegate.platform.database import Database
from tidegate.platform.files import LocalFiles
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.settings import PictureSettings

pytestmark = pytest.mark.anyio
Store = Callable[[str], Awaitable[Picture]]
COLOURS = ("#b8502f", "#2b5866", "#4b8a57", "#7a4f9a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def files(folder: Path) -> LocalFiles:
    return LocalFiles(folder)


@pytest.fixture
async def store(database: Database, files: LocalFiles) -> AsyncIterator[Store]:
    """`await store("#ff0000")`: a stored picture of that colour."""
    darkroom = Darkroom(PictureSettings())

    async def stored(colour: str) -> Picture:
        return await catalog.store_picture(
            database, files, darkroom, uploaded=a_picture(width=160, height=120, colour=colour)
        )

    yield stored
    darkroom.close()


async def a_lamp(database: Database) -> EditableProduct:
    await write(database, a_product("lamp"))
    async with database.connection() as conn:
        return await catalog.product_to_edit(conn, slug="lamp")


async def add(database: Database, product: EditableProduct, picture: Picture, *, most: int = 20) -> EditableProduct:
    async with database.transaction() as conn:
        return await catalog.add_picture(conn, product_id=product.id, digest=picture.digest, alt="A lamp", most=most)


async def shown(database: Database) -> list[str]:
    """Digests of the lamp's pictures, as shoppers get them."""
    async with database.connection() as conn:
        product = await catalog.find_product(conn, slug="lamp", currency="GBP")
    assert product is not None
    return [each.digest for each in product.pictures]


def on_disk(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


async def test_files_are_named_by_what_is_in_them_and_backups_take_them(store: Store, folder: Path) -> None:
    picture = await store(COLOURS[0])
    again = await store(COLOURS[0])
    assert again == picture
    assert on_disk(folder) == {f"{picture.digest}-160.webp"}
    for path in folder.rglob("*.webp"):
        assert is_upload(path.relative_to(folder.parent).as_posix())


async def test_pictures_are_put_in_order_described_and_taken_away(database: Database, store: Store) -> None:
    product = await a_lamp(database)
    pictures = [await store(colour) for colour in COLOURS]
    for picture in pictures:
        product = await add(database, product, picture)
    one, two, three, four = (each.digest for each in pictures)
    assert await shown(database) == [one, two, three, four]
    async with database.transaction() as conn:
        kept = await catalog.pictures_to_edit(conn, product_id=product.id)
        wishes = [
            PictureWish(kept[0].id, "Was first", 3),
            PictureWish(kept[1].id, "", 0, remove=True),
            PictureWish(kept[2].id, "", 1),
        ]
        await catalog.arrange_pictures(conn, product_id=product.id, seen=product.updated_at, wishes=wishes)
    assert await shown(database) == [three, one, four]
    async with database.connection() as conn:
        found = await catalog.find_product(conn, slug="lamp", currency="GBP")
    assert found is not None
    assert [each.alt for each in found.pictures] == ["", "Was first", "A lamp"]


async def test_what_a_product_does_not_show(database: Database, store: Store) -> None:
    seen = await a_lamp(database)
    picture = await store(COLOURS[0])
    product = await add(database, seen, picture)
    with pytest.raises(InvalidRequest, match="shows this picture already"):
        await add(database, product, picture)
    with pytest.raises(InvalidRequest, match="at most 1 pictures"):
        await add(database, product, await store(COLOURS[1]), most=1)
    with pytest.raises(ProductChanged):
        async with database.transaction() as conn:
            await catalog.arrange_pictures(conn, product_id=product.id, seen=seen.updated_at, wishes=[])
    with pytest.raises(UnknownPicture):
        await add(database, product, Picture("f" * 64, 1, 1, (1,), ""))
    assert await shown(database) == [picture.digest]


async def test_files_that_nothing_shows_go_after_their_time_in_batches(
    database: Database, files: LocalFiles, store: Store, folder: Path
) -> None:
    product = await a_lamp(database)
    kept, *_unused = [await store(colour) for colour in COLOURS]
    await add(database, product, kept)
    assert await catalog.sweep_pictures(database, files, unused_hours=24, limit=10) == 0
    assert await catalog.sweep_pictures(database, files, unused_hours=0, limit=2) == 2
    assert await catalog.sweep_pictures(database, files, unused_hours=0, limit=2) == 1
    assert on_disk(folder) == {f"{kept.digest}-160.webp"}
    again = await store(COLOURS[1])
    assert f"{again.digest}-160.webp" in on_disk(folder)


async def test_a_picture_that_was_just_taken_away_stays_for_its_time(
    database: Database, database_url: str, files: LocalFiles, store: Store
) -> None:
    product = await add(database, await a_lamp(database), await store(COLOURS[0]))
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE catalog.images SET used_at = used_at - interval '2 days'")
    async with database.transaction() as conn:
        (each,) = await catalog.pictures_to_edit(conn, product_id=product.id)
        await catalog.arrange_pictures(
            conn, product_id=product.id, seen=product.updated_at, wishes=[PictureWish(each.id, "", 1, remove=True)]
        )
    assert await catalog.sweep_pictures(database, files, unused_hours=24, limit=10) == 0
    assert await catalog.sweep_pictures(database, files, unused_hours=0, limit=10) == 1


async def test_a_picture_that_begins_to_be_shown_while_files_are_swept_stays(
    database: Database, files: LocalFiles, store: Store, folder: Path
) -> None:
    product = await a_lamp(database)
    picture = await store(COLOURS[0])
    async with database.transaction() as conn:
        await catalog.add_picture(conn, product_id=product.id, digest=picture.digest, alt="", most=5)
        with anyio.fail_after(10):
            assert await catalog.sweep_pictures(database, files, unused_hours=0, limit=10) == 0
    assert on_disk(folder) == {f"{picture.digest}-160.webp"}


async def test_old_files_without_a_row_go(database: Database, files: LocalFiles, store: Store, folder: Path) -> None:
    kept = await store(COLOURS[0])
    strays = {f"{shard}/{shard * 32}-320.webp": b"x" for shard in ("00", "5c", "ff")}
    await files.put(strays)
    (folder / "00" / ".draft-0011223344556677").write_bytes(b"half")
    (folder / "00" / "Somebody's note.txt").write_bytes(b"no file of ours")
    old_s = time.time() - 100_000
    for path in folder.rglob("*"):
        os.utime(path, (old_s, old_s))
    fresh = {"00/" + "00" * 31 + "01-320.webp": b"x"}
    await files.put(fresh)
    removed = [await catalog.sweep_strays(database, files, unused_hours=24, turn=turn) for turn in range(8)]
    assert sum(removed) == len(strays)
    left = {f"{kept.digest}-160.webp", "Somebody's note.txt", *(name.partition("/")[2] for name in fresh)}
    assert on_disk(folder) == left
    async with database.connection() as conn:
        assert await catalog.find_picture(conn, digest="00" * 32) is None


async def test_a_disk_that_takes_nothing_is_told(database: Database, tmp_path: Path) -> None:
    (tmp_path / "pictures").write_bytes(b"not a folder")
    darkroom = Darkroom(PictureSettings())
    with pytest.raises(PicturesBusy, match="could not store the picture"):
        await catalog.store_picture(database, LocalFiles(tmp_path / "pictures"), darkroom, uploaded=a_picture())
    darkroom.close()

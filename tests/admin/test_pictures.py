"""The staff's pictures: uploaded, described, ordered and taken away; the shop shows it at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.admin.test_products import post, save
from tests.pictures import SVG, a_bomb, a_picture
from tests.storefront.conftest import Open, Sell, app, open_drop, reading, sell, text_of
from tidegate.entrypoints.scheduler import make_loops
from tidegate.platform.database import Database

__all__ = ["app", "open_drop", "sell"]

pytestmark = pytest.mark.anyio
SAME = {"sec-fetch-site": "same-origin"}
SHOWN = re.compile(r'<img src="(/pictures/[0-9a-f]{64}-\d+\.webp)"')


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


def fields_of(page: httpx.Response) -> dict[str, str]:
    """What the hidden fields of a page say."""
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))


async def upload(
    client: httpx.AsyncClient, slug: str, content: bytes | None, *, name: str = "photo.jpg", **fields: str
) -> httpx.Response:
    page = await client.get(f"/admin/products/{slug}/pictures")
    data = {"form_token": fields_of(page)["form_token"]} | fields
    files = {"picture": (name, content, "image/jpeg")} if content is not None else {"picture": ("", b"")}
    return await client.post(f"/admin/products/{slug}/pictures/new", data=data, files=files, headers=SAME)


async def test_an_uploaded_picture_is_on_the_product_page_at_once(client: httpx.AsyncClient, sell: Sell) -> None:
    slug = await sell("Red Lamp")
    assert "/art/red-lamp.svg" in (await client.get(f"/products/{slug}")).text
    added = await upload(client, slug, a_picture(width=2000, height=1000), alt="A red lamp")
    assert (added.status_code, added.headers["location"]) == (303, f"/admin/products/{slug}/pictures?done=added")
    page = (await client.get(f"/products/{slug}")).text
    (address,) = SHOWN.findall(page)
    assert 'width="1280" height="640" alt="A red lamp"' in page
    assert re.search(r'srcset="\S+-320\.webp 320w, \S+-640\.webp 640w, \S+-1280\.webp 1280w" sizes="', page)
    file = await client.get(address)
    assert file.headers["content-type"] == "image/webp"
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert file.headers["x-content-type-options"] == "nosniff"
    again = await client.get(address, headers={"if-none-match": file.headers["etag"]})
    assert again.status_code == 304
    assert SHOWN.findall((await client.get("/")).text) == [address]
    told = (await client.get(f"/api/v1/products/{slug}")).json()
    assert told["pictures"] == [told["picture"]]
    assert (told["picture"]["alt"], told["picture"]["width"], told["picture"]["height"]) == ("A red lamp", 1280, 640)
    assert told["picture"]["files"]["640"] == address


async def test_pictures_are_ordered_described_and_taken_away_in_one_form(client: httpx.AsyncClient, sell: Sell) -> None:
    slug = await sell("Red Lamp")
    for number, colour in enumerate(("#b8502f", "#2b5866", "#4b8a57"), start=1):
        await upload(client, slug, a_picture(width=200, height=200, colour=colour), alt=f"Lamp {number}")
    path = f"/admin/products/{slug}/pictures"
    page = await client.get(path)
    one, two, three = re.findall(r'name="place-([0-9a-f-]{36})"', page.text)
    sent = fields_of(page) | {
        f"alt-{one}": "Lamp from the left", f"place-{one}": "2",
        f"alt-{two}": "", f"place-{two}": "5", f"remove-{two}": "1",
        f"alt-{three}": "", f"place-{three}": "1", f"decorative-{three}": "1",
    }  # fmt: skip
    wrong = await post(client, path, sent | {f"alt-{three}": "", f"decorative-{three}": "", f"place-{one}": "first"})
    assert wrong.status_code == 422
    assert "Say what the picture shows" in text_of(wrong)
    assert "Write the place as a whole number" in text_of(wrong)
    assert 'value="first"' in wrong.text and 'value="Lamp from the left"' in wrong.text
    saved = await post(client, path, sent)
    assert (saved.status_code, saved.headers["location"]) == (303, f"{path}?done=saved")
    shop = (await client.get(f"/products/{slug}")).text
    assert re.findall(r'<img [^>]*alt="([^"]*)"', shop) == ["", "Lamp from the left"]
    late = await post(client, path, sent)
    assert late.status_code == 409
    assert "Somebody else changed this product" in text_of(late)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (SVG, "This is an SVG drawing"),
        (b"hello", "The shop cannot read this file"),
        (a_picture()[:-4_000], "damaged or not complete"),
        (a_bomb(), "pixels"),
        (b"\xff\xd8\xff" + bytes(15_728_640), "larger than 15 MB"),
        (None, "Choose a picture to upload."),
        (b"", "The file is empty"),
    ],
)
async def test_a_bad_file_is_told_in_plain_words_and_what_was_typed_is_kept(
    client: httpx.AsyncClient, sell: Sell, content: bytes | None, told: str
) -> None:
    slug = await sell("Red Lamp")
    answer = await upload(client, slug, content, name="photo.jpg", alt="A red lamp")
    assert answer.status_code == 422
    assert told in text_of(answer)
    assert 'value="A red lamp"' in answer.text
    assert "/pictures/" not in (await client.get(f"/products/{slug}")).text


async def test_a_file_beyond_all_bounds_is_refused_at_the_door(client: httpx.AsyncClient, sell: Sell) -> None:
    slug = await sell("Red Lamp")
    headers = {"content-length": str(40_000_000), "content-type": "multipart/form-data; boundary=x"}
    answer = await client.post(f"/admin/products/{slug}/pictures/new", content=b"", headers=headers)
    assert answer.status_code == 413
    answer = await client.post(
        f"/admin/products/{slug}/pictures", content=b"", headers=headers | {"content-length": "2000000"}
    )
    assert answer.status_code == 413, "other forms take what they took"


async def test_a_good_picture_is_kept_while_its_words_are_wrong(client: httpx.AsyncClient, sell: Sell) -> None:
    slug = await sell("Red Lamp")
    answer = await upload(client, slug, a_picture(), alt="")
    assert answer.status_code == 422
    assert "Say what the picture shows" in text_of(answer)
    assert "/pictures/" not in (await client.get(f"/products/{slug}")).text, "nothing is shown yet"
    kept = fields_of(answer)["kept"]
    both = await upload(client, slug, None, kept=kept, alt="A lamp", decorative="1")
    assert "Decoration needs no description" in text_of(both)
    added = await upload(client, slug, None, kept=kept, alt="A lamp")
    assert added.status_code == 303
    assert kept in (await client.get(f"/products/{slug}")).text
    twice = await upload(client, slug, None, kept=kept, alt="A lamp")
    assert "This product shows this picture already." in text_of(twice)
    gone = await upload(client, slug, None, kept="0" * 64, alt="A lamp")
    assert "Choose a picture to upload." in text_of(gone)


@pytest.mark.parametrize("name", ["0" * 64 + "-320.webp", "../settings.toml", "x-320.webp", "0" * 64 + "-320.webp%00"])
async def test_no_other_file_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/pictures/{name}")).status_code in (404, 422)


async def test_a_collection_shows_its_words_picture_and_order(client: httpx.AsyncClient, sell: Sell) -> None:
    for place, title in enumerate(("Arc Lamp", "Bed Lamp", "Cap Lamp")):
        await sell(title, popularity=place)
    path = "/admin/collections/lights"
    page = await client.get(path)
    texts = {"title": "Lights", "description": "They glow.\n\nAll night.", "seo-title": "Lamps for all rooms",
             "seo-description": "Lamps that glow.", "slug": "lights"}  # fmt: skip
    assert (await post(client, path, fields_of(page) | texts)).headers["location"] == f"{path}?done=saved"
    files = {"picture": ("a.png", a_picture("PNG", width=1400, height=700), "image/png")}
    data = {"form_token": fields_of(page)["form_token"], "alt": "A lit street"}
    assert (await client.post(f"{path}/picture/new", data=data, files=files, headers=SAME)).status_code == 303
    page = await client.get(path)
    rows = re.findall(r'/admin/products/(\w+-lamp)/edit.*?name="place-([0-9a-f-]{36})"', page.text, re.S)
    ids = dict(rows)
    placed = {f"place-{ids['arc-lamp']}": "2", f"place-{ids['bed-lamp']}": "1", f"place-{ids['cap-lamp']}": ""}
    wrong = await post(client, f"{path}/order", fields_of(page) | placed | {f"place-{ids['cap-lamp']}": "last"})
    assert "Write a whole number" in text_of(wrong)
    assert (await post(client, f"{path}/order", fields_of(page) | placed)).status_code == 303
    shown = await client.get("/collections/lights")
    assert "They glow. All night." in text_of(shown)
    assert re.search(r'alt="A lit street"', shown.text)
    assert "<title>Lamps for all rooms · " in shown.text
    assert '<meta name="description" content="Lamps that glow.">' in shown.text
    assert re.search(r'og:image" content="http://127\.0\.0\.1:8000/pictures/[0-9a-f]{64}-1280\.webp"', shown.text)
    assert re.findall(r'href="/products/(\w+)-lamp"', shown.text) == ["bed", "arc", "cap"]
    assert '<option value="arranged" selected>Our choice</option>' in shown.text
    popular = await client.get("/collections/lights?sort=popular")
    assert re.findall(r'href="/products/(\w+)-lamp"', popular.text) == ["cap", "bed", "arc"]
    api = (await client.get("/api/v1/products?collection=lights&limit=2")).json()
    assert [each["slug"] for each in api["items"]] == ["bed-lamp", "arc-lamp"]
    rest = (await client.get(f"/api/v1/products?collection=lights&limit=2&after={api['next']}")).json()
    assert [each["slug"] for each in rest["items"]] == ["cap-lamp"]
    page = await client.get(path)
    gone = await post(client, f"{path}/picture", fields_of(page) | {"remove": "1", "alt-now": "A lit street"})
    assert gone.status_code == 303
    assert "/pictures/" not in (await client.get("/collections/lights")).text
    late = await post(client, path, fields_of(page) | texts)
    assert late.status_code == 409
    assert "They glow." in late.text


async def test_a_drop_that_is_shared_shows_its_own_name_and_the_picture(
    client: httpx.AsyncClient, sell: Sell, open_drop: Open
) -> None:
    slug = await sell("Night Lamp", description="It glows.")
    await upload(client, slug, a_picture(), alt="A lamp at night")
    await open_drop("lamp-night", "NIGHT-LAMP", stock=5, in_s=900)
    page = (await client.get("/drops/lamp-night")).text
    assert '<link rel="canonical" href="http://127.0.0.1:8000/drops/lamp-night">' in page
    assert '<meta property="og:title" content="Lamp Night">' in page
    assert '<meta property="og:description" content="It glows.">' in page
    assert re.search(r'og:image" content="http://127\.0\.0\.1:8000/pictures/[0-9a-f]{64}-900\.webp"', page)
    assert 'alt="A lamp at night"' in page


async def test_the_scheduler_removes_what_nothing_shows(
    client: httpx.AsyncClient, app: Any, database: Database, sell: Sell
) -> None:
    slug = await sell("Red Lamp")
    kept = fields_of(await upload(client, slug, a_picture(width=200, height=200), alt=""))["kept"]
    loops = make_loops(app.app.state.shop, wake=asyncio.Event())
    (sweep,) = [loop for loop in loops if loop.name == "sweep-pictures"]
    address = f"/pictures/{kept}-200.webp"
    assert await sweep.run() == 0
    assert (await client.get(address)).status_code == 200, "it was uploaded just now"
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.images SET used_at = used_at - interval '2 days'")
    assert await sweep.run() == 1
    assert (await client.get(address)).status_code == 404


async def test_a_new_address_is_led_to_from_the_old_one(client: httpx.AsyncClient, sell: Sell) -> None:
    slug = await sell("Red Lamp")
    await sell("Blue Lamp")
    edit = f"/admin/products/{slug}/edit"
    taken = await save(client, edit, slug="blue-lamp")
    assert taken.status_code == 409
    assert "There is a product at this address already" in text_of(taken)
    assert (await save(client, edit, slug="Red Lamp!")).status_code == 422
    seo = {"seo-title": "The red lamp", "seo-description": "It is red."}
    moved = await save(client, edit, slug="scarlet-lamp", **seo)
    assert moved.headers["location"] == "/admin/products/scarlet-lamp/edit?done=saved"
    old = await client.get("/products/red-lamp?option-1=M")
    assert (old.status_code, old.headers["location"]) == (301, "/products/scarlet-lamp?option-1=M")
    page = await client.get("/products/scarlet-lamp")
    assert "<title>The red lamp · " in page.text
    assert '<link rel="canonical" href="http://127.0.0.1:8000/products/scarlet-lamp">' in page.text
    for name, content in (
        ("og:type", "product"),
        ("og:title", "The red lamp"),
        ("og:description", "It is red."),
        ("og:url", "http://127.0.0.1:8000/products/scarlet-lamp"),
        ("product:price:amount", "2.50"),
    ):
        assert f'<meta property="{name}" content="{content}">' in page.text
    back = await save(client, "/admin/products/scarlet-lamp/edit", slug="red-lamp")
    assert back.status_code == 303
    assert (await client.get("/products/red-lamp")).status_code == 200
    assert (await client.get("/products/scarlet-lamp")).headers["location"] == "/products/red-lamp"
    await sell("Scarlet Lamp")
    collection = await client.get("/admin/collections/lights")
    renamed = fields_of(collection) | {"title": "Lights", "slug": "lamps"}
    assert (await post(client, "/admin/collections/lights", renamed)).status_code == 303
    assert (await client.get("/collections/lights")).headers["location"] == "/collections/lamps"
    assert (await client.get("/collections/nothing")).status_code == 404

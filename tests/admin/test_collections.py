"""The staff's collections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.admin.test_products import save
from tests.catalog.makers import a_product, write
from tests.storefront.conftest import app, reading, text_of
from tidegate.catalog import Status
from tidegate.platform.database import Database

__all__ = ["app"]

pytestmark = pytest.mark.anyio
PATH = "/admin/collections"


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def test_one_is_made_renamed_and_taken_away(client: httpx.AsyncClient, database: Database) -> None:
    assert "There is no collection yet." in text_of(await client.get(PATH))
    made = await save(client, PATH, title="Sea & Sand")
    assert made.headers["location"] == f"{PATH}?done=made"
    assert "Sea & Sand sea-sand 0 0" in text_of(await client.get(PATH))
    await write(database, a_product("tee", kind="Sea Sand"), a_product("cap", kind="Sea Sand", status=Status.DRAFT))
    assert "1 collection 2 1" in text_of(await client.get(PATH))
    renamed = await save(client, f"{PATH}/sea-sand", title="Shore")
    assert renamed.headers["location"] == f"{PATH}/sea-sand?done=saved"
    assert "Shore" in text_of(await client.get("/collections/sea-sand"))
    asked = await client.get(f"{PATH}/sea-sand?remove=1")
    assert "Its 2 products stay" in text_of(asked)
    removed = await client.post(
        f"{PATH}/sea-sand/remove",
        data={"form_token": asked.text.split('name="form_token" value="')[1].split('"')[0]},
        headers={"sec-fetch-site": "same-origin"},
    )
    assert removed.headers["location"] == f"{PATH}?done=removed"
    assert (await client.get("/collections/sea-sand")).status_code == 404
    assert (await client.get("/products/tee")).status_code == 200


@pytest.mark.parametrize(
    ("title", "status", "told"),
    [
        ("", 422, "has 1 to 255 characters"),
        ("!!", 422, "needs at least one letter or digit"),
        ("TEES", 409, "There is a collection of this name already"),
    ],
)
async def test_a_name_that_cannot_be_is_told_and_kept(
    client: httpx.AsyncClient, database: Database, title: str, status: int, told: str
) -> None:
    await write(database, a_product("tee", kind="Tees"))
    answer = await save(client, PATH, title=title)
    assert answer.status_code == status
    assert told in text_of(answer)
    assert f'value="{title}"' in answer.text
    assert (await save(client, f"{PATH}/tees", title="")).status_code == 422


@pytest.mark.parametrize("path", [f"{PATH}/nothing", f"{PATH}/nothing/remove"])
async def test_what_is_not_there(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(PATH)
    token = page.text.split('name="form_token" value="')[1].split('"')[0]
    data = {"form_token": token, "title": "New"}
    assert (await client.post(path, data=data, headers={"sec-fetch-site": "same-origin"})).status_code == 404

"""The staff's room for the shop's own pages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.storefront.conftest import app, reading, text_of
from tidegate.platform.database import Database

__all__ = ["app"]

pytestmark = pytest.mark.anyio
PATH = "/admin/pages/imprint/en"


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def post(client: httpx.AsyncClient, **typed: str) -> httpx.Response:
    page = await client.get(PATH)
    hidden = dict(re.findall(r'<input type="hidden" name="(form_token|revision)" value="([^"]*)">', page.text))
    return await client.post(
        PATH, data={"action": "save", **hidden, **typed}, headers={"sec-fetch-site": "same-origin"}
    )


async def test_what_is_written_is_shown_at_once(client: httpx.AsyncClient) -> None:
    assert "has not filled in their imprint" in text_of(await client.get("/pages/imprint"))
    saved = await post(client, title="Imprint", body="Quay Street 1\n\n<b>x</b>")
    assert (saved.status_code, saved.headers["location"]) == (303, "/admin/pages?saved=1")
    page = await client.get("/pages/imprint")
    assert "Quay Street 1" in page.text
    assert "&lt;b&gt;" in page.text
    assert "hat das Impressum" not in (await client.get("/pages/imprint", headers={"accept-language": "de"})).text
    assert "Saved." in text_of(await client.get(saved.headers["location"]))


async def test_a_preview_saves_nothing(client: httpx.AsyncClient) -> None:
    shown = await post(client, title="Imprint", body="Only *tried*", action="preview")
    assert "Only <em>tried</em>" in shown.text
    assert "Only" not in (await client.get("/pages/imprint")).text


async def test_what_was_typed_is_kept(client: httpx.AsyncClient) -> None:
    empty = await post(client, title="", body="Kept & safe")
    assert empty.status_code == 422
    assert "Enter a title." in empty.text
    assert "Kept &amp; safe" in empty.text
    assert (await post(client, title="Imprint", body="Mine")).status_code == 303
    late = await post(client, title="Imprint", body="Theirs", revision="0")
    assert late.status_code == 409
    assert "Theirs" in late.text
    assert "Mine" in late.text


@pytest.mark.parametrize("path", ["/admin/pages/nothing/en", "/admin/pages/imprint/fr", "/pages/nothing"])
async def test_other_pages_do_not_exist(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_strangers_edit_nothing(app: Any) -> None:
    async with reading(app) as stranger:
        assert (await stranger.get(PATH)).headers["location"] == f"/login?next={PATH}"
        assert (await stranger.post(PATH, headers={"sec-fetch-site": "same-origin"})).status_code == 303

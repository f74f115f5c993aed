"""Somebody with a browser who makes an account and reads mail."""

from __future__ import annotations

import re

import httpx

from tidegate.platform.database import Database
from tidegate.platform.outbox import SEALED
from tidegate.platform.sealing import current_sealer

EMAIL = "mira.okonkwo@post.example"
PASSWORD = "a long enough one"


async def post(browser: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    page = await browser.get("/login")
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found is not None
    return await browser.post(path, data={"form_token": found[1], **fields})


async def newest_link(database: Database) -> str:
    """The address in the newest mail, without its host."""
    async with database.connection() as conn:
        row = await (
            await conn.execute("SELECT personal_sealed FROM platform.outbox ORDER BY id DESC LIMIT 1")
        ).fetchone()
    assert row is not None
    link = str(current_sealer().open_json(bytes(row[0]), column=SEALED)["link"])
    return "/" + link.split("/", 3)[3]


async def register(browser: httpx.AsyncClient, database: Database, email: str = EMAIL) -> httpx.Response:
    assert (await post(browser, "/register", email=email)).status_code == 200
    path, token = (await newest_link(database)).split("?token=")
    return await post(browser, path, token=token, password=PASSWORD)

"""A whole site with a few goods, and somebody who reads its pages."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.guests import make_guest
from tidegate.accounts import SignedIn, make_crowd
from tidegate.catalog import NewProduct, NewVariant, Status, create_drop, find_variants, write_products
from tidegate.catalog import Room as Choice
from tidegate.entrypoints.site import create_app
from tidegate.inventory import set_stock
from tidegate.ops import start_drop
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.money import Money
from tidegate.platform.settings import Settings

BASE_URL = "http://127.0.0.1:8000"
TOKEN = re.compile(r'name="form_token" value="([^"]+)"')

Sell = Callable[..., Awaitable[str]]
Open = Callable[..., Awaitable[None]]
WaitFor = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A browser without scripts: keeps cookies, sends forms with the token of the page that they are on."""

    client: httpx.AsyncClient

    async def get(self, path: str) -> httpx.Response:
        """Open a page, following redirects."""
        return await self.client.get(path, follow_redirects=True)

    async def send(self, page: str, to: str, /, **fields: str) -> httpx.Response:
        """Send a form of `page` to an address; redirects are not followed."""
        shown = await self.get(page)
        token = TOKEN.search(shown.text)
        assert token is not None, f"no form on {page}: {shown.status_code}"
        return await self.client.post(to, data={"form_token": token[1], **fields}, headers={"origin": BASE_URL})


async def sign_in(reader: Reader, database: Database) -> None:
    """Give them an account, and a session of it."""
    async with database.transaction() as conn:
        (token,) = await make_crowd(conn, count=1)
    reader.client.cookies.set("tidegate_session", token)


def text_of(response: httpx.Response) -> str:
    """What a page says: its words in one line."""
    main = response.text.split("<main", 1)[-1].split("</main>", 1)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main.split(">", 1)[-1])).split())


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Any]:
    """The whole site, started."""
    app: Any = create_app(settings.model_copy(update={"demo": True}))
    async with app.app.router.lifespan_context(app.app):
        yield app


@pytest.fixture
async def reader(app: Any) -> AsyncIterator[Reader]:
    """Somebody who reads."""
    async with reading(app) as client:
        yield Reader(client)


@pytest.fixture
async def other(app: Any) -> AsyncIterator[Reader]:
    """Somebody else."""
    async with reading(app) as client:
        yield Reader(client)


def reading(app: Any) -> httpx.AsyncClient:
    """A client that asks for pages."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url=BASE_URL, headers={"accept": "text/html,*/*"}
    )


@pytest.fixture
def sell(database: Database) -> Sell:
    """Put a product on sale: `await sell("Red Lamp", stock=3)`; several variants as `sizes=("S", "M")`. Its slug."""

    async def put(
        title: str,
        *,
        stock: int = 5,
        price: int = 250,
        sizes: tuple[str, ...] = (),
        kind: str = "Lights",
        popularity: int = 0,
        description: str = "",
    ) -> str:
        slug = title.lower().replace(" ", "-")
        variants = tuple(
            NewVariant(
                sku=f"{slug}-{size}".upper().rstrip("-"),
                options=(("Size", size),) if size else (),
                price=Money(price + 100 * place, "GBP"),
            )
            for place, size in enumerate(sizes or ("",))
        )
        product = NewProduct(slug, title, description, "", kind, (), Status.ACTIVE, variants, popularity=popularity)
        async with database.transaction() as conn:
            written = await write_products(conn, products=[product])
            assert not written.refused
            ids = await find_variants(conn, skus=[variant.sku for variant in variants])
            await set_stock(conn, levels=dict.fromkeys(ids.values(), stock))
        return slug

    return put


@pytest.fixture
def open_drop(database: Database) -> Open:
    """Sell a SKU by a drop: `await open_drop("lamp-night", "RED-LAMP", stock=2, in_s=-1)`."""

    async def put(slug: str, sku: str, *, stock: int, in_s: float, per_buyer: int = 1, guests: bool = False) -> None:
        async with database.transaction() as conn:
            ids = await find_variants(conn, skus=[sku])
            await create_drop(
                conn,
                slug=slug,
                title=slug.replace("-", " ").title(),
                sku=sku,
                quantity=stock,
                opens_at=await database_now(conn) + timedelta(seconds=in_s),
                per_buyer=per_buyer,
                guests=guests,
            )
            await set_stock(conn, levels={ids[sku]: stock})

    return put


@pytest.fixture
def wait_for(database: Database) -> WaitFor:
    """A drop with a room before a product; opens in `in_s` seconds."""

    async def make(sku: str, *, in_s: float, guests: bool = False, title: str = "") -> None:
        async with database.transaction() as conn:
            opens_at = await database_now(conn) + timedelta(seconds=in_s)
            await start_drop(
                conn,
                slug="lamp-night",
                title=title,
                sku=sku,
                quantity=3,
                opens_at=opens_at,
                per_buyer=1,
                room=Choice.DRAW,
                guests=guests,
            )

    return make


async def account_of(database: Database) -> SignedIn:
    """Somebody who has signed in."""
    async with database.transaction() as conn:
        made = await make_guest(conn)
        await conn.execute(
            "UPDATE accounts.people SET role = 'customer', email_sealed = '.', email_fingerprint = sha256('x')"
            " WHERE id = %s",
            (made.person.id,),
        )
    return made

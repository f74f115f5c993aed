"""Two people on every route with an id: what is somebody's answers the other as if it were not there, and stays.

A route with a parameter that is in neither table fails, so that nobody forgets to say whose its things are.
"""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.checkout.buying import ADDRESS, held, order_body, post, purchase_body
from tests.checkout.conftest import put_on_sale
from tests.entrypoints.test_roles import TABLE, site
from tests.guests import make_guest
from tidegate.accounts import Role
from tidegate.accounts.people import EMAIL
from tidegate.platform.database import Database
from tidegate.platform.sealing import current_sealer

__all__ = ["site"]

pytestmark = pytest.mark.anyio

OWNED = {
    ("GET", "/account/addresses/{address_id}"),
    ("POST", "/account/addresses/{address_id}"),
    ("POST", "/account/addresses/{address_id}/remove"),
    ("POST", "/account/messages/devices/{device_id}/remove"),
    ("POST", "/account/sessions/{session}/end"),
    ("DELETE", "/api/v1/addresses/{address_id}"),
    ("PUT", "/api/v1/addresses/{address_id}"),
    ("DELETE", "/api/v1/holds/{hold_id}"),
    ("GET", "/api/v1/holds/{hold_id}"),
    ("GET", "/api/v1/orders/{order_id}"),
    ("POST", "/api/v1/orders/{order_id}/cancel"),
    ("DELETE", "/api/v1/me/devices/{device_id}"),
    ("DELETE", "/api/v1/sessions/{session}"),
    ("GET", "/checkout/{hold_id}"),
    ("POST", "/checkout/{hold_id}"),
    ("POST", "/checkout/{hold_id}/give-up"),
    ("GET", "/orders/{order_id}"),
    ("GET", "/orders/{order_id}/cancel"),
    ("POST", "/orders/{order_id}/cancel"),
    ("POST", "/orders/{order_id}/pay"),
}
"""Routes of things that belong to somebody."""

PUBLIC = {
    ("GET", "/api/v1/drops/{slug}/consistency/{size}"): "a proof about a list that is public and names nobody",
    ("GET", "/api/v1/drops/{slug}/entries/{index}"): "one of a list that is public and names nobody",
    ("GET", "/posts/{post_id}"): "news of the shop, for all",
    ("POST", "/api/v1/payments/webhooks/{provider}"): "signed by the provider",
    ("GET", "/dev/mail/gallery/{template}/{locale}"): "examples",
    ("GET", "/dev/mail/{mail_id}"): "the demo's mailbox",
    ("GET", "/dev/mail/{mail_id}/html"): "the demo's mailbox",
    ("GET", "/sandbox/pay/{payment_id}"): "the demo's payment provider, whose page asks for a card",
    ("POST", "/sandbox/pay/{payment_id}"): "the demo's payment provider, whose page asks for a card",
}
"""Routes with ids that belong to nobody, and why. Names of the catalogue and of texts are for all."""

TICKETED = {
    ("GET", "/api/v1/drops/{slug}/places/{place_id}"),
    ("DELETE", "/api/v1/drops/{slug}/places/{place_id}"),
    ("GET", "/api/v1/drops/{slug}/places/{place_id}/proof"),
}
"""Routes that ask for a ticket besides: tests/gate/test_http.py tries those of others."""

NAMES = {"slug", "kind", "name", "language"}
"""Parameters that name what the shop shows to all."""


def is_of_staff(path: str) -> bool:
    """Whether only staff get there, who see everybody's things (test_roles tries who gets there)."""
    return path.startswith(("/admin", "/api/v1/admin", "/api/v1/notify/"))


def test_every_route_with_an_id_says_whose_it_is() -> None:
    asking = {
        (method, path) for method, path in TABLE if set(re.findall(r"{(\w+)}", path)) - NAMES and not is_of_staff(path)
    }
    assert asking == OWNED | TICKETED | set(PUBLIC)


async def customer(client: httpx.AsyncClient, database: Database, name: str) -> dict[str, str]:
    """Headers of somebody with an account and two sessions."""
    sealed = current_sealer().seal(f"{name}@example.com", column=EMAIL)
    async with database.transaction() as conn:
        made = await make_guest(conn)
        await conn.execute(
            """
            UPDATE accounts.people SET role = %s, email_sealed = %s, email_fingerprint = sha256(%s) WHERE id = %s
            """,
            (Role.CUSTOMER, sealed, name.encode(), made.person.id),
        )
    return {"authorization": f"Bearer {made.token}"}


async def ids_of(client: httpx.AsyncClient, who: dict[str, str]) -> dict[str, str]:
    """A hold, a paid order, an address, a session and a device of somebody's."""
    assert (await ask(client, "POST", "/account/addresses", who)).status_code == 303
    book = (await client.get("/account/addresses", headers=who)).text
    address = re.search(r"/account/addresses/([0-9a-f-]{36})", book)
    assert address is not None
    bought = await post(client, "/api/v1/purchases", purchase_body(("LAMP", 1)), who)
    assert bought.status_code == 201, bought.text
    hold = await held(client, who)
    session = (await client.get("/api/v1/sessions", headers=who)).json()["items"][0]["id"]
    phone = {"kind": "android", "token": "a-token"}
    told = await client.put("/api/v1/me/devices", json={"devices": [phone]}, headers=who)
    return {
        "order_id": bought.json()["id"],
        "hold_id": hold["id"],
        "session": session,
        "address_id": address[1],
        "device_id": told.json()["devices"][0]["id"],
    }


async def ask(client: httpx.AsyncClient, method: str, path: str, who: dict[str, str]) -> httpx.Response:
    """One request, with the token of a form or with a key, so that only whose it is can be in the way."""
    if path.startswith("/api/"):
        body = ADDRESS if method == "PUT" else None
        return await client.request(method, path, json=body, headers=who | {"idempotency-key": path})
    if method == "GET":
        return await client.get(path, headers=who | {"accept": "text/html"})
    page = (await client.get("/login", headers=who)).text
    token = re.search(r'name="form_token" value="([^"]+)"', page)
    assert token is not None
    return await client.post(
        path, data={"form_token": token[1], **ADDRESS}, headers=who | {"sec-fetch-site": "same-origin"}
    )


async def test_nobody_gets_at_anothers_things(site: Any, database: Database) -> None:
    await put_on_sale(database, "LAMP", stock=50)
    transport = httpx.ASGITransport(site)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        owner, other = [await customer(client, database, name) for name in ("mira", "tom")]
        ids = await ids_of(client, owner)
        wrong = []
        for method, path in sorted(OWNED):
            filled = path.format(**ids)
            answer = await ask(client, method, filled, other)
            never = await ask(client, method, path.format(**dict.fromkeys(ids, ids["hold_id"][:-4] + "0000")), other)
            if (answer.status_code, never.status_code) != (404, 404):
                wrong.append((method, path, answer.status_code, never.status_code))
        assert wrong == []
        for path in (
            "/api/v1/orders/{order_id}",
            "/api/v1/holds/{hold_id}",
            "/orders/{order_id}",
            "/checkout/{hold_id}",
            "/account/addresses/{address_id}",
        ):
            assert (await ask(client, "GET", path.format(**ids), owner)).status_code == 200, "it is all still there"
        kept = await post(client, "/api/v1/orders", order_body(ids["hold_id"]), other)
        assert kept.status_code == 404
        assert (await client.get("/api/v1/sessions", headers=owner)).status_code == 200
        assert len((await client.get("/api/v1/me/devices", headers=owner)).json()["items"]) == 1

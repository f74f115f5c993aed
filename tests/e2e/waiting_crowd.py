"""People with accounts who wait without a browser, so that a room is not empty."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from tests.checkout.buying import purchase_body
from tests.e2e.shopper import Shopper
from tests.servers import Shop, wait_until
from tidegate.accounts.sessions import token_hash
from tidegate.platform.ids import new_id


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody with a place in the room of a drop."""

    shop: Shop
    slug: str
    session: Mapping[str, str]
    joined: dict[str, Any]

    def place(self) -> dict[str, Any]:
        """Their place as it stands."""
        answer = self._ask("GET", f"/api/v1/drops/{self.slug}/places/{self.joined['id']}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def buy(self, sku: str) -> None:
        """Wait for their turn and buy one of what is sold."""
        admission = wait_until(lambda: self.place()["pass"], what="a pass")
        answer = self._ask(
            "POST", "/api/v1/purchases", json=purchase_body((sku, 1)), headers={"Tidegate-Pass": admission}
        )
        assert answer.status_code == 201, answer.text

    def _ask(self, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        own = {**self.session, "Tidegate-Ticket": self.joined["ticket"], "Idempotency-Key": f"{method} {path}"}
        return httpx.request(method, self.shop.base_url + path, json=json, headers=own | dict(headers or {}))


def let_join(shop: Shop, slug: str, *, people: int) -> list[Waiter]:
    """So many people with accounts join a room, one after the other."""
    wait_until(lambda: shop.get(f"/api/v1/drops/{slug}/status")[0] == 200, what="a room")
    return [_join(shop, slug) for _ in range(people)]


def _new_account(shop: Shop) -> str:
    """Somebody with an account, whose session no process has seen yet; its token."""
    token, person = secrets.token_urlsafe(32), new_id()
    with psycopg.connect(shop.endpoints()["database_url"], autocommit=True) as conn:
        conn.execute(
            "INSERT INTO accounts.people (id, role, email_fingerprint, email_sealed)"
            " SELECT %s, 'customer', %s, email_sealed FROM accounts.people WHERE role = 'admin' LIMIT 1",
            (person, token_hash(token)),
        )
        conn.execute(
            "INSERT INTO accounts.sessions (token_hash, person_id, expires_at)"
            " VALUES (%s, %s, clock_timestamp() + interval '1 day')",
            (token_hash(token), person),
        )
    return token


def with_account(shop: Shop, visitor: Shopper) -> Shopper:
    """A browser in which somebody with an account is signed in."""
    session = {"name": "tidegate_session", "value": _new_account(shop), "url": shop.base_url}
    visitor.page.context.add_cookies([session])  # type: ignore[list-item]
    return visitor


def _join(shop: Shop, slug: str) -> Waiter:
    session = {"authorization": f"Bearer {_new_account(shop)}"}

    def joined() -> Any:
        answer = httpx.post(f"{shop.base_url}/api/v1/drops/{slug}/places", headers=session)
        return answer.json() if answer.status_code == 201 else None

    return Waiter(shop, slug, session, wait_until(joined, what="a place"))

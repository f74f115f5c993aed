"""Every route of the site by every role. A route that is not in the table fails: deny is what was not thought of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from tests.checkout.buying import order_body, purchase_body
from tests.guests import make_guest
from tidegate.entrypoints.site import HOT_ROUTES, create_app
from tidegate.platform.database import Database
from tidegate.platform.ids import new_id
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

ROLES = ("stranger", "guest", "customer", "staff", "admin")


class For(Enum):
    """Whom a route is for."""

    ALL = "everyone"
    SESSIONS = "everyone with a session"
    OWNERS = "everyone with an account"
    STAFF = "staff and administrators"
    ADMINS = "administrators"
    KEYS = "applications with an access key"


BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/cart/code": {"code": None},
    "/api/v1/cart/lines": {"sku": "NOTHING", "quantity": 1},
    "/api/v1/holds": {"lines": [{"sku": "NOTHING", "quantity": 1}]},
    "/api/v1/orders": order_body(str(new_id())),
    "/api/v1/purchases": purchase_body(("NOTHING", 1)),
}
"""What routes read before they ask who it is."""

ENDING = {("POST", "/account/sessions/end"), ("DELETE", "/api/v1/me")}
"""What would end the sessions of the roles that are tried; tests/accounts tries these."""

TABLE: dict[tuple[str, str], For] = {
    ("GET", "/"): For.ALL,
    ("GET", "/account"): For.OWNERS,
    ("GET", "/account/addresses"): For.OWNERS,
    ("POST", "/account/addresses"): For.OWNERS,
    ("GET", "/account/addresses/{address_id}"): For.OWNERS,
    ("POST", "/account/addresses/{address_id}"): For.OWNERS,
    ("POST", "/account/addresses/{address_id}/remove"): For.OWNERS,
    ("POST", "/account/delete"): For.OWNERS,
    ("GET", "/account/follows"): For.OWNERS,
    ("POST", "/account/follows/end"): For.OWNERS,
    ("GET", "/account/messages"): For.OWNERS,
    ("POST", "/account/messages"): For.OWNERS,
    ("POST", "/account/messages/devices/{device_id}/remove"): For.OWNERS,
    ("GET", "/account/orders"): For.ALL,
    ("POST", "/account/password"): For.OWNERS,
    ("POST", "/account/sessions/end"): For.OWNERS,
    ("POST", "/account/sessions/{session}/end"): For.OWNERS,
    ("GET", "/admin"): For.STAFF,
    ("GET", "/admin/keys"): For.ADMINS,
    ("POST", "/admin/keys"): For.ADMINS,
    ("POST", "/admin/keys/{key_id}/revoke"): For.ADMINS,
    ("POST", "/admin/keys/providers"): For.ADMINS,
    ("POST", "/admin/keys/providers/{slug}/remove"): For.ADMINS,
    ("GET", "/admin/suppressions"): For.STAFF,
    ("POST", "/admin/suppressions"): For.STAFF,
    ("POST", "/admin/suppressions/{wish}"): For.STAFF,
    ("GET", "/admin/webhooks"): For.STAFF,
    ("POST", "/admin/webhooks"): For.STAFF,
    ("GET", "/admin/webhooks/{endpoint_id}"): For.STAFF,
    ("POST", "/admin/webhooks/{endpoint_id}"): For.STAFF,
    ("POST", "/admin/webhooks/{endpoint_id}/delete"): For.STAFF,
    ("POST", "/admin/webhooks/{endpoint_id}/secret"): For.STAFF,
    ("POST", "/admin/webhooks/{endpoint_id}/{wish}"): For.STAFF,
    ("POST", "/admin/webhooks/{endpoint_id}/deliveries/{event_id}/replay"): For.STAFF,
    ("GET", "/admin/dead-letters"): For.STAFF,
    ("POST", "/admin/dead-letters/{wish}"): For.STAFF,
    ("GET", "/admin/dead-letters/{event_id}/{recipient_id}/{channel}"): For.STAFF,
    ("POST", "/admin/dead-letters/{event_id}/{recipient_id}/{channel}/{wish}"): For.STAFF,
    ("GET", "/api/v1/notify/webhooks"): For.STAFF,
    ("POST", "/api/v1/notify/webhooks"): For.STAFF,
    ("GET", "/api/v1/notify/webhooks/{endpoint_id}"): For.STAFF,
    ("PATCH", "/api/v1/notify/webhooks/{endpoint_id}"): For.STAFF,
    ("DELETE", "/api/v1/notify/webhooks/{endpoint_id}"): For.STAFF,
    ("POST", "/api/v1/notify/webhooks/{endpoint_id}/secret"): For.STAFF,
    ("POST", "/api/v1/notify/webhooks/{endpoint_id}/test"): For.STAFF,
    ("GET", "/api/v1/notify/webhooks/{endpoint_id}/deliveries"): For.STAFF,
    ("POST", "/api/v1/notify/webhooks/{endpoint_id}/deliveries/{event_id}/replay"): For.STAFF,
    ("GET", "/api/v1/notify/dead-letters"): For.STAFF,
    ("POST", "/api/v1/notify/dead-letters/replay"): For.STAFF,
    ("GET", "/api/v1/notify/dead-letters/{event_id}/{recipient_id}/{channel}"): For.STAFF,
    ("DELETE", "/api/v1/notify/dead-letters/{event_id}/{recipient_id}/{channel}"): For.STAFF,
    ("POST", "/api/v1/notify/dead-letters/{event_id}/{recipient_id}/{channel}/replay"): For.STAFF,
    ("GET", "/admin/drops"): For.STAFF,
    ("GET", "/admin/drops/new"): For.STAFF,
    ("POST", "/admin/drops/new"): For.STAFF,
    ("GET", "/admin/drops/{slug}"): For.STAFF,
    ("GET", "/admin/drops/{slug}/close"): For.STAFF,
    ("POST", "/admin/drops/{slug}/close"): For.STAFF,
    ("GET", "/admin/drops/{slug}/edit"): For.STAFF,
    ("POST", "/admin/drops/{slug}/edit"): For.STAFF,
    ("GET", "/admin/drops/{slug}/reopen"): For.STAFF,
    ("POST", "/admin/drops/{slug}/reopen"): For.STAFF,
    ("GET", "/admin/customers"): For.STAFF,
    ("GET", "/admin/customers/{person_id}"): For.STAFF,
    ("POST", "/admin/customers/{person_id}/sign-out"): For.ADMINS,
    ("GET", "/admin/drops/{slug}/room"): For.STAFF,
    ("POST", "/admin/drops/{slug}/room"): For.STAFF,
    ("GET", "/admin/drops/{slug}/room/open"): For.STAFF,
    ("POST", "/admin/drops/{slug}/room/open"): For.STAFF,
    ("POST", "/admin/drops/{slug}/room/pause"): For.STAFF,
    ("POST", "/admin/drops/{slug}/room/beacon"): For.STAFF,
    ("GET", "/admin/settings"): For.STAFF,
    ("GET", "/admin/rehearsals"): For.STAFF,
    ("GET", "/admin/rehearsals/{name}"): For.STAFF,
    ("GET", "/admin/status"): For.STAFF,
    ("GET", "/admin/stock"): For.STAFF,
    ("GET", "/admin/stock/{variant_id}"): For.STAFF,
    ("POST", "/admin/stock/{variant_id}"): For.STAFF,
    ("GET", "/admin/collections"): For.STAFF,
    ("POST", "/admin/collections"): For.STAFF,
    ("GET", "/admin/collections/{slug}"): For.STAFF,
    ("POST", "/admin/collections/{slug}"): For.STAFF,
    ("POST", "/admin/collections/{slug}/order"): For.STAFF,
    ("POST", "/admin/collections/{slug}/picture"): For.STAFF,
    ("POST", "/admin/collections/{slug}/picture/new"): For.STAFF,
    ("POST", "/admin/collections/{slug}/remove"): For.STAFF,
    ("GET", "/admin/orders"): For.STAFF,
    ("GET", "/admin/orders/{order_id}"): For.STAFF,
    ("POST", "/admin/orders/{order_id}/cancel"): For.STAFF,
    ("POST", "/admin/orders/{order_id}/refund"): For.STAFF,
    ("POST", "/admin/orders/{order_id}/send"): For.STAFF,
    ("POST", "/admin/orders/{order_id}/shipments/{shipment_id}/undo"): For.STAFF,
    ("GET", "/admin/codes"): For.STAFF,
    ("POST", "/admin/codes"): For.STAFF,
    ("POST", "/admin/codes/{code}/close"): For.STAFF,
    ("GET", "/admin/messages"): For.STAFF,
    ("GET", "/admin/messages/{template}/{language}"): For.STAFF,
    ("POST", "/admin/messages/{template}/{language}"): For.STAFF,
    ("GET", "/admin/messages/{template}/{language}/preview"): For.STAFF,
    ("POST", "/admin/messages/{template}/{language}/preview"): For.STAFF,
    ("GET", "/admin/sends"): For.STAFF,
    ("GET", "/admin/sends/new"): For.STAFF,
    ("POST", "/admin/sends/new"): For.STAFF,
    ("GET", "/admin/sends/{event_id}/{topic_id}"): For.STAFF,
    ("POST", "/admin/sends/{event_id}/{topic_id}/{wish}"): For.STAFF,
    ("GET", "/posts"): For.ALL,
    ("GET", "/posts/{post_id}"): For.ALL,
    ("POST", "/api/v1/notify/posts"): For.STAFF,
    ("GET", "/api/v1/notify/templates"): For.STAFF,
    ("GET", "/api/v1/notify/templates/{template}/{language}"): For.STAFF,
    ("PUT", "/api/v1/notify/templates/{template}/{language}"): For.STAFF,
    ("DELETE", "/api/v1/notify/templates/{template}/{language}"): For.STAFF,
    ("POST", "/api/v1/notify/templates/{template}/{language}/preview"): For.STAFF,
    ("GET", "/api/v1/notify/estimates"): For.STAFF,
    ("GET", "/api/v1/notify/sends"): For.STAFF,
    ("GET", "/api/v1/notify/sends/{event_id}/{topic_id}"): For.STAFF,
    ("PATCH", "/api/v1/notify/sends/{event_id}/{topic_id}"): For.STAFF,
    ("PUT", "/api/v1/notify/recipients"): For.KEYS,
    ("GET", "/api/v1/notify/recipients"): For.KEYS,
    ("POST", "/api/v1/notify/recipients/find"): For.KEYS,
    ("GET", "/api/v1/notify/recipients/{external_id}"): For.KEYS,
    ("DELETE", "/api/v1/notify/recipients/{external_id}"): For.KEYS,
    ("GET", "/api/v1/notify/recipients/{external_id}/preferences"): For.KEYS,
    ("PUT", "/api/v1/notify/recipients/{external_id}/preferences"): For.KEYS,
    ("GET", "/api/v1/notify/recipients/{external_id}/preferences/classes"): For.KEYS,
    ("PUT", "/api/v1/notify/recipients/{external_id}/preferences/classes/{name}"): For.KEYS,
    ("GET", "/api/v1/notify/recipients/{external_id}/preferences/topics"): For.KEYS,
    ("PUT", "/api/v1/notify/recipients/{external_id}/preferences/topics/{key}"): For.KEYS,
    ("GET", "/api/v1/notify/recipients/{external_id}/inbox"): For.KEYS,
    ("POST", "/api/v1/notify/recipients/{external_id}/inbox/read"): For.KEYS,
    ("PUT", "/api/v1/notify/devices"): For.KEYS,
    ("GET", "/api/v1/notify/recipients/{external_id}/devices"): For.KEYS,
    ("DELETE", "/api/v1/notify/recipients/{external_id}/devices/{device_id}"): For.KEYS,
    ("GET", "/api/v1/notify/topics"): For.KEYS,
    ("GET", "/api/v1/notify/topics/{key}"): For.KEYS,
    ("PUT", "/api/v1/notify/topics/{key}"): For.KEYS,
    ("DELETE", "/api/v1/notify/topics/{key}"): For.KEYS,
    ("GET", "/api/v1/notify/topics/{key}/followers"): For.KEYS,
    ("PUT", "/api/v1/notify/topics/{key}/followers"): For.KEYS,
    ("POST", "/api/v1/notify/events"): For.KEYS,
    ("GET", "/api/v1/notify/events/{event_id}"): For.KEYS,
    ("POST", "/api/v1/notify/receipts"): For.KEYS,
    ("POST", "/api/v1/notify/receipts/{provider}"): For.KEYS,
    ("GET", "/api/v1/notify/deliveries"): For.STAFF,
    ("POST", "/api/v1/notify/deliveries/{event_id}/replay"): For.STAFF,
    ("POST", "/api/v1/notify/deliveries/{event_id}/{recipient_id}/{channel}/replay"): For.STAFF,
    ("POST", "/api/v1/notify/suppressions"): For.STAFF,
    ("POST", "/api/v1/notify/suppressions/find"): For.STAFF,
    ("POST", "/api/v1/notify/suppressions/lift"): For.STAFF,
    ("GET", "/admin/shipping"): For.STAFF,
    ("POST", "/admin/shipping/zones"): For.STAFF,
    ("POST", "/admin/shipping/zones/{zone_id}/methods"): For.STAFF,
    ("POST", "/admin/shipping/zones/{zone_id}/remove"): For.STAFF,
    ("POST", "/admin/shipping/methods/{code}/remove"): For.STAFF,
    ("GET", "/admin/taxes"): For.STAFF,
    ("POST", "/admin/taxes"): For.STAFF,
    ("POST", "/admin/taxes/classes"): For.STAFF,
    ("POST", "/admin/taxes/prices"): For.STAFF,
    ("POST", "/admin/taxes/standard"): For.STAFF,
    ("POST", "/admin/taxes/{country}/{tax_class}/remove"): For.STAFF,
    ("GET", "/admin/pages"): For.STAFF,
    ("GET", "/admin/pages/{slug}/{language}"): For.STAFF,
    ("POST", "/admin/pages/{slug}/{language}"): For.STAFF,
    ("GET", "/admin/products"): For.STAFF,
    ("GET", "/admin/products/bulk"): For.STAFF,
    ("POST", "/admin/products/bulk"): For.STAFF,
    ("GET", "/admin/products/new"): For.STAFF,
    ("POST", "/admin/products/new"): For.STAFF,
    ("GET", "/admin/products/{slug}/edit"): For.STAFF,
    ("POST", "/admin/products/{slug}/edit"): For.STAFF,
    ("GET", "/admin/products/{slug}/pictures"): For.STAFF,
    ("POST", "/admin/products/{slug}/pictures"): For.STAFF,
    ("POST", "/admin/products/{slug}/pictures/new"): For.STAFF,
    ("GET", "/admin/people"): For.STAFF,
    ("POST", "/admin/people/invitations"): For.ADMINS,
    ("POST", "/admin/people/invitations/{invitation_id}/withdraw"): For.ADMINS,
    ("GET", "/admin/people/{person_id}"): For.STAFF,
    ("POST", "/admin/people/{person_id}/role"): For.ADMINS,
    ("GET", "/api/v1/addresses"): For.OWNERS,
    ("POST", "/api/v1/addresses"): For.OWNERS,
    ("DELETE", "/api/v1/addresses/{address_id}"): For.OWNERS,
    ("PUT", "/api/v1/addresses/{address_id}"): For.OWNERS,
    ("GET", "/api/v1/admin/orders"): For.STAFF,
    ("POST", "/api/v1/admin/orders/{order_id}/cancel"): For.STAFF,
    ("POST", "/api/v1/admin/orders/{order_id}/refunds"): For.STAFF,
    ("POST", "/api/v1/admin/orders/{order_id}/shipments"): For.STAFF,
    ("GET", "/api/v1/admin/rooms/{slug}"): For.STAFF,
    ("PATCH", "/api/v1/admin/rooms/{slug}"): For.STAFF,
    ("POST", "/api/v1/admin/rooms/{slug}/close"): For.STAFF,
    ("DELETE", "/api/v1/cart"): For.SESSIONS,
    ("GET", "/api/v1/cart"): For.SESSIONS,
    ("PUT", "/api/v1/cart/code"): For.SESSIONS,
    ("PUT", "/api/v1/cart/lines"): For.SESSIONS,
    ("GET", "/api/v1/drops/{slug}"): For.ALL,
    ("POST", "/api/v1/follow-requests"): For.ALL,
    ("GET", "/api/v1/follows"): For.OWNERS,
    ("DELETE", "/api/v1/follows/{kind}/{slug}"): For.OWNERS,
    ("PUT", "/api/v1/follows/{kind}/{slug}"): For.OWNERS,
    ("GET", "/api/v1/drops/{slug}/draw"): For.ALL,
    ("GET", "/api/v1/drops/{slug}/entries"): For.ALL,
    ("GET", "/api/v1/drops/{slug}/consistency/{size}"): For.ALL,
    ("GET", "/api/v1/drops/{slug}/entries/{index}"): For.ALL,
    ("POST", "/api/v1/drops/{slug}/places"): For.SESSIONS,
    ("DELETE", "/api/v1/drops/{slug}/places/{place_id}"): For.SESSIONS,
    ("GET", "/api/v1/drops/{slug}/places/{place_id}"): For.SESSIONS,
    ("GET", "/api/v1/drops/{slug}/places/{place_id}/proof"): For.SESSIONS,
    ("GET", "/api/v1/drops/{slug}/status"): For.ALL,
    ("GET", "/api/v1/gate/keys"): For.ALL,
    ("POST", "/api/v1/guests"): For.ALL,
    ("POST", "/api/v1/holds"): For.SESSIONS,
    ("DELETE", "/api/v1/holds/{hold_id}"): For.SESSIONS,
    ("GET", "/api/v1/holds/{hold_id}"): For.SESSIONS,
    ("POST", "/api/v1/login-links"): For.ALL,
    ("POST", "/api/v1/login-links/use"): For.ALL,
    ("GET", "/api/v1/inbox/events"): For.SESSIONS,
    ("DELETE", "/api/v1/me"): For.OWNERS,
    ("GET", "/api/v1/me/devices"): For.OWNERS,
    ("PUT", "/api/v1/me/devices"): For.OWNERS,
    ("DELETE", "/api/v1/me/devices/{device_id}"): For.OWNERS,
    ("GET", "/api/v1/me/preferences"): For.OWNERS,
    ("PUT", "/api/v1/me/preferences/classes/{name}"): For.OWNERS,
    ("PUT", "/api/v1/me/preferences/quiet"): For.OWNERS,
    ("GET", "/api/v1/me/preferences/topics"): For.OWNERS,
    ("PUT", "/api/v1/me/preferences/topics/{kind}/{slug}"): For.OWNERS,
    ("GET", "/api/v1/me"): For.SESSIONS,
    ("PUT", "/api/v1/me/password"): For.OWNERS,
    ("GET", "/api/v1/orders"): For.SESSIONS,
    ("POST", "/api/v1/orders"): For.SESSIONS,
    ("GET", "/api/v1/orders/{order_id}"): For.SESSIONS,
    ("POST", "/api/v1/orders/{order_id}/cancel"): For.SESSIONS,
    ("POST", "/api/v1/password-resets"): For.ALL,
    ("POST", "/api/v1/password-resets/confirm"): For.ALL,
    ("POST", "/api/v1/payments/webhooks/{provider}"): For.ALL,
    ("GET", "/api/v1/products"): For.ALL,
    ("GET", "/api/v1/products/{slug}"): For.ALL,
    ("POST", "/api/v1/purchases"): For.SESSIONS,
    ("POST", "/api/v1/registrations"): For.ALL,
    ("POST", "/api/v1/registrations/confirm"): For.ALL,
    ("DELETE", "/api/v1/sessions"): For.SESSIONS,
    ("GET", "/api/v1/sessions"): For.SESSIONS,
    ("POST", "/api/v1/sessions"): For.ALL,
    ("DELETE", "/api/v1/sessions/{session}"): For.SESSIONS,
    ("GET", "/art/{slug}.svg"): For.ALL,
    ("GET", "/cart"): For.ALL,
    ("POST", "/cart/add"): For.ALL,
    ("POST", "/cart/checkout"): For.ALL,
    ("POST", "/cart/code"): For.ALL,
    ("POST", "/cart/lines"): For.ALL,
    ("GET", "/checkout/{hold_id}"): For.ALL,
    ("POST", "/checkout/{hold_id}"): For.ALL,
    ("POST", "/checkout/{hold_id}/give-up"): For.ALL,
    ("GET", "/collections/{slug}"): For.ALL,
    ("GET", "/confirm"): For.ALL,
    ("POST", "/confirm"): For.ALL,
    ("GET", "/dev/mail"): For.ALL,
    ("GET", "/dev/mail.json"): For.ALL,
    ("GET", "/dev/mail/gallery"): For.ALL,
    ("GET", "/dev/mail/gallery/{template}/{locale}"): For.ALL,
    ("GET", "/dev/mail/{mail_id}"): For.ALL,
    ("GET", "/dev/mail/{mail_id}/html"): For.ALL,
    ("GET", "/docs"): For.ALL,
    ("GET", "/drops/{slug}"): For.ALL,
    ("GET", "/drops/{slug}/draw"): For.ALL,
    ("GET", "/drops/{slug}/room"): For.ALL,
    ("POST", "/drops/{slug}/room"): For.ALL,
    ("POST", "/drops/{slug}/room/leave"): For.ALL,
    ("GET", "/follow"): For.ALL,
    ("POST", "/follow"): For.ALL,
    ("POST", "/follow/address"): For.ALL,
    ("GET", "/follow/confirm"): For.ALL,
    ("POST", "/follow/confirm"): For.ALL,
    ("POST", "/holds"): For.ALL,
    ("GET", "/inbox"): For.ALL,
    ("POST", "/inbox/read"): For.ALL,
    ("GET", "/invitation"): For.ALL,
    ("POST", "/invitation"): For.ALL,
    ("GET", "/language"): For.ALL,
    ("GET", "/livez"): For.ALL,
    ("GET", "/login"): For.ALL,
    ("POST", "/login"): For.ALL,
    ("GET", "/login/link"): For.ALL,
    ("POST", "/login/link"): For.ALL,
    ("POST", "/logout"): For.ALL,
    ("GET", "/openapi.json"): For.ALL,
    ("GET", "/orders/{order_id}"): For.ALL,
    ("GET", "/orders/{order_id}/cancel"): For.ALL,
    ("POST", "/orders/{order_id}/cancel"): For.ALL,
    ("POST", "/orders/{order_id}/pay"): For.ALL,
    ("GET", "/pages/{slug}"): For.ALL,
    ("GET", "/problems"): For.ALL,
    ("GET", "/problems/{slug}"): For.ALL,
    ("GET", "/pictures/{name}"): For.ALL,
    ("GET", "/products/{slug}"): For.ALL,
    ("GET", "/readyz"): For.ALL,
    ("GET", "/register"): For.ALL,
    ("POST", "/register"): For.ALL,
    ("GET", "/reset"): For.ALL,
    ("POST", "/reset"): For.ALL,
    ("GET", "/reset/new"): For.ALL,
    ("POST", "/reset/new"): For.ALL,
    ("GET", "/robots.txt"): For.ALL,
    ("GET", "/sandbox/pay/{payment_id}"): For.ALL,
    ("POST", "/sandbox/pay/{payment_id}"): For.ALL,
    ("GET", "/preferences"): For.ALL,
    ("POST", "/preferences"): For.ALL,
    ("GET", "/search"): For.ALL,
    ("GET", "/sitemap.xml"): For.ALL,
    ("GET", "/sitemaps/{name}.xml"): For.ALL,
    ("GET", "/unsubscribe"): For.ALL,
    ("POST", "/unsubscribe"): For.ALL,
}


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Any]:
    brief = settings.live.model_copy(update={"max_s": 0.01})  # no stream lasts
    edge: Any = create_app(settings.model_copy(update={"demo": True, "live": brief}))
    async with edge.app.router.lifespan_context(edge.app):
        yield edge


@pytest.fixture
async def tokens(site: Any, database: Database) -> dict[str, str]:
    """A session of every role but the stranger."""
    made = {}
    for role in ROLES[1:]:
        async with database.transaction() as conn:
            signed_in = await make_guest(conn)
            sealed = current_sealer().seal(f"{role}@post.example", column="accounts.people.email_sealed")
            await conn.execute(
                """
                UPDATE accounts.people SET role = %s, email_sealed = %s, email_fingerprint = sha256(%s) WHERE id = %s
                """,
                (role, sealed, role.encode(), signed_in.person.id),
            )
        made[role] = signed_in.token
    return made


def routes(site: Any) -> set[tuple[str, str]]:
    """Every method and template that the site serves."""
    cold = {
        (method, context.path_format)
        for context in iter_route_contexts(site.app.routes)
        for method in context.methods or ()
        if context.path_format
    }
    return cold | {(route.method, route.path) for route in HOT_ROUTES}


async def ask(site: Any, method: str, path: str, token: str | None, **headers: str) -> httpx.Response:
    """One request with nothing in it, for ids that nobody has."""
    filled = "/".join(str(new_id()) if part.startswith("{") else part for part in path.split("/"))
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(site)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as client:
        if method in ("POST", "PUT") and path.startswith("/api/"):
            return await client.request(
                method, filled, json=BODIES.get(path, {}), headers={"idempotency-key": str(new_id())}
            )
        return await client.request(method, filled)


def is_turned_away(answer: httpx.Response) -> bool:
    """Whether the answer asks to sign in."""
    return answer.status_code == 401 or answer.headers.get("location", "").startswith("/login")


def is_as_promised(audience: For, role: str, answer: httpx.Response) -> bool:
    """Whether somebody was let in or turned away as the table says; staff's pages are not there for customers."""
    away = is_turned_away(answer)
    match audience:
        case For.ALL:
            return not away
        case For.SESSIONS:
            return away == (role == "stranger")
        case For.OWNERS:
            return away == (role in ("stranger", "guest"))
        case For.STAFF if role in ("guest", "customer"):
            return answer.status_code == 404
        case For.ADMINS if role in ("guest", "customer", "staff"):
            return answer.status_code == 404
        case For.KEYS:
            return away
        case For.STAFF | For.ADMINS:
            return away == (role == "stranger")


async def test_every_route_is_in_the_table(site: Any) -> None:
    assert routes(site) == set(TABLE)


async def test_every_route_lets_in_whom_it_is_for(site: Any, tokens: dict[str, str]) -> None:
    wrong = []
    for (method, path), audience in sorted(TABLE.items(), key=lambda item: item[0]):
        if (method, path) == ("DELETE", "/api/v1/sessions"):
            continue  # it would end the sessions; tests/accounts tries it
        for role in ROLES if audience != For.ALL else ("stranger",):
            if (method, path) in ENDING and role not in ("stranger", "guest"):
                continue
            answer = await ask(site, method, path, tokens.get(role), accept="text/html,application/json")
            fits = is_as_promised(audience, role, answer)
            if not fits:
                wrong.append((method, path, audience.name, role, answer.status_code))
    assert wrong == []

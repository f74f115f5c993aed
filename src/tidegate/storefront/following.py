"""What of the shop can be followed now, and following it with an account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tidegate import accounts, catalog, notify
from tidegate.catalog import options_text
from tidegate.checkout import Shop
from tidegate.notify import Topic, TopicKind
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import NotFound, Problem
from tidegate.platform.texts import text as _
from tidegate.storefront.announcing import SHOP_KEY
from tidegate.storefront.offers import find_offer

MAX_KEY = 300
MAX_TITLE = 1000
"""Characters of a topic's key and title that are kept."""


class NothingToWaitFor(Problem):
    """There is nothing to wait for."""

    slug = "nothing-to-wait-for"
    status = 409


@dataclass(frozen=True, slots=True)
class Followable:
    """A topic as it is now. `here`: what one would wait for is there already, or will not come."""

    topic: Topic
    here: bool

    def require_waiting(self) -> Topic:
        """The topic. Raises: NothingToWaitFor."""
        if self.here:
            raise NothingToWaitFor(
                _("%(title)s is there already or is over, so nothing was changed.", title=self.topic.title)
            )
        return self.topic


async def find_followable(shop: Shop, *, kind: str, slug: str) -> Followable:
    """What is at this address of the shop. Raises: NotFound."""
    async with shop.database.connection() as conn:
        match kind:
            case TopicKind.DROP:
                found = await _drop(conn, slug)
            case TopicKind.PRODUCT:
                found = await _product(conn, slug, currency=shop.settings.currency)
            case TopicKind.COLLECTION:
                found = await _collection(conn, slug)
            case TopicKind.SHOP if slug == SHOP_KEY:
                found = Followable(Topic(TopicKind.SHOP, SHOP_KEY, shop.settings.shop_name, "/"), here=False)
            case _:
                found = None
    if found is None:
        raise NotFound()
    return found


async def follow_as(shop: Shop, *, topic: Topic, person_id: PersonId, locale: str) -> None:
    """Have an account follow a topic. Raises: NotFound when it has no address (any more); FollowsFull."""
    async with shop.database.transaction() as conn:
        await notify.follow(
            conn,
            topic=topic,
            email=await address_of(conn, person_id),
            locale=locale,
            most=shop.settings.follows.max_per_recipient,
            person_id=person_id,
        )


async def ask_by_mail(shop: Shop, *, topic: Topic, email: str, network: str, locale: str) -> None:
    """Have the link mailed that confirms a follow, counted per address and per network of the visitor.

    It does the same for every address. Raises: InvalidRequest, TooManyRequests.
    """
    await notify.count_request(shop.settings, email=email, network=network)
    async with shop.database.transaction() as conn:
        await notify.mail_confirmation(
            conn, shop.settings, topic=topic, email=email, locale=locale, now=datetime.now(UTC)
        )


async def address_of(conn: Connection, person_id: PersonId) -> str:
    """The e-mail address of an account. Raises: NotFound."""
    found = await accounts.addresses_of(conn, people=[person_id])
    if person_id not in found:
        raise NotFound()
    return found[person_id]


async def _drop(conn: Connection, slug: str) -> Followable | None:
    drop = await catalog.find_drop(conn, slug=slug)
    if drop is None:
        return None
    here = drop.closed_at is not None or drop.opens_at <= await database_now(conn)
    return Followable(Topic(TopicKind.DROP, drop.slug, drop.title, f"/drops/{drop.slug}"), here)


async def _product(conn: Connection, key: str, *, currency: str) -> Followable | None:
    """A product, or one of its variants: `SLUG`, `SLUG:SKU`."""
    slug, _colon, sku = key.partition(":")
    offer = await find_offer(conn, slug=slug, currency=currency)
    wanted = [each for each in offer.variants if sku in ("", each.variant.sku)] if offer else []
    if offer is None or not wanted or len(key) > MAX_KEY:
        return None
    here = any(each.left > 0 for each in wanted if each.drop is None)
    title = ", ".join(filter(None, (offer.product.title, options_text(wanted[0].variant.options) if sku else "")))
    return Followable(Topic(TopicKind.PRODUCT, key, title[:MAX_TITLE], f"/products/{slug}"), here)


async def _collection(conn: Connection, slug: str) -> Followable | None:
    title = next((each.title for each in await catalog.list_collections(conn) if each.slug == slug), None)
    if title is None:
        return None
    return Followable(Topic(TopicKind.COLLECTION, slug, title, f"/collections/{slug}"), here=False)

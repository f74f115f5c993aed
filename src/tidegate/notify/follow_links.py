"""Mailed links of followers: the one that confirms a follow, and the one in each message that ends it.

A confirming link carries, sealed, what it confirms; nothing is kept of an address until it is used. An ending link is
signed, names topic and address by their ids, and works for ever.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import structlog

from tidegate.notify.addresses import check_address, fingerprint
from tidegate.notify.contracts import Asked, FollowLinkOver, Topic, TopicKind
from tidegate.platform.attempts import buckets_of, open_attempts
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.problems import NotFound
from tidegate.platform.sealing import SealBroken, current_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

log = structlog.get_logger(__name__)

CONFIRM: Final = "notify.follow_links.confirm"
END: Final = "notify.follow_links.end"
ASKED_TOPIC: Final = "follow.asked"
CONFIRM_PAGE: Final = "/follow/confirm"
UNSUBSCRIBE_PAGE: Final = "/unsubscribe"
PREFERENCES_PAGE: Final = "/preferences"
"""Takes the same token: whoever may end one follow of an address may choose for it."""

MAX_TOKEN: Final = 2_000
"""Longest token that is looked at."""
MAC_BYTES: Final = 16
NETWORK_FACTOR: Final = 10
"""How many addresses' worth of requests one network has: an office, a school."""


async def count_request(settings: Settings, *, email: str, network: str) -> None:
    """Count a request for a confirming link, per address and per network of the visitor (empty: unknown).

    Fails open: mails are sent by workers at their own pace. Raises: InvalidRequest for what is no e-mail address;
    TooManyRequests.
    """
    check_address(email)
    limits = settings.follows
    most = limits.requests
    buckets = buckets_of("follow", who=email, address=network, most=most, most_per_network=most * NETWORK_FACTOR)

    def words(seconds: int) -> str:
        return _(
            "Too many mails were asked for. Look into your mailbox, or try again in %(minutes)s minutes.",
            minutes=-(-seconds // 60),
        )

    async with open_attempts(settings) as attempts:
        await attempts.count(buckets, window_s=limits.window_s, words=words)


async def mail_confirmation(
    conn: Connection, settings: Settings, *, topic: Topic, email: str, locale: str, now: datetime
) -> None:
    """Have the link mailed that confirms a follow, to an address known or not, in the caller's transaction."""
    until = now + timedelta(hours=settings.follows.link_hours)
    token = _encoded(
        current_sealer().seal(
            "\n".join((str(int(until.timestamp())), topic.kind, topic.key, locale, email)), column=CONFIRM
        )
    )
    link = f"{settings.base_url}{CONFIRM_PAGE}?{urlencode({'token': token})}"
    payload = {
        "kind": topic.kind.value,
        "title": topic.title,
        "hours": settings.follows.link_hours,
        "locale": locale,
    }
    await write_events(conn, [Event(EventId(new_id()), ASKED_TOPIC, payload, {"email": email, "link": link})])


def read_confirmation(token: str, *, now: datetime) -> Asked:
    """What a confirming link says. Raises: FollowLinkOver."""
    over = FollowLinkOver(_("This link is too old or was cut off on its way. Ask to be told once more."))
    try:
        text = current_sealer().open(_decoded(token), column=CONFIRM)
    except SealBroken:
        raise over from None
    until, kind, key, locale, email = text.split("\n", 4)
    if int(until) < now.timestamp():
        raise over
    return Asked(email, TopicKind(kind), key, locale)


def unsubscribe_link(base_url: str, *, topic_id: UUID, email: str, application_id: UUID | None = None) -> str:
    """The link that ends an address's follow of a topic, which may be an application's."""
    signed = topic_id.bytes + fingerprint(email, application_id=application_id)
    return f"{base_url}{UNSUBSCRIBE_PAGE}?token={_encoded(signed + _mac(signed))}"


def read_unsubscribe(token: str) -> tuple[UUID, bytes]:
    """The topic and the address's fingerprint of an ending link. Raises: NotFound."""
    raw = _decoded(token)
    signed, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    if len(raw) != 16 + 32 + MAC_BYTES or not hmac.compare_digest(mac, _mac(signed)):
        raise NotFound()
    return UUID(bytes=signed[:16]), signed[16:]


def _mac(signed: bytes) -> bytes:
    return current_sealer().fingerprint(signed.hex(), column=END)[:MAC_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    """The bytes of a token; empty for what is none."""
    if len(token) > MAX_TOKEN:
        return b""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""

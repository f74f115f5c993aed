"""Handing claimed mails to the mail server, a few at once.

Before a handful is handed over it is noted that it will be, under the ids that the mails carry; after it, what came of
it. So whoever takes over from a worker that died knows which mails may have gone out already: no more than there were
connections. Those are sent again under the same Message-ID and counted as doubtful; SMTP allows no better.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from tidegate.notify.addresses import ADDRESS
from tidegate.notify.contracts import MessageUnfit
from tidegate.notify.follow_links import PREFERENCES_PAGE, UNSUBSCRIBE_PAGE, unsubscribe_link
from tidegate.notify.mail import Mail, MailRefused, MailServer, MailServerAway, message_id
from tidegate.notify.message_texts import Texts, current_texts
from tidegate.notify.messages import MessageContext, Words, write_mail
from tidegate.notify.outcomes import Delivery, Draw, Failure, columns_of, mark_failed, mark_sent
from tidegate.notify.pacing import Breather
from tidegate.notify.rules import BadAddress, display_name
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

SECRETS: Final = ("link", "address", "billing")
"""What a mail says besides its variables and an inbox does not: it is kept with the recipient's address."""

NO_TIME = "no time left"


async def deliver_mails(
    database: Database,
    settings: Settings,
    draw: Draw,
    deliveries: Sequence[Delivery],
    *,
    within_s: float,
    breather: Breather | None = None,
) -> None:
    """Send claimed mails for up to `within_s` seconds; what is left then is due again at once.

    A server that cannot be reached ends it, and costs no message an attempt. A mail that somebody withdrew or whose
    send was paused since it was claimed is not sent.
    """
    if not deliveries:
        return
    give_up_at = time.monotonic() + within_s
    writer = Writer(settings, await current_texts(database, settings))
    waiting = list(deliveries)
    away: MailServerAway | None = None
    async with AsyncExitStack() as stack:
        count = min(settings.mail.connections, len(deliveries))
        servers = [await stack.enter_async_context(MailServer(settings.mail)) for _ in range(count)]
        while waiting and away is None and (time.monotonic() < give_up_at or len(waiting) == len(deliveries)):
            some, waiting = waiting[:count], waiting[count:]
            async with database.connection() as conn:
                begun = await _begin(conn, settings, some)
            stopped = [each for each in some if each.key not in begun]
            results = await asyncio.gather(
                *(
                    _send(server, each, writer)
                    for server, each in zip(servers, (each for each in some if each.key in begun), strict=False)
                )
            )
            sent = [(each, result) for each, result in results if isinstance(result, str)]
            failed = [(each, result) for each, result in results if isinstance(result, Failure)]
            async with database.connection() as conn:
                await mark_sent(conn, [each for each, _ in sent], provider_ids=[result for _, result in sent])
            await mark_failed(database, settings, draw, failed)
            await _give_back(database, settings, draw, stopped, Failure("stopped", counts=False, pause_s=0))
            for each, result in results:
                if isinstance(result, MailServerAway):
                    away = result
                    waiting.append(each)
            if breather is not None:
                await breather.nap()
    reason = (
        Failure(NO_TIME, counts=False, pause_s=0)
        if away is None
        else Failure(f"mail server away: {away}", counts=False)
    )
    await _give_back(database, settings, draw, waiting, reason)


async def _give_back(
    database: Database, settings: Settings, draw: Draw, deliveries: Sequence[Delivery], why: Failure
) -> None:
    await mark_failed(database, settings, draw, [(each, why) for each in deliveries])


async def _begin(conn: Connection, settings: Settings, deliveries: Sequence[Delivery]) -> set[tuple[UUID, UUID, str]]:
    """Note that these are about to be handed over; the keys of those that still may be."""
    ids = [message_id(_key(each), settings.mail.sender) for each in deliveries]
    rows = await conn.execute(
        """
        UPDATE notify.deliveries d SET provider_id = begun.provider_id
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
            AS begun (event_id, recipient_id, channel, provider_id)
        WHERE (d.event_id, d.recipient_id, d.channel) = (begun.event_id, begun.recipient_id, begun.channel)
            AND d.state = 'pending' AND NOT EXISTS (
                SELECT FROM notify.send_shards AS h JOIN notify.sends AS s USING (event_id, topic_id)
                WHERE h.event_id = d.event_id AND h.shard_no = d.shard_no
                    AND (s.paused_at IS NOT NULL OR s.cancelled_at IS NOT NULL)
            )
        RETURNING d.event_id, d.recipient_id, d.channel
        """,
        (*columns_of(deliveries), ids),
    )
    return {(row[0], row[1], row[2]) for row in await rows.fetchall()}


async def _send(
    server: MailServer, delivery: Delivery, writer: Writer
) -> tuple[Delivery, str | Failure | MailServerAway]:
    """The Message-ID, or what went wrong: one broken message must not hold up the others."""
    try:
        return delivery, await server.send(writer.mail(delivery))
    except MailServerAway as error:
        return delivery, error
    except (BadAddress, MessageUnfit) as error:
        return delivery, Failure(str(error), final=True)
    except MailRefused as error:
        return delivery, Failure(error.reason, final=error.final, doubtful=error.doubtful)
    except Exception as error:
        return delivery, Failure(describe_error(error))


LINK_TO_COME: Final = "link.to.come"
"""Stands in a mail's words for the token of each recipient's own link."""


class Writer:
    """Writes the mails of a batch: what the recipients of a send share is rendered once."""

    def __init__(self, settings: Settings, texts: Texts) -> None:
        self._settings = settings
        self._texts = texts
        self._shared: dict[tuple[UUID, str, str], Words] = {}

    def mail(self, delivery: Delivery) -> Mail:
        """The mail that a delivery is."""
        address = current_sealer().open_json(bytes(delivery.address_sealed or b""), column=ADDRESS)
        name = display_name(address["name"])
        unsubscribe = ""
        if "topic_id" in delivery.variables:
            whose = delivery.variables.get("application")
            unsubscribe = unsubscribe_link(
                self._settings.base_url,
                topic_id=UUID(delivery.variables["topic_id"]),
                email=address["email"],
                application_id=None if whose is None else UUID(whose),
            )
            words = self._shared_words(delivery, unsubscribe)
        else:
            words = self._words(delivery, name, {secret: address[secret] for secret in SECRETS if secret in address})
        return Mail(
            key=_key(delivery),
            email=address["email"],
            name=name,
            words=words,
            written_at=delivery.created_at,
            unsubscribe_url=unsubscribe,
        )

    def _shared_words(self, delivery: Delivery, unsubscribe: str) -> Words:
        """The same for all of a language, whose names stand before their addresses only."""
        page, token = unsubscribe.rsplit("=", 1)
        key = (delivery.event_id, delivery.variables["topic_id"], str(delivery.variables.get("locale")))
        words = self._shared.get(key)
        if words is None:
            links = {
                "unsubscribe_url": f"{page}={LINK_TO_COME}",
                "preferences_url": f"{page.replace(UNSUBSCRIBE_PAGE, PREFERENCES_PAGE)}={LINK_TO_COME}",
            }
            words = self._words(delivery, "", links)
            self._shared[key] = words
        return replace(
            words, text=words.text.replace(LINK_TO_COME, token), html=words.html.replace(LINK_TO_COME, token)
        )

    def _words(self, delivery: Delivery, name: str, own: dict[str, Any]) -> Words:
        context = message_context(self._settings, delivery, self._texts)
        return write_mail(delivery.template, delivery.variables | own, name=name, context=context)


def message_context(settings: Settings, delivery: Delivery, texts: Texts) -> MessageContext:
    """In the locale that the message's variable `locale` names, if the shop offers it; else in the shop's own."""
    wanted = str(delivery.variables.get("locale"))
    locale = wanted if wanted in settings.locales else settings.locale
    return MessageContext(shop_name=settings.shop_name, locale=locale, texts=texts)


def _key(delivery: Delivery) -> str:
    return f"{delivery.event_id.hex}.{delivery.recipient_id.hex}"

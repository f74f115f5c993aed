"""E-mail as a channel: deliveries become mails, which go to the mail server of the settings."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from tidegate.notify.addresses import ADDRESS
from tidegate.notify.contracts import Channel
from tidegate.notify.follow_links import PREFERENCES_PAGE, UNSUBSCRIBE_PAGE, unsubscribe_link
from tidegate.notify.mail import Mail, id_ending
from tidegate.notify.mail_connections import MailConnections
from tidegate.notify.message_texts import Texts
from tidegate.notify.messages import MessageContext, Words, write_mail
from tidegate.notify.outcomes import Delivery
from tidegate.notify.rules import BadAddress, display_name
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.settings_notify import MailSettings

SECRETS: Final = ("link", "address", "billing")
"""What a mail says besides its variables and an inbox does not: it is kept with the recipient's address."""

LINK_TO_COME: Final = "link.to.come"
"""Stands in a mail's words for the token of each recipient's own link."""


class MailWriter:
    """Writes the mails of a batch: what the recipients of a send share is rendered once."""

    def __init__(self, settings: Settings, texts: Texts) -> None:
        self._settings = settings
        self._texts = texts
        self._shared: dict[tuple[UUID, str, str], Words] = {}

    def write(self, delivery: Delivery) -> Mail:
        """The mail that a delivery is."""
        if not delivery.address_sealed:
            raise BadAddress("no address")
        address = current_sealer().open_json(bytes(delivery.address_sealed), column=ADDRESS)
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
        return write_mail(delivery.template, delivery.said | own, name=name, context=context)


def message_context(settings: Settings, delivery: Delivery, texts: Texts) -> MessageContext:
    """In the locale that the message's variable `locale` names, if the shop offers it; else in the shop's own."""
    wanted = str(delivery.variables.get("locale"))
    locale = wanted if wanted in settings.locales else settings.locale
    return MessageContext(shop_name=settings.shop_name, locale=locale, texts=texts)


def _key(delivery: Delivery) -> str:
    return f"{delivery.event_id.hex}.{delivery.recipient_id.hex}"


class MailAdapter:
    """The mail server in the settings."""

    channel = Channel.EMAIL.value

    def limits(self, settings: Settings) -> MailSettings:
        """Those of mail."""
        return settings.mail

    def quota_key(self, settings: Settings) -> bytes:
        """The bucket of a server and a sender: its name tells neither."""
        url = urlsplit(settings.mail.smtp_url)
        name = f"{url.username or ''}@{url.hostname}:{url.port} {settings.mail.sender}"
        return b"notify:quota:mail:" + hashlib.sha256(name.encode()).hexdigest()[:32].encode()

    def id_ending(self, settings: Settings) -> str:
        """The end of the sender's Message-IDs."""
        return id_ending(settings.mail.sender)

    def lines(self, settings: Settings) -> MailConnections:
        """Connections to the server."""
        return MailConnections(settings.mail)

    def writer(self, settings: Settings, texts: Texts) -> MailWriter:
        """A writer of mails."""
        return MailWriter(settings, texts)

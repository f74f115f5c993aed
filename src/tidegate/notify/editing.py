"""What staff do with the texts of messages: read one, try it, save it, bring the built-in one back."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.notify.contracts import MessageText
from tidegate.notify.message_kinds import KINDS, Kind
from tidegate.notify.message_texts import drop_text, find_text, keep_text, list_texts
from tidegate.notify.previews import Preview, as_kept, as_typed, try_text
from tidegate.platform.database import Connection
from tidegate.platform.problems import NotFound
from tidegate.platform.settings import Settings
from tidegate.platform.texts import language_of

OPENS_ACCOUNTS = "admin"
"""Who writes texts of mails that carry a secret link: whoever writes them could have the link sent elsewhere."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A message in one language: its kind, the locale that it is tried in, and what the merchant wrote."""

    kind: Kind
    locale: str
    text: MessageText

    @property
    def typed(self) -> MessageText:
        """It with the built-in text where the merchant wrote none."""
        return as_typed(self.kind, self.text, locale=self.locale)

    def preview(self, settings: Settings, *, text: MessageText | None = None) -> Preview:
        """How it, or another text of it, looks with example values. Raises: InvalidRequest."""
        return try_text(self.kind, text or self.text, shop_name=settings.shop_name, locale=self.locale)


def languages_of(settings: Settings) -> dict[str, str]:
    """The languages of the shop, its own first, each with the locale that its texts are tried in."""
    found: dict[str, str] = {}
    for locale in (settings.locale, *settings.locales):
        found.setdefault(language_of(locale), locale)
    return found


def kinds_for(role: str) -> list[Kind]:
    """The kinds of messages whose texts somebody of the staff may write."""
    return [kind for kind in KINDS.values() if role == OPENS_ACCOUNTS or not kind.secret]


async def list_edited(conn: Connection, settings: Settings, *, role: str) -> list[Edited]:
    """All messages in all languages of the shop: at most as many as there are of both."""
    written = await list_texts(conn)
    return [
        Edited(kind, locale, written.get((kind.name, language)) or MessageText(kind.name, language))
        for kind in kinds_for(role)
        for language, locale in languages_of(settings).items()
    ]


async def find_edited(conn: Connection, settings: Settings, *, template: str, language: str, role: str) -> Edited:
    """One message in one language. Raises: NotFound, also where its texts are not for this role."""
    kind, locale = KINDS.get(template), languages_of(settings).get(language)
    if kind is None or locale is None or kind not in kinds_for(role):
        raise NotFound()
    return Edited(kind, locale, await find_text(conn, template=template, language=language))


async def save_text(conn: Connection, settings: Settings, edited: Edited, text: MessageText) -> MessageText:
    """Keep a typed text over its revision, in the caller's transaction. Raises: InvalidRequest, TextChanged."""
    kept = as_kept(edited.kind, text, locale=edited.locale)
    edited.preview(settings, text=kept)
    return await keep_text(conn, kept)


async def bring_built_in_back(conn: Connection, edited: Edited) -> None:
    """Remove what the merchant wrote, in the caller's transaction; it may be gone already."""
    await drop_text(conn, template=edited.kind.name, language=edited.text.language)

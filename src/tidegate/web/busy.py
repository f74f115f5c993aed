"""The page of a shop that is too full to answer: small, and written before anybody needs it."""

from __future__ import annotations

import re
from functools import partial

from tidegate.platform.edge.refusals import BusyPages
from tidegate.platform.settings import Settings
from tidegate.web.error_pages import CALM_WORDS
from tidegate.web.locales import LOCALE_COOKIE, MAX_ACCEPT_CHARACTERS, best_locale, offered_locales
from tidegate.web.rendering import environment

CHOSEN = re.compile(rb"(?:^|;\s*)%b=([a-z]{2,3}(?:_[A-Z]{2})?)(?:;|$)" % LOCALE_COOKIE.encode())


def busy_pages(settings: Settings) -> BusyPages:
    """The pages in all languages of the shop."""
    offered = offered_locales(settings)
    return BusyPages(
        locale_of=partial(_locale_of, offered), make=partial(_busy_page, settings.shop_name), locales=offered
    )


def _locale_of(offered: tuple[str, ...], cookie: bytes, accept_language: bytes) -> str:
    """As `request_locale` chooses it."""
    found = CHOSEN.search(cookie) if cookie else None
    chosen = found[1].decode() if found else ""
    if chosen in offered:
        return chosen
    return best_locale(accept_language[:MAX_ACCEPT_CHARACTERS].decode("latin-1"), offered)


def _busy_page(shop_name: str, locale: str, wait_s: int, may_ask_again: bool) -> bytes:
    title, text = CALM_WORDS["overloaded"]
    page = environment(locale).get_template("web/busy.html")
    return page.render(
        shop_name=shop_name,
        lang=locale.replace("_", "-"),
        title=title,
        text=text,
        wait_s=wait_s,
        may_ask_again=may_ask_again,
    ).encode()

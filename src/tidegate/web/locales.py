"""In which language a request is answered: chosen in the footer, else asked for by the browser, else the shop's own."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from babel import Locale
from babel.core import get_locale_identifier, negotiate_locale, parse_locale
from starlette.requests import Request

from tidegate.platform.settings import Settings

LOCALE_COOKIE: Final = "tidegate_locale"
LOCALE_KEY = "tidegate.locale"
MAX_ACCEPT_CHARACTERS: Final = 200
"""How much of Accept-Language is read."""


def request_locale(request: Request) -> str:
    """The locale of the answer, one of `offered_locales`. What is cached by address must be kept apart by it."""
    if LOCALE_KEY not in request.scope:
        settings: Settings = request.app.state.settings
        offered = offered_locales(settings)
        chosen = request.cookies.get(LOCALE_COOKIE, "")
        asked = request.headers.get("accept-language", "")[:MAX_ACCEPT_CHARACTERS]
        request.scope[LOCALE_KEY] = chosen if chosen in offered else best_locale(asked, offered)
    locale: str = request.scope[LOCALE_KEY]
    return locale


def offered_locales(settings: Settings) -> tuple[str, ...]:
    """The locales of this shop, its own first."""
    return (settings.locale, *(each for each in settings.locales if each != settings.locale))


@lru_cache(maxsize=256)
def best_locale(asked: str, offered: tuple[str, ...]) -> str:
    """The offered locale that Accept-Language (RFC 9110, 12.5.4) prefers; the first one when it names none of them.

    A language alone, or with another country, is met by the offered locale of that language.
    """
    for tag in _by_preference(asked):
        wanted = tag.replace("-", "_")
        exact = negotiate_locale([wanted], list(offered), sep="_")
        language = wanted.partition("_")[0].lower()
        same = [exact] if exact in offered else [each for each in offered if each.partition("_")[0] == language]
        if same:
            return str(same[0])
    return offered[0]


@lru_cache(maxsize=64)
def language_choices(offered: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """Locale, BCP 47 tag and name in its own language, of every offered locale."""
    return tuple((each, each.replace("_", "-"), _own_name(each)) for each in offered)


def _own_name(locale: str) -> str:
    language = get_locale_identifier((parse_locale(locale)[0], None, None, None))
    return (Locale.parse(locale).get_language_name() or language).capitalize() if language else locale


def _by_preference(asked: str) -> list[str]:
    weighed: list[tuple[float, int, str]] = []
    for place, part in enumerate(asked.split(",")):
        tag, _, parameter = part.strip().partition(";")
        _, _, number = parameter.partition("=")
        try:
            weight = float(number) if number else 1.0
        except ValueError:
            continue
        if tag and weight > 0:
            weighed.append((-weight, place, tag.strip()))
    return [tag for _, _, tag in sorted(weighed)]

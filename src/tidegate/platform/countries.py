"""Countries by name, in the language of a locale (CLDR, through Babel)."""

from __future__ import annotations

from functools import lru_cache

from babel import Locale

NOT_LANDS = frozenset({"EU", "EZ", "UN", "XA", "XB", "ZZ", "QO"})
"""Two-letter codes of the CLDR that are no country."""


@lru_cache(maxsize=8)
def countries(locale: str) -> tuple[tuple[str, str], ...]:
    """Countries with their codes (ISO 3166-1 alpha-2), by name."""
    names = Locale.parse(locale).territories
    real = ((code, name) for code, name in names.items() if len(code) == 2 and code.isalpha() and code not in NOT_LANDS)
    return tuple(sorted(real, key=lambda pair: pair[1]))


def country_name(code: str, locale: str) -> str:
    """What people call a country; a code that is none stays as it is."""
    return str(Locale.parse(locale).territories.get(code, code))

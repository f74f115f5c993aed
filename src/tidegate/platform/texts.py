"""Texts for people, in their language: marked where they are written, translated where they are shown.

`from tidegate.platform.texts import text as _` marks a text in Python: `_("Only %(left)s left", left=3)` is a str in
English (for programs, logs and problem details) that remembers its source. Templates show it in the reader's language
by themselves; elsewhere `translated(value, locale)` does. Nothing is kept per process or task but the catalogues,
which do not change.
"""

from __future__ import annotations

import gettext
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALES_FOLDER = Path(__file__).parent.parent / "web" / "locale"
DOMAIN = "tidegate"
SOURCE_LANGUAGE = "en"


class Text(str):
    """A text in English that can be shown in another language."""

    __slots__ = ("number", "plural_source", "source", "values")

    source: str
    plural_source: str
    number: int
    values: dict[str, Any]

    def in_locale(self, locale: str) -> str:
        """The text in a locale such as `de_DE`; in English where no catalogue has it."""
        catalogue = catalogue_of(locale)
        if self.plural_source:
            found = catalogue.ngettext(self.source, self.plural_source, self.number)
        else:
            found = catalogue.gettext(self.source)
        return _filled(found, {name: translated(value, locale) for name, value in self.values.items()})


def text(source: str, /, **values: Any) -> Text:
    """A text whose `%(name)s` are filled from `values`; a value may be a Text itself."""
    return _make(source, "", 1, values)


def plural(source: str, plural_source: str, num: int, /, **values: Any) -> Text:
    """A text that depends on a number, which is `%(num)s` in it unless `values` say it in another form."""
    return _make(source, plural_source, num, {"num": num} | values)


def translated(value: Any, locale: str) -> Any:
    """A Text in the locale; anything else as it is."""
    return value.in_locale(locale) if isinstance(value, Text) else value


@lru_cache(maxsize=64)
def catalogue_of(locale: str) -> gettext.NullTranslations:
    """The texts of a locale, or of its language; English, which the sources are in, where there are none."""
    for name in (locale, language_of(locale)):
        path = LOCALES_FOLDER / name / "LC_MESSAGES" / f"{DOMAIN}.po"
        if path.is_file():
            return _compiled(path)
    return gettext.NullTranslations()


def has_texts(locale: str) -> bool:
    """Whether the program speaks the language of a locale."""
    return language_of(locale) == SOURCE_LANGUAGE or isinstance(catalogue_of(locale), gettext.GNUTranslations)


def language_of(locale: str) -> str:
    """The language of a locale: `de` of `de_DE`."""
    return locale.partition("_")[0]


def _compiled(path: Path) -> gettext.GNUTranslations:
    """Compiled in memory at first use, so that no compiled file can be older than its source."""
    compiled = BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source, domain=DOMAIN))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _make(source: str, plural_source: str, number: int, values: dict[str, Any]) -> Text:
    chosen = plural_source if plural_source and number != 1 else source
    made = Text(_filled(chosen, values))
    made.source, made.plural_source, made.number, made.values = source, plural_source, number, values
    return made


def _filled(found: str, values: dict[str, Any]) -> str:
    return found % values if values else found

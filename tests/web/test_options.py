"""Lists to choose from: one is chosen, and nothing that was typed becomes markup."""

from __future__ import annotations

from tidegate.platform.countries import countries
from tidegate.platform.texts import text as _
from tidegate.web.rendering import environment

TEMPLATE = "{{ choices | options(value) }}"


def written(choices: object, value: object, *, locale: str = "en_GB") -> str:
    return environment(locale).from_string(TEMPLATE).render(choices=choices, value=value)


def test_one_is_chosen_and_texts_are_escaped() -> None:
    choices = (("", "Any"), ('a"b', "x < y"), ("c", "d"))
    shown = '<option value="">Any</option>\n<option value="a&#34;b">x &lt; y</option>\n<option value="c">d</option>'
    assert written(choices, "other") == shown
    assert written(choices, 'a"b') == shown.replace('"a&#34;b"', '"a&#34;b" selected')
    assert written(list(choices), "") == shown.replace('value=""', 'value="" selected')
    assert written((), "c") == ""


def test_countries_are_the_same_when_they_are_written_again() -> None:
    for value, chosen in (("GB", "GB"), ("DE", "DE"), ('"><script>', None), ("", None), ("GB", "GB")):
        for locale, name in (("en_GB", "Germany"), ("de_DE", "Deutschland")):
            shown = written(countries(locale), value, locale=locale)
            assert shown == written(list(countries(locale)), value, locale=locale)
            assert f">{name}</option>" in shown
            assert "script" not in shown
            assert shown.count(" selected>") == (chosen is not None)
            assert chosen is None or f'<option value="{chosen}" selected>' in shown


def test_texts_are_in_the_language_of_the_page() -> None:
    assert written([("x", _("Checkout"))], "x", locale="de_DE") == '<option value="x" selected>Kasse</option>'

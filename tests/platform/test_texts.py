"""Texts that Python says to people."""

from __future__ import annotations

from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import plural, text, translated


def test_a_text_is_english_to_programs_and_german_to_germans() -> None:
    said = text("Only %(left)s left", left=3)
    assert said == "Only 3 left"
    assert translated(said, "de_AT") == "Nur noch 3 übrig"
    assert translated(said, "fr_FR") == "Only 3 left"
    assert b'"detail":"Only 3 left"' in InvalidRequest(said).encoded()


def test_a_text_within_a_text_is_translated_too() -> None:
    assert translated(text("Only %(left)s left", left=text("Name")), "de") == "Nur noch Name übrig"


def test_plurals_follow_the_number() -> None:
    pair = ("%(num)s order", "%(num)s orders")
    assert [plural(*pair, 1), plural(*pair, 2)] == ["1 order", "2 orders"]
    assert [translated(plural(*pair, num), "de_DE") for num in (1, 2)] == ["1 Bestellung", "2 Bestellungen"]


def test_percent_signs_without_values_stay() -> None:
    assert text("100 % yours") == "100 % yours"

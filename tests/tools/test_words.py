"""Every text that a person reads is in every catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from tools.words import LOCALES, collected, faults, updated

CATALOGUES = sorted(LOCALES.glob("*/LC_MESSAGES/tidegate.po"))


def test_catalogues_are_fresh_and_whole() -> None:
    assert CATALOGUES
    template = collected()
    for path in CATALOGUES:
        catalogue, written = updated(path, template)
        assert written == path.read_bytes(), f"{path.parent.parent.name} is stale: run `make words`"
        assert faults(catalogue) == []


def test_a_removed_text_leaves_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "de" / "LC_MESSAGES" / "tidegate.po"
    path.parent.mkdir(parents=True)
    path.write_text('msgid ""\nmsgstr ""\n\nmsgid "Old"\nmsgstr "Alt"\n', encoding="utf-8")
    template = Catalog()
    template.add("New")
    catalogue, written = updated(path, template)
    assert b"Old" not in written
    assert faults(catalogue) == ["untranslated: 'New'"]


@pytest.mark.parametrize(
    ("source", "target", "right"),
    [
        ("%(left)s left", "%(left)s übrig", True),
        ("%(left)s left", "noch %(lefts)s", False),
        ("%(left)s left", "einige übrig", False),
        (("%(num)s day", "%(num)s days"), ("ein Tag", "%(num)s Tage"), True),
        (("%(num)s day", "%(num)s days"), ("%(num)s Tag", "Tage"), False),
    ],
)
def test_placeholders_must_fit(source: str | tuple[str, str], target: str | tuple[str, str], right: bool) -> None:
    catalogue = Catalog(locale="de")
    catalogue.add(source, target)
    assert (faults(catalogue) == []) is right

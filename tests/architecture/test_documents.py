"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)")


def broken(document: Path) -> list[str]:
    """Links to files that are not there."""
    text = re.sub(r"`[^`]*`", "", document.read_text())
    return [link for link in LINK.findall(text) if "://" not in link and not (document.parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_every_decision_is_listed() -> None:
    listed = set(LINK.findall((ROOT / "docs" / "adr" / "README.md").read_text()))
    assert listed == {file.name for file in (ROOT / "docs" / "adr").glob("0*.md")}


def test_every_document_is_found_from_the_first_page() -> None:
    docs = ROOT / "docs"
    linked = {(docs / link).resolve() for link in LINK.findall((docs / "README.md").read_text())}
    # Decisions are listed by their own page, which the test above sees to.
    written = {file for file in docs.rglob("*.md") if file.parent.name != "adr" or file.name == "README.md"}
    assert sorted(map(str, written - linked - {docs / "README.md"})) == [], "link it from docs/README.md"


def test_it_fires_on_a_broken_link(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("[a](a.md) [b](b.md#part) ![c](c.png) [d](https://d.example) `[e](e.md)`")
    assert broken(tmp_path / "a.md") == ["b.md", "c.png"]

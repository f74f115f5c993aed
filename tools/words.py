"""Collect every marked text into the catalogues (`make words`), and say what is left to translate.

`--check` changes nothing and fails when a catalogue is stale, incomplete or would break a page.
"""

from __future__ import annotations

import re
import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "tidegate"
LOCALES = SOURCES / "web" / "locale"
METHODS = [("**/templates/**", "jinja2"), ("**.py", "python")]
OPTIONS = {"**/templates/**": {"encoding": "utf-8", "silent": "false"}}
KEYWORDS: dict[str, tuple[int, ...] | None] = {"_": None, "ngettext": (1, 2), "plural": (1, 2)}
PLACEHOLDER = re.compile(r"%\((\w+)\)[sd]")
WIDTH = 120
HEADERS_LEFT_OUT = re.compile(
    rb'^"(Project-Id-Version|Report-Msgid-Bugs-To|POT-Creation-Date|PO-Revision-Date|Last-Translator|Language-Team|'
    rb"Generated-By): .*\n",
    re.MULTILINE,
)
"""What changes with every run, or says nothing."""


def collected() -> Catalog:
    """All marked texts, with the files that they stand in; without lines, which would change with every edit."""
    found = Catalog(domain="tidegate", project="Tidegate", fuzzy=False)
    texts = extract_from_dir(SOURCES, METHODS, OPTIONS, keywords=KEYWORDS)
    for file, _, source, comments, context in sorted(texts, key=lambda each: each[0]):
        found.add(source, locations=[(f"src/tidegate/{file}", 0)], auto_comments=comments, context=context)
    return found


def updated(path: Path, template: Catalog) -> tuple[Catalog, bytes]:
    """The catalogue with exactly the texts of `template`, and the file that it makes."""
    with path.open("rb") as source:
        catalogue = read_po(source, locale=path.parent.parent.name, domain="tidegate")
    catalogue.update(template, no_fuzzy_matching=True, update_header_comment=False)
    catalogue.obsolete.clear()
    written = BytesIO()
    write_po(written, catalogue, width=WIDTH, sort_output=True, include_lineno=False, ignore_obsolete=True)
    return catalogue, HEADERS_LEFT_OUT.sub(b"", written.getvalue())


def faults(catalogue: Catalog) -> list[str]:
    """What is untranslated, doubtful, or has other placeholders than its source."""
    return [f"{fault}: {message.id!r}" for message in catalogue if message.id for fault in _faults(message)]


def _faults(message: Message) -> list[str]:
    sources = _forms(message.id)
    targets = _forms(message.string)
    if not all(targets):
        return ["untranslated"]
    wrong = ["fuzzy"] if message.fuzzy else []
    wanted = set(PLACEHOLDER.findall(sources[-1]))
    if any(not _names(target) <= wanted for target in targets) or _names(targets[-1]) != wanted:
        wrong.append("other placeholders")
    return wrong


def _forms(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (text or "",) if isinstance(text, str | None) else tuple(text)


def _names(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


def main(arguments: list[str]) -> int:
    """Update or check every catalogue. Exit code 1 when something is left to do."""
    checking = "--check" in arguments
    template = collected()
    wrong: list[str] = []
    for path in sorted(LOCALES.glob("*/LC_MESSAGES/tidegate.po")):
        name = path.parent.parent.name
        catalogue, written = updated(path, template)
        if written != path.read_bytes():
            if checking:
                wrong.append(f"{name}: stale, run `make words`")
            else:
                path.write_bytes(written)
        wrong += [f"{name}: {fault}" for fault in faults(catalogue)]
    print("\n".join(wrong) or "All texts are translated.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

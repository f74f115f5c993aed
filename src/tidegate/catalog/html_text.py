"""Plain text as HTML, such that `plain_text` gives the text back."""

from __future__ import annotations

from html import escape

from tidegate.catalog.plain_text import BULLET


def html_text(text: str) -> str:
    """Paragraphs for what blank lines part, a list where all lines of a paragraph begin with a bullet."""
    return "".join(_paragraph(part.split("\n")) for part in text.split("\n\n") if part.strip())


def _paragraph(lines: list[str]) -> str:
    if all(line.startswith(BULLET) and line.removeprefix(BULLET).strip() for line in lines):
        return "<ul>" + "".join(f"<li>{_escaped(line.removeprefix(BULLET))}</li>" for line in lines) + "</ul>"
    return f"<p>{'<br>'.join(_escaped(line) for line in lines)}</p>"


def _escaped(line: str) -> str:
    return escape(line, quote=False)

"""HTML as plain text. What comes out is text and is escaped like any other when it is shown."""

from __future__ import annotations

import re
from html import unescape
from string import ascii_lowercase, ascii_uppercase

from tidegate.catalog.rules import clean_text

BULLET = "\N{BULLET} "

_TAG = re.compile(r"""</?([a-zA-Z][a-zA-Z0-9:-]*)(?:[^>"']|"[^"]*"|'[^']*')*+>""")
_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9:-]*)")
_TAG_WINDOW = 2048
"""Characters within which a tag with quoted attributes ends; longer ones end at their first `>`."""
_PARAGRAPHS = frozenset(
    ("p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "section", "article", "blockquote")
).union(("header", "footer", "pre", "figure", "hr"))
_LINES = frozenset(("br", "tr", "dt", "dd", "li"))
_ASCII_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_UNSEEN = frozenset(
    ("script", "style", "template", "title", "textarea", "select", "svg", "math", "iframe", "object", "noscript")
)


def plain_text(html: str) -> str:
    """The text of an HTML fragment: a blank line between paragraphs, a bullet before list items.

    Not html.parser: up to Python 3.11.13 it needs minutes for some 100 kB cells, as it looks through the rest of
    the text from every unclosed tag. This takes time in proportion to the text, and fetches and runs nothing.
    """
    pieces: list[str] = []
    lowered = html.translate(_ASCII_LOWER)
    at = 0
    while at < len(html):
        start = html.find("<", at)
        if start < 0:
            break
        pieces.append(_words(html[at:start]))
        end, name, closing = _tag(html, start)
        if end < 0:
            at = start
            break
        if name in _UNSEEN and not closing:
            end = _skip_to(lowered, f"</{name}", end)
        pieces.append("<" if end == start + 1 else _break_for(name, closing))
        at = end
    pieces.append(_words(html[at:]))
    return _tidy("".join(pieces))


def _tag(html: str, start: int) -> tuple[int, str, bool]:
    """(end, name, closing) of what begins with the `<` at `start`; end -1: the rest holds no tag at all."""
    if html.startswith("<!--", start):
        return _skip_to(html, "-->", start + 4), "", False
    after = html[start + 1 : start + 2]
    name = _NAME.match(html, start + 1)
    if name is None and after not in ("!", "?", "/"):
        return start + 1, "", False
    whole = _TAG.match(html, start, start + _TAG_WINDOW)
    end = whole.end() if whole else html.find(">", start) + 1 or -1
    return end, name[1].lower() if name else "", after == "/"


def _skip_to(text: str, mark: str, at: int) -> int:
    """Where the mark's tag ends, or the end of the text."""
    found = text.find(mark, at)
    if found < 0:
        return len(text)
    close = text.find(">", found)
    return len(text) if close < 0 else close + 1


def _break_for(name: str, closing: bool) -> str:
    if name == "li" and not closing:
        return "\n" + BULLET
    if name in _PARAGRAPHS:
        return "\n\n"
    if name in ("td", "th"):
        return " "
    return "\n" if name in _LINES else ""


def _words(text: str) -> str:
    """Text between tags: character references resolved, white space as in HTML."""
    resolved = unescape(text)
    return (" " if resolved[:1].isspace() else "") + clean_text(resolved) + (" " if resolved[-1:].isspace() else "")


def _tidy(text: str) -> str:
    """No space at the ends of lines, bullets beside their text, at most one blank line."""
    mark = BULLET.strip()
    joined = re.sub(rf"^ *{mark}\s*(?=[^\s{mark}])", BULLET, text, flags=re.MULTILINE)
    lines = [" ".join(line.split()) for line in joined.split("\n")]
    tidy = "\n".join(line for line in lines if line != mark)
    together = re.sub(rf"^({mark}.*)\n{{2,}}(?={mark})", r"\1\n", tidy, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", together).strip()

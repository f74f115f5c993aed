"""Trying texts before anybody gets them: with example values, as they would look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate.notify.contracts import MessageText
from tidegate.notify.message_kinds import Kind
from tidegate.notify.message_texts import Texts
from tidegate.notify.messages import MessageContext, built_in, one_line, values_of
from tidegate.notify.own_texts import read_text
from tidegate.notify.starting_texts import starting_text
from tidegate.notify.text_checks import TextWrong
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_TEXT: Final = 16_000
"""Longest text, in characters; of a subject, 500."""
MAX_SUBJECT: Final = 500
MAX_LINE: Final = 200
"""Longest subject once it is written, in characters."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A message as it would look. `inbox` is empty for what is only mailed."""

    subject: str
    text: str
    html: str
    inbox: str


def preview(kind: Kind, texts: Texts, *, shop_name: str, locale: str) -> Preview:
    """The message with example values, as it is written now."""
    context = MessageContext(shop_name=shop_name, locale=locale, texts=texts)
    return _shown({part: _part(kind, part, kind.example, context) for part in kind.parts})


def _part(kind: Kind, part: str, example: Any, context: MessageContext) -> str:
    values = values_of(example, context)
    own = context.texts.render(kind, part, values, locale=context.locale)
    return built_in(kind, part, values, locale=context.locale) if own is None else own


def try_text(kind: Kind, text: MessageText, *, shop_name: str, locale: str) -> Preview:
    """The message with example values and this text.

    Raises: InvalidRequest, whose `errors` say what is wrong by part, and its `lines` where.
    """
    context = MessageContext(shop_name=shop_name, locale=locale)
    written: dict[str, str] = {}
    wrong: dict[str, str] = {}
    lines: dict[str, int] = {}
    for part in kind.parts:
        try:
            written[part] = _tried(kind, part, text.part(part), context)
        except TextWrong as error:
            wrong[part], lines[part] = _said(error), error.line
    if wrong:
        raise InvalidRequest(_("The text cannot be used like this. Nothing was saved."), errors=wrong, lines=lines)
    return _shown(written)


def _tried(kind: Kind, part: str, source: str, context: MessageContext) -> str:
    """The part with the first of its examples, once all have been tried. Raises: TextWrong."""
    most = MAX_SUBJECT if part == "subject" else MAX_TEXT
    if len(source) > most:
        raise TextWrong(_("Use at most %(most)s characters.", most=most))
    own = read_text(kind, part, source, locale=context.locale) if source else None
    made = []
    for example in kind.examples:
        values = values_of(example, context)
        made.append(built_in(kind, part, values, locale=context.locale) if own is None else own.render(values))
        _check_made(kind, part, made[-1], values)
    return made[0]


def _check_made(kind: Kind, part: str, made: str, values: Mapping[str, Any]) -> None:
    if not made.strip():
        raise TextWrong(_("The text is empty with the example values."))
    if part == "subject" and len(one_line(made)) > MAX_LINE:
        raise TextWrong(_("Use at most %(most)s characters.", most=MAX_LINE))
    if part in ("txt", "html"):
        for name in kind.must:
            if values[name] and str(values[name]) not in made:
                raise TextWrong(_("The mail must show %(name)s.", name=f"{{{{ {name} }}}}"))


def _said(wrong: TextWrong) -> str:
    return _("Line %(line)s: %(reason)s", line=wrong.line, reason=wrong.reason) if wrong.line else wrong.reason


def _shown(parts: Mapping[str, str]) -> Preview:
    return Preview(one_line(parts["subject"]), parts["txt"], parts["html"], parts.get("inbox", "").strip())


def as_typed(kind: Kind, text: MessageText, *, locale: str) -> MessageText:
    """A text with its empty parts filled with the built-in ones, to be edited."""
    return text.with_parts({part: text.part(part) or starting_text(kind.name, part, locale) for part in kind.parts})


def as_kept(kind: Kind, text: MessageText, *, locale: str) -> MessageText:
    """A typed text as it is kept: a part that is the built-in one is empty, so that it stays the built-in one."""
    kept = {part: text.part(part) for part in kind.parts}
    for part, typed in kept.items():
        if typed.strip() == starting_text(kind.name, part, locale).strip():
            kept[part] = ""
    return text.with_parts(dict.fromkeys(MessageText.PARTS, "") | kept)

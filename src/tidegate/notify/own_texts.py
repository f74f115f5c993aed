"""A merchant's own text as a template: read, checked, and run within bounds."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Template, TemplateError

from tidegate.notify.message_kinds import Kind
from tidegate.notify.sandbox import sandbox
from tidegate.notify.text_checks import TextWrong, check_tree, wrong_syntax
from tidegate.platform.texts import text as _

MAX_OUTPUT: Final = 200_000
"""Longest text that is made, in characters."""
MAX_RENDER_S: Final = 2.0
"""Longest time that making one may take: a bound behind the bounds of what a text may do."""

FILE: Final = "a merchant's text"
"""What own texts are called in tracebacks, by which their lines are found."""


@dataclass(frozen=True, slots=True)
class OwnText:
    """A text that may be used, for one part of one kind of message in one locale."""

    template: Template

    def render(self, values: Mapping[str, Any]) -> str:
        """The text with these values. Raises: TextWrong."""
        until_s, length, pieces = time.monotonic() + MAX_RENDER_S, 0, []
        try:
            for piece in self.template.generate(values):
                length += len(piece)
                if length > MAX_OUTPUT or time.monotonic() > until_s:
                    raise TextWrong(_("The text becomes too long."))
                pieces.append(piece)
        except TextWrong:
            raise
        except Exception as error:
            raise TextWrong(_reason(error), line=_line(error)) from error
        return "".join(pieces)


def read_text(kind: Kind, part: str, source: str, *, locale: str) -> OwnText:
    """An own text of a part (`subject`, `txt`, `html`, `inbox`), checked but not yet tried. Raises: TextWrong."""
    environment = sandbox(locale)
    name = f"{kind.name}.{part}"
    context = kind.mail if part in ("txt", "html") or kind.inbox is None else kind.inbox
    try:
        tree = environment.parse(source, name, FILE)
        check_tree(tree, context, environment)
        code = environment.compile(tree, name, FILE)
    except TextWrong:
        raise
    except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise wrong_syntax(error) from None
    return OwnText(environment.template_class.from_code(environment, code, environment.make_globals(None)))


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateError):
        return str(error.message or type(error).__name__)
    if isinstance(error, RecursionError | MemoryError):
        return _("This is too long or too deep to be read.")
    return f"{type(error).__name__}: {error}"


def _line(error: Exception) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == FILE), 0)

"""The built-in texts as merchants see them: in plain words of one language, to be changed."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from importlib.resources import files
from typing import Final

from tidegate.platform.texts import catalogue_of

CALL: Final = re.compile(r"\{\{ ((?:_|ngettext)\(.*?\)) \}\}")
VALUE: Final = re.compile(r"%\((\w+)\)s")


@lru_cache(maxsize=256)
def starting_text(template: str, part: str, locale: str) -> str:
    """The built-in text of a part, its translated texts written out: it renders to the same, to the letter.

    A subject is one line, without the end of the file's.
    """
    source = files("tidegate.notify").joinpath("templates", f"{template}.{part}").read_text(encoding="utf-8")
    return CALL.sub(lambda found: _written_out(found[1], locale), source.strip() if part == "subject" else source)


def _written_out(expression: str, locale: str) -> str:
    """`_("Order %(number)s", number=number)` as `Order {{ number }}`. What is called has the form of Python's calls."""
    call = ast.parse(expression, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    values = {word.arg: ast.get_source_segment(expression, word.value) or "" for word in call.keywords if word.arg}
    catalogue = catalogue_of(locale)
    if call.func.id == "_":
        return _filled(catalogue.gettext(_literal(call.args[0])), values)
    one, many = (catalogue.ngettext(_literal(call.args[0]), _literal(call.args[1]), number) for number in (1, 2))
    number = ast.get_source_segment(expression, call.args[2]) or ""
    values |= {"num": number}
    return f"{{% if {number} == 1 %}}{_filled(one, values)}{{% else %}}{_filled(many, values)}{{% endif %}}"


def _literal(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, str)
    return node.value


def _filled(text: str, values: dict[str, str]) -> str:
    return VALUE.sub(lambda found: f"{{{{ {values[found[1]]} }}}}", text).replace("%%", "%")

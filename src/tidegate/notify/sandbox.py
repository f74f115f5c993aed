"""Where the templates of messages run: Jinja2's sandbox, one for each language."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from jinja2 import PackageLoader, StrictUndefined, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tidegate.platform.texts import catalogue_of, translated

FRAMES: Final = ("account.html", "account.txt", "follow.html", "follow.txt", "frame.html", "order.html", "order.txt")
"""What texts may extend: all else in the folder of templates is a message's own, or a page of the shop."""


@lru_cache(maxsize=8)
def sandbox(locale: str) -> ImmutableSandboxedEnvironment:
    """The environment of templates in a locale's language. A variable that a context lacks is an error."""
    environment = ImmutableSandboxedEnvironment(
        loader=PackageLoader("tidegate.notify"),
        autoescape=select_autoescape(enabled_extensions=("html",), default=False),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        finalize=lambda value: "" if value is None else translated(value, locale),
    )
    environment.install_gettext_translations(catalogue_of(locale), newstyle=True)  # type: ignore[attr-defined]
    environment.filters["lines"] = _lines
    return environment


def _lines(text: str) -> list[str]:
    """The lines of a text."""
    return text.split("\n")

"""Pages that many see at once and that differ in a few words only: rendered once, and filled in for each.

A waiting room's page is asked for by everybody in the same minute. What is one visitor's own stands in a dataclass of
texts; the page is rendered with marks in their place, kept, and cut at the marks.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from markupsafe import escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from tidegate.web.forms import form_token
from tidegate.web.locales import request_locale
from tidegate.web.rendering import iso, page_response, render_text
from tidegate.web.session import known_role
from tidegate.web.unread import inboxes_left_alone

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Own = TypeVar("Own", bound=DataclassInstance)

MOST: Final = 100
"""Pages that a process keeps; the one that was not asked for the longest goes first."""

TOKEN, NOW, PATH = "form token", "the time", "the path"
"""Names that no field can have."""

_NONCE = secrets.token_hex(16)
_MARK = re.compile(f"own-{_NONCE}-([^-]+)-")


@dataclass(frozen=True, slots=True)
class Mould:
    """A page as texts, between which stand what `names` say."""

    texts: tuple[str, ...]
    names: tuple[str, ...]

    def filled(self, values: Mapping[str, str]) -> str:
        """The page with these values, as HTML."""
        parts = [self.texts[0]]
        for name, text in zip(self.names, self.texts[1:], strict=True):
            parts += (values[name], text)
        return "".join(parts)


Moulds = OrderedDict[Hashable, Mould]


def render_moulded(
    request: Request,
    template: str,
    *,
    same: Hashable,
    make: Callable[[Own], DataclassInstance],
    own: Own,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The page as a response, like `render`.

    `own` are texts that differ from visitor to visitor, and `make` gives the template's context with them or with marks
    in their place. All else that the context says must follow from `same`, and from which texts of `own` are empty.
    """
    values: dict[str, str] = {each.name: getattr(own, each.name) for each in fields(own)}
    moulds = _moulds(request)
    key = (template, *_around(request), same, tuple(map(bool, values.values())))
    mould = moulds.get(key)
    if mould is None:
        marks: Any = {name: _mark(name) for name, value in values.items() if value}
        mould = moulds[key] = _made(request, template, make(replace(own, **marks)))
        if len(moulds) > MOST:
            moulds.popitem(last=False)
    else:
        moulds.move_to_end(key)
    shown = {name: str(escape(value)) for name, value in values.items()}
    shown |= {NOW: iso(datetime.now(UTC)), PATH: str(escape(request.url.path))}
    if TOKEN in mould.names:
        shown[TOKEN] = form_token(request)
    return page_response(request, mould.filled(shown), headers=headers)


def _around(request: Request) -> tuple[Hashable, ...]:
    """What the layout says of a request, but for its path."""
    return (request_locale(request), known_role(request), inboxes_left_alone(request))


def _made(request: Request, template: str, context: DataclassInstance) -> Mould:
    text = render_text(request, template, context, token=lambda: _mark(TOKEN), now=_mark(NOW), path=_mark(PATH))
    cut = _MARK.split(text)
    return Mould(tuple(cut[::2]), tuple(cut[1::2]))


def _mark(name: str) -> str:
    """How the place of a value is written while a page is rendered: nobody outside this process can write one."""
    return f"own-{_NONCE}-{name}-"


def _moulds(request: Request) -> Moulds:
    state = request.app.state
    if not hasattr(state, "moulds"):
        state.moulds = OrderedDict()
    found: Moulds = state.moulds
    return found

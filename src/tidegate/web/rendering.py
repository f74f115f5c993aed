"""Pages: Jinja2 templates of all modules, with frozen dataclasses as their contexts.

`storefront/home.html` is `tidegate/storefront/templates/home.html`; the layout is `web/layout.html`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_decimal
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tidegate.platform.countries import countries, country_name
from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.money import Money
from tidegate.platform.settings import Settings
from tidegate.platform.texts import catalogue_of, translated
from tidegate.web.assets import static_url
from tidegate.web.forms import FIELD_NAME, form_token, keep_binding
from tidegate.web.locales import language_choices, offered_locales, request_locale
from tidegate.web.session import known_role, set_session
from tidegate.web.shop_pages import TITLES
from tidegate.web.unread import inboxes_left_alone

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PAGES = tuple(TITLES.items())
PACKAGE = Path(__file__).parent.parent

NOT_KEPT = {"cache-control": "no-store"}
"""Headers of a page that must not come back from a cache: what it says is one person's, or of this moment."""

OPTION, CHOSEN_OPTION = Markup('<option value="{}">'), Markup('<option value="{}" selected>')

MAX_PATH_CHARACTERS = 500
"""Longest path that somebody is sent on to."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the layout shows around every page."""

    shop_name: str
    lang: str
    """BCP 47 tag of the page's language."""
    locale: str
    languages: tuple[tuple[str, str, str], ...]
    """Locale, BCP 47 tag and own name of every language that can be chosen."""
    path: str
    pages: tuple[tuple[str, str], ...]
    """Slug and title of what the shop says of itself."""
    demo: bool
    request_id: str
    now: datetime | str
    """The server's clock, which countdowns follow; a text is shown as it is."""
    bare: bool
    """Whether there is no shop around the page: a gate on its own has no search, cart or account."""
    role: str
    """The role of who asks, where the page has looked who that is; else empty."""
    inbox: Markup
    """The link to the messages of who asks; empty while these cannot be shown."""


def render(
    request: Request,
    template: str,
    context: DataclassInstance | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The page as a response."""
    body = render_text(request, template, context, token=partial(form_token, request), now=datetime.now(UTC))
    return page_response(request, body, status=status, headers=headers)


def page_response(
    request: Request, body: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A page's text as a response; sets the cookie that its forms are bound to, if it has any."""
    locale = request_locale(request)
    response = HTMLResponse(body, status_code=status, headers=headers)
    response.headers.setdefault("Content-Language", locale.replace("_", "-"))
    response.headers.append("Vary", "Accept-Language, Cookie")
    keep_binding(request, response)
    return response


def render_text(
    request: Request,
    template: str,
    context: DataclassInstance | None,
    *,
    token: Callable[[], str],
    now: datetime | str,
    inbox: Markup | None = None,
    path: str | None = None,
) -> str:
    """The page as text, with `token` in its forms, as it is at `now`, or with a text in place of the moment.

    `inbox` stands in place of the link to messages, `path` in place of the page's own.
    """
    settings: Settings = request.app.state.settings
    values = {} if context is None else {field.name: getattr(context, field.name) for field in fields(context)}
    locale = request_locale(request)
    frame = _frame(request, settings, locale, now, inbox, path)
    return environment(locale).get_template(template).render(values, frame=frame, token_field=partial(_field, token))


def see_other(request: Request, address: str, *, session_token: str | None = None) -> Response:
    """Send the browser on after a form (303), with the session of a new guest if one was made.

    `address` is a path of our own, or a payment provider's page; never what a request asked for.
    """
    response = RedirectResponse(address, status_code=303)
    if session_token is not None:
        set_session(request, response, session_token)
    return response


def own_path(text: str) -> str:
    """`text` when it is a path of this shop that somebody may be sent on to, else nothing."""
    plain = text.isascii() and text.isprintable() and "\\" not in text and len(text) <= MAX_PATH_CHARACTERS
    return text if plain and text.startswith("/") and not text.startswith("//") else ""


@lru_cache(maxsize=1_024)
def decimal(value: int | float, locale: str) -> str:
    """A number as a locale writes it."""
    return format_decimal(value, locale=locale)


@lru_cache(maxsize=8)
def environment(locale: str) -> Environment:
    """The templates of all modules, in the language of a locale. A variable that a context lacks is an error."""
    made = Environment(
        loader=FunctionLoader(_load),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=lambda value: translated(value, locale),
    )
    made.install_gettext_translations(catalogue_of(locale), newstyle=True)  # type: ignore[attr-defined]
    made.globals |= {"static": static_url}
    made.filters |= {
        "money": lambda value: _money(value, locale),
        "number": lambda value: decimal(value, locale),
        "date": lambda value, form="long": format_date(value, form, locale=locale),
        "time": lambda value, form="short": format_time(value, form, tzinfo=UTC, locale=locale),
        "datetime": lambda value, form="medium": format_datetime(value, form, tzinfo=UTC, locale=locale),
        "country": partial(country_name, locale=locale),
        "options": partial(_options, locale=locale),
        "iso": lambda value: value if isinstance(value, str) else iso(value),
        "json_text": json.dumps,
    }
    return made


def _options(choices: Iterable[tuple[str, str]], value: str, *, locale: str) -> Markup:
    """The options of a list to choose from. Those of all countries are written once: they are half of a checkout."""
    shown = _country_options(locale) if choices is countries(locale) else _written(choices, locale)
    return shown.replace(OPTION.format(value), CHOSEN_OPTION.format(value), 1)


@lru_cache(maxsize=8)
def _country_options(locale: str) -> Markup:
    return _written(countries(locale), locale)


def _written(choices: Iterable[tuple[str, str]], locale: str) -> Markup:
    option = OPTION + Markup("{}</option>")
    return Markup("\n").join(option.format(choice, translated(text, locale)) for choice, text in choices)


def _load(name: str) -> str | None:
    module, _, file = name.partition("/")
    path = PACKAGE / module / "templates" / file
    return path.read_text(encoding="utf-8") if path.is_file() else None


@lru_cache(maxsize=32)
def inbox_link(locale: str, *, here: bool = False) -> Markup:
    """The link to somebody's messages; `here`: on the page that shows them."""
    link = environment(locale).get_template("web/inbox_link.html").render(here=here)
    return Markup(link.strip())  # noqa: S704 - a template of our own


def _frame(
    request: Request, settings: Settings, locale: str, now: datetime | str, inbox: Markup | None, path: str | None
) -> Frame:
    if inbox is None:
        inbox = Markup() if inboxes_left_alone(request) else inbox_link(locale, here=request.url.path == "/inbox")
    return Frame(
        shop_name=settings.shop_name,
        lang=locale.replace("_", "-"),
        locale=locale,
        languages=language_choices(offered_locales(settings)),
        path=request.url.path if path is None else path,
        pages=PAGES,
        demo=settings.demo,
        request_id=exchange_of(request.scope).request_id,
        now=now,
        bare=getattr(request.app.state, "bare", False),
        role=known_role(request),
        inbox=inbox,
    )


def _field(token: Callable[[], str]) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD_NAME, token())


def _money(value: Any, locale: str) -> str:
    assert isinstance(value, Money), f"the money filter takes Money, not {type(value).__name__}"
    return value.format(locale)


def iso(value: datetime) -> str:
    """A moment in UTC, to the millisecond, as attributes and scripts read it."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

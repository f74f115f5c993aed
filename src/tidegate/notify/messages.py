"""From a template's name and variables to the words of a message.

Templates run in Jinja2's sandbox: merchants will edit them one day. Variables carry no personal data but what the
recipient's own delivery adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import PackageLoader, StrictUndefined, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tidegate.platform.countries import country_name
from tidegate.platform.money import Money
from tidegate.platform.texts import catalogue_of, translated

TEMPLATES = (
    "drop_open",
    "message",
    "order_paid",
    "order_partly_refunded",
    "order_refunded",
    "order_sent",
    "post",
    "product_back",
)
"""Names that a delivery's `template` may have; each has `NAME.subject`, `.txt`, `.html` and `.inbox` files."""

LINK_TEMPLATES = ("account_invite", "account_login", "account_register", "account_reset", "follow_confirm")
"""The same for mails that carry a secret link, which are never in the inbox."""


@dataclass(frozen=True, slots=True)
class Words:
    """A message in words. `html` is empty for channels without it; `link` is the one thing to open."""

    subject: str
    text: str
    html: str
    link: str


@dataclass(frozen=True, slots=True)
class MessageContext:
    """What every template may use, besides the delivery's variables."""

    shop_name: str
    """Name of the shop."""

    locale: str
    """Locale of words and prices."""


def write_mail(template: str, variables: Mapping[str, Any], *, name: str, context: MessageContext) -> Words:
    """The subject, text and HTML of a mail to somebody called `name`."""
    values = _values(variables, context) | {"name": name}
    return Words(
        subject=_line(_render(context.locale, f"{template}.subject", values)),
        text=_render(context.locale, f"{template}.txt", values),
        html=_render(context.locale, f"{template}.html", values),
        link=_main_link(variables),
    )


def write_inbox(template: str, variables: Mapping[str, Any], *, context: MessageContext) -> Words:
    """The subject and text of an inbox message; it names nobody."""
    values = _values(variables, context)
    return Words(
        subject=_line(_render(context.locale, f"{template}.subject", values)),
        text=_render(context.locale, f"{template}.inbox", values).strip(),
        html="",
        link=_main_link(variables),
    )


def _main_link(variables: Mapping[str, Any]) -> str:
    return str(variables.get("order_url") or variables.get("url", ""))


def _values(variables: Mapping[str, Any], context: MessageContext) -> dict[str, Any]:
    def money(amount: int, currency: str) -> str:
        return Money(amount, currency).format(context.locale)

    return {
        **variables,
        "shop_name": context.shop_name,
        "lang": context.locale.replace("_", "-"),
        "money": money,
        "country": lambda code: country_name(code, context.locale),
    }


def _render(locale: str, file: str, values: Mapping[str, Any]) -> str:
    return _environment(locale).get_template(file).render(values)


def _line(text: str) -> str:
    """One line: what becomes a header must not bring line breaks along."""
    return " ".join(text.split())


@lru_cache(maxsize=8)
def _environment(locale: str) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=PackageLoader("tidegate.notify"),
        autoescape=select_autoescape(enabled_extensions=("html",), default=False),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: translated(value, locale),
    )
    environment.install_gettext_translations(catalogue_of(locale), newstyle=True)  # type: ignore[attr-defined]
    return environment

"""From a template's name and variables to the words of a message.

Variables carry no personal data but what the recipient's own delivery adds, and must fit what the message declares.
A part of which the merchant wrote a text of their own is that; where it cannot be written with what this message
holds, the built-in text stands in: no receipt is lost to a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from jinja2 import Undefined

from tidegate.notify.contracts import MessageUnfit
from tidegate.notify.message_kinds import KINDS, Amount, Kind, fit
from tidegate.notify.message_texts import BUILT_IN, Texts
from tidegate.notify.sandbox import sandbox
from tidegate.platform.countries import country_name
from tidegate.platform.money import Money

TEMPLATES: Final = tuple(kind.name for kind in KINDS.values() if kind.inbox is not None)
"""Names that a delivery's `template` may have; each has `NAME.subject`, `.txt`, `.html` and `.inbox` files."""

LINK_TEMPLATES: Final = tuple(kind.name for kind in KINDS.values() if kind.inbox is None)
"""The same for mails that carry a secret link, which are never in the inbox."""

WRITTEN: Final = "written"
"""The `template` of a mail whose variables are its words already: `subject`, `text` and `html`."""


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

    texts: Texts = field(default=BUILT_IN)
    """What merchants wrote of their own."""


def write_mail(template: str, variables: Mapping[str, Any], *, name: str, context: MessageContext) -> Words:
    """The subject, text and HTML of a mail to somebody called `name`. Raises: MessageUnfit."""
    if template == WRITTEN:
        return _as_written(variables)
    values = values_of(fit(template, {**variables, "name": name}, mail=True), context)
    kind = KINDS[template]
    return Words(
        subject=one_line(_text(kind, "subject", values, context)),
        text=_text(kind, "txt", values, context),
        html=_text(kind, "html", values, context),
        link=_main_link(variables),
    )


def write_inbox(template: str, variables: Mapping[str, Any], *, context: MessageContext) -> Words:
    """The subject and text of an inbox message; it names nobody. Raises: MessageUnfit."""
    values = values_of(fit(template, variables, mail=False), context)
    kind = KINDS[template]
    return Words(
        subject=one_line(_text(kind, "subject", values, context)),
        text=_text(kind, "inbox", values, context).strip(),
        html="",
        link=_main_link(variables),
    )


def _as_written(variables: Mapping[str, Any]) -> Words:
    parts = [variables.get(part) for part in ("subject", "text", "html")]
    if not all(isinstance(part, str) for part in parts):
        raise MessageUnfit(f"{WRITTEN}: it needs subject, text and html")
    subject, text, html = (str(part) for part in parts)
    return Words(one_line(subject), text, html, "")


def _main_link(variables: Mapping[str, Any]) -> str:
    return str(variables.get("order_url") or variables.get("url", ""))


def values_of(fitted: Any, context: MessageContext) -> dict[str, Any]:
    """What a text may use: the message's own variables, and what is the same for all. What there is none of is nothing:
    it is not defined, and shows as nothing.
    """

    def money(amount: int | Amount, currency: str = "") -> str:
        whole = Money(amount.amount, amount.currency) if isinstance(amount, Amount) else Money(amount, currency)
        return whole.format(context.locale)

    return {
        **{field.name: _or_nothing(field.name, getattr(fitted, field.name)) for field in fields(fitted)},
        "shop_name": context.shop_name,
        "lang": context.locale.replace("_", "-"),
        "money": money,
        "country": lambda code: country_name(code, context.locale),
    }


def _or_nothing(name: str, value: Any) -> Any:
    return Undefined(name=name) if value is None else value


def _text(kind: Kind, part: str, values: Mapping[str, Any], context: MessageContext) -> str:
    own = context.texts.render(kind, part, values, locale=context.locale)
    return built_in(kind, part, values, locale=context.locale) if own is None else own


def built_in(kind: Kind, part: str, values: Mapping[str, Any], *, locale: str) -> str:
    """The built-in text of a part."""
    return sandbox(locale).get_template(f"{kind.name}.{part}").render(values)


def one_line(text: str) -> str:
    """One line: what becomes a header must not bring line breaks along."""
    return " ".join(text.split())

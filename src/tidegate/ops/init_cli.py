"""`tidegate init`: a few questions, and a settings file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from tidegate.ops import initial
from tidegate.ops.initial import Answers, BadAnswer
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings
from tidegate.platform.settings_file import NAME, settings_home

Text = str | None


def init_command(
    *,
    name: Annotated[Text, typer.Option(help="Name of the shop.")] = None,
    currency: Annotated[Text, typer.Option(help="Currency of all prices, such as GBP.")] = None,
    url: Annotated[Text, typer.Option(metavar="URL", help="Public address, or just the domain.")] = None,
    smtp_url: Annotated[
        Text, typer.Option(envvar="TIDEGATE_MAIL__SMTP_URL", metavar="URL", help="Mail server.", show_envvar=True)
    ] = None,
    sender: Annotated[Text, typer.Option(metavar="ADDRESS", help="From address of mails.")] = None,
    stripe_key: Annotated[
        Text, typer.Option(envvar="TIDEGATE_PAYMENTS__STRIPE_SECRET_KEY", metavar="KEY", help="Stripe's secret key.")
    ] = None,
    stripe_webhook_secret: Annotated[
        Text,
        typer.Option(
            envvar="TIDEGATE_PAYMENTS__STRIPE_WEBHOOK_SECRETS", metavar="SECRET", help="Signing secret of its webhooks."
        ),
    ] = None,
    locale: Annotated[Text, typer.Option(help="Locale of prices and dates.")] = None,
    proxy: Annotated[
        Text, typer.Option(metavar="NETWORK", help="Where the proxy that ends https calls from, such as 127.0.0.1/32.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: what no option says stays as it is.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a settings file that is there.")] = False,
) -> None:
    """Ask for what a shop needs to go live and write TIDEGATE_HOME/settings.toml.

    Every question is an option too. The file holds secrets and only its owner may read it. The environment goes before
    it, and `tidegate doctor` checks what is in it.
    """
    home = settings_home(None, default=Settings.model_fields["home"].default)
    if (home / NAME).exists() and not force:
        raise StartupError(f"{home / NAME} is there already: edit it, or add --force to replace it")
    given = {
        "name": name,
        "currency": currency,
        "url": url,
        "proxy": proxy,
        "smtp_url": smtp_url,
        "sender": sender,
        "stripe_key": stripe_key,
        "stripe_webhook_secret": stripe_webhook_secret,
        "locale": locale,
    }
    answers = _answers(given, yes=yes)
    file = initial.write_settings_file(home, initial.as_toml(initial.settings_document(answers)), force=force)
    typer.echo(f"{file} is written; only you can read it.")
    for line in initial.unsafe(answers):
        typer.echo(f"Not for production: {line}.")
    typer.echo("Next: `tidegate up` starts the shop, `tidegate doctor` checks it.")


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for a field of `Answers`; a secret is not shown while it is typed."""

    field: str
    words: str
    check: Callable[[str], str]
    default: str = ""
    secret: bool = False


_QUESTIONS = (
    _Question("name", "Name of the shop", initial.check_name, "Tidegate"),
    _Question("currency", "Currency", initial.check_currency, "GBP"),
    _Question("url", "Public address", initial.check_url, "http://127.0.0.1:8000"),
    _Question("proxy", "Network of the proxy that ends https (empty: none)", initial.check_proxy),
    _Question("smtp_url", "Mail server (empty: none yet)", initial.check_smtp_url, secret=True),
    _Question("sender", "From address of mails (empty: shop@ the domain)", initial.check_sender),
    _Question("stripe_key", "Stripe's secret key (empty: none yet)", initial.check_stripe_key, secret=True),
    _Question(
        "stripe_webhook_secret",
        "Signing secret of Stripe's webhooks (empty: none yet)",
        initial.check_webhook_secrets,
        secret=True,
    ),
)


def _answers(given: Mapping[str, Text], *, yes: bool) -> Answers:
    """What options say, and what is asked for where they say nothing. Raises: StartupError."""
    found: dict[str, str] = {}
    for question in _QUESTIONS:
        ends_https = question.field == "proxy" and found["url"].startswith("https")
        asked = replace(question, default="127.0.0.1/32") if ends_https else question
        found[asked.field] = _answer(asked, given[asked.field], yes=yes)
    locale = _Question("locale", "Locale", initial.check_locale, "en_GB")
    return Answers(**found, locale=_answer(locale, given["locale"], yes=True))


def _answer(question: _Question, given: Text, *, yes: bool) -> str:
    if given is not None:
        try:
            return question.check(given)
        except BadAnswer as error:
            raise StartupError(f"--{question.field.replace('_', '-')}: {error}") from None
    if yes:
        return question.check(question.default)
    while True:
        said: str = typer.prompt(
            question.words,
            default=question.default,
            show_default=bool(question.default),
            hide_input=question.secret,
        )
        try:
            return question.check(said)
        except BadAnswer as error:
            typer.echo(f"  {error}", err=True)

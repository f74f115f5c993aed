"""`tidegate init`: a few questions, and a settings file."""

from __future__ import annotations

from collections.abc import Callable
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
    ask = _Asking(yes=yes)
    shop = ask("Name of the shop", name, "--name", initial.check_name, "Tidegate")
    money = ask("Currency", currency, "--currency", initial.check_currency, "GBP")
    address = ask("Public address", url, "--url", initial.check_url, "http://127.0.0.1:8000")
    answers = Answers(
        name=shop,
        currency=money,
        url=address,
        proxy=ask(
            "Network of the proxy that ends https (empty: none)",
            proxy,
            "--proxy",
            initial.check_proxy,
            "127.0.0.1/32" if address.startswith("https") else "",
        ),
        smtp_url=ask("Mail server (empty: none yet)", smtp_url, "--smtp-url", initial.check_smtp_url, "", secret=True),
        sender=ask("From address of mails (empty: shop@ the domain)", sender, "--sender", initial.check_sender, ""),
        stripe_key=ask(
            "Stripe's secret key (empty: none yet)",
            stripe_key,
            "--stripe-key",
            initial.check_stripe_key,
            "",
            secret=True,
        ),
        stripe_webhook_secrets=ask(
            "Signing secret of Stripe's webhooks (empty: none yet)",
            stripe_webhook_secret,
            "--stripe-webhook-secret",
            initial.check_webhook_secrets,
            "",
            secret=True,
        ),
        locale=initial.check_locale("en_GB")
        if locale is None
        else ask("", locale, "--locale", initial.check_locale, ""),
    )
    file = initial.write_settings_file(home, initial.as_toml(initial.settings_document(answers)), force=force)
    typer.echo(f"{file} is written; only you can read it.")
    for line in initial.unsafe(answers):
        typer.echo(f"Not for production: {line}.")
    typer.echo("Next: `tidegate up` starts the shop, `tidegate doctor` checks it.")


class _Asking:
    """Answers from options, else from the terminal, else the default."""

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes

    def __call__(
        self,
        question: str,
        given: Text,
        option: str,
        check: Callable[[str], str],
        default: str,
        *,
        secret: bool = False,
    ) -> str:
        """One answer. Raises: StartupError when an option's value cannot be used."""
        if given is not None:
            try:
                return check(given)
            except BadAnswer as error:
                raise StartupError(f"{option}: {error}") from None
        if self._yes:
            return check(default) if default else ""
        while True:
            said: str = typer.prompt(question, default=default, show_default=bool(default), hide_input=secret)
            try:
                return check(said)
            except BadAnswer as error:
                typer.echo(f"  {error}", err=True)

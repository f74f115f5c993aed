"""The settings file of a new shop: its answers checked, and written where `tidegate` finds them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parseaddr, quote
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from babel import Locale, UnknownLocaleError
from babel.numbers import list_currencies

from tidegate.platform.problems import StartupError
from tidegate.platform.settings_file import NAME

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_NAME = 100
"""Longest name of a shop, in characters."""

Value = str | bool | list[str]


class BadAnswer(ValueError):
    """An answer that cannot be a setting; the text says what one looks like."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What `tidegate init` was told. Empty texts leave a setting at its default."""

    name: str
    currency: str
    url: str
    smtp_url: str = field(default="", repr=False)
    sender: str = ""
    stripe_key: str = field(default="", repr=False)
    stripe_webhook_secret: str = field(default="", repr=False)
    locale: str = "en_GB"
    proxy: str = ""


def check_name(text: str) -> str:
    """The shop's name. Raises: BadAnswer."""
    name = " ".join(text.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise BadAnswer(f"a name has 1 to {MAX_NAME} characters")
    return name


def check_currency(text: str) -> str:
    """An ISO 4217 code. Raises: BadAnswer."""
    code = text.strip().upper()
    if code not in list_currencies():
        raise BadAnswer("a currency is three letters such as GBP, EUR or USD")
    return code


def check_locale(text: str) -> str:
    """A locale. Raises: BadAnswer."""
    try:
        return str(Locale.parse(text.strip().replace("-", "_")))
    except (ValueError, UnknownLocaleError):
        raise BadAnswer("a locale looks like en_GB or de_DE") from None


def check_url(text: str) -> str:
    """The shop's public address without a path; a bare domain is taken as https. Raises: BadAnswer."""
    asked = text.strip().rstrip("/")
    if "://" not in asked:
        asked = f"https://{asked}"
    try:
        parts = urlsplit(asked)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadAnswer("an address looks like https://shop.example") from None
    plain = re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:]+", host)
    if parts.scheme not in ("http", "https") or not plain or parts.path or parts.query or parts.username:
        raise BadAnswer("an address looks like https://shop.example: no path, letters of another script as xn--")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def check_smtp_url(text: str) -> str:
    """A mail server. Raises: BadAnswer."""
    asked = text.strip()
    try:
        parts = urlsplit(asked)
        good = parts.scheme in ("smtp", "smtps") and parts.hostname and (parts.port or True)
    except ValueError:
        good = False
    if asked and not good:
        raise BadAnswer("a mail server looks like smtp://USER:PASSWORD@mail.example:587 or smtps://...:465")
    return asked


def check_sender(text: str) -> str:
    """A From address. Raises: BadAnswer."""
    asked = text.strip()
    if asked and (not asked.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(asked)[1])):
        raise BadAnswer("a sender looks like Shop <orders@shop.example>")
    return asked


def check_stripe_key(text: str) -> str:
    """Stripe's secret or restricted key. Raises: BadAnswer."""
    asked = text.strip()
    if asked and not re.fullmatch(r"(sk|rk)_(test|live)_[A-Za-z0-9]{3,250}", asked):
        raise BadAnswer("the key begins with sk_live_, rk_live_, sk_test_ or rk_test_; a key with pk_ is the other one")
    return asked


def check_webhook_secrets(text: str) -> str:
    """Signing secrets of Stripe's webhooks. Raises: BadAnswer."""
    asked = text.replace(" ", "")
    if asked and not re.fullmatch(r"whsec_[A-Za-z0-9+/=_-]{3,250}(,whsec_[A-Za-z0-9+/=_-]{3,250})*", asked):
        raise BadAnswer("a signing secret begins with whsec_")
    return asked


def check_proxy(text: str) -> str:
    """A network (CIDR) or address. Raises: BadAnswer."""
    asked = text.strip()
    try:
        return str(ip_network(asked)) if asked else ""
    except ValueError:
        raise BadAnswer("a proxy's network looks like 127.0.0.1/32 or 10.0.0.0/8") from None


def settings_document(answers: Answers) -> dict[str, dict[str, Value]]:
    """Settings by table; the first, without a name, is the top of the file."""
    parts = urlsplit(answers.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    sender = answers.sender or f'"{quote(answers.name)}" <shop@{parts.hostname}>'
    document: dict[str, dict[str, Value]] = {
        "": {"shop_name": answers.name, "currency": answers.currency, "locale": answers.locale, "demo": False},
        "http": {"base_url": answers.url, "allowed_hosts": list(dict.fromkeys([host, *LOOPBACK]))},
        "mail": {"sender": sender},
        "security": {"cookie_secure": parts.scheme == "https"},
    }
    if answers.proxy:
        document["http"]["trusted_proxies"] = [answers.proxy]
    if answers.smtp_url:
        document["mail"]["smtp_url"] = answers.smtp_url
    if answers.stripe_key:
        document["payments"] = {"stripe_secret_key": answers.stripe_key}
        if answers.stripe_webhook_secret:
            document["payments"]["stripe_webhook_secrets"] = answers.stripe_webhook_secret
    return document


def as_toml(document: Mapping[str, Mapping[str, Value]]) -> str:
    """The document as TOML; JSON's texts, truth values and lists of texts are TOML's too."""
    parts = ["# Written by `tidegate init`. docs/reference/settings.md tells what else there is.\n"]
    for table, values in document.items():
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
        parts.append("\n".join([*([f"[{table}]"] if table else []), *lines]) + "\n")
    return "\n".join(parts)


def write_settings_file(home: Path, text: str, *, force: bool) -> Path:
    """Put the file into `home`, for its owner's eyes only; whole or not at all.

    Raises: StartupError when there is one already and `force` is not given, or the folder cannot be written.
    """
    file = home / NAME
    draft = home / f".{NAME}.{os.getpid()}.new"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        if force:
            draft.replace(file)
        else:
            file.hardlink_to(draft)  # fails when the file is there, also when it came this moment
    except FileExistsError:
        raise StartupError(f"{file} is there already: edit it, or add --force to replace it") from None
    except OSError as error:
        raise StartupError(f"{file}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            draft.unlink()
    return file


def unsafe(answers: Answers) -> Sequence[str]:
    """What about the answers a shop that is open to the world should not keep."""
    said = []
    if not answers.url.startswith("https://"):
        said.append("the address is not https: passwords and cookies would cross the network in the clear")
    if not answers.smtp_url:
        said.append("no mail server: mails stay in the catcher at /dev/mail, or are not sent")
    if not answers.stripe_key:
        said.append("no payment keys: nothing can be paid outside of the demo")
    elif not answers.stripe_webhook_secret:
        said.append("no signing secret: Stripe's webhooks are refused, and payments are found out by asking only")
    return said

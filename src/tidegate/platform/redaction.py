"""Keeping secrets and personal data out of logs: by the name of a field, by the look of a text, by known value.

This is the net under the rule that nothing of the kind is logged in the first place; it is meant to be too eager.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

HIDDEN = "[redacted]"

OWN_FIELDS = frozenset({"timestamp", "level", "process", "request_id", "logger", "method", "route", "status", "ms"})
"""Written by ourselves in every line; never looked at."""

MAX_DEPTH = 6
"""Deeper values are logged as their type only."""

MAX_TEXT_CHARS = 16_384
"""Longer texts lose their middle: a log line is no place for them, and searching them costs time."""

MIN_SECRET_CHARS = 6
"""Shorter values of secrets are not searched for: they would black out ordinary words."""

SECRET_FIELD = re.compile(
    r"passw|secret|token|authori[sz]ation|cookie|api[-_]?key|form[-_]?key|sealing|fingerprint|credential|session|"
    r"e_?mail|phone|address|postal|card|iban|^name$|recipient|tidegate[-_]pass",
    re.IGNORECASE,
)
"""Names of fields whose values never stand in a log."""

EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")
URL_USERINFO = re.compile(r"\b([a-z][a-z0-9+.-]{1,20}://)[^\s/@'\"]+@", re.IGNORECASE)
BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE)
ASSIGNED = re.compile(
    r"(?i)((?:[\w-]{0,40}(?:passw(?:or)?d|secret|token|authorization|cookie|api[-_]?key|session)[\w-]{0,40})['\"]?\s*[=:]\s*)"
    r"(?!\[redacted\])(?:b?'[^']*'|b?\"[^\"]*\"|[^\s,;&)}\]]+)"
)
PAIRED = re.compile(
    r"(?i)(['\"](?:[\w-]{0,40}(?:passw|secret|token|authori[sz]ation|cookie|api[-_]?key|session|e_?mail|address|phone|postal)"
    r"[\w-]{0,40}|name|line1|city)['\"]\s*[,:]\s*)(?:b?'[^']*'|b?\"[^\"]*\")"
)
"""A quoted name and its quoted value, as dicts and lists of pairs print themselves."""

WEBHOOK_SECRET = re.compile(r"\bwhsec_[A-Za-z0-9+/=]+")
DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
QUOTED_INPUT = re.compile(r"input_value=.*?(?=, input_type=)", re.DOTALL)
DATABASE_DETAIL = re.compile(r"\b(DETAIL|CONTEXT|HINT):[^\n]*")
FREE_TEXT_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (QUOTED_INPUT, f"input_value={HIDDEN}"),
    (DATABASE_DETAIL, rf"\1: {HIDDEN}"),
    (URL_USERINFO, rf"\1{HIDDEN}@"),
    (BEARER, rf"\1 {HIDDEN}"),
    (WEBHOOK_SECRET, HIDDEN),
    (PAIRED, rf"\1{HIDDEN}"),
    (ASSIGNED, rf"\1{HIDDEN}"),
    (EMAIL, HIDDEN),
)
WORTH_A_LOOK = re.compile(r"[@:='\"]|%40|whsec_|bearer|basic|\d[ -]?\d{3}", re.IGNORECASE)
"""A text without any of these cannot match a pattern above; most log lines stop here."""


class Redactor:
    """A structlog processor that hides secrets; `known` are values that are hidden wherever they stand."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        longest_first = sorted({value for value in known if len(value) >= MIN_SECRET_CHARS}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Hide what must be hidden in one log event."""
        for key, value in event.items():
            if key not in OWN_FIELDS:
                event[key] = self._value(value, key=key, depth=0)
        return event

    def text(self, text: str) -> str:
        """The text with everything hidden that looks like, or is, a secret or personal data."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if len(text) > MAX_TEXT_CHARS:
            half = MAX_TEXT_CHARS // 2
            text = f"{text[:half]} [{len(text) - 2 * half} characters cut] {text[-half:]}"
        if WORTH_A_LOOK.search(text) is None:
            return text
        for pattern, replacement in FREE_TEXT_PATTERNS:
            text = pattern.sub(replacement, text)
        return DIGITS.sub(_hide_card, text)

    def _value(self, value: Any, *, key: str, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if key and SECRET_FIELD.search(key):
            return HIDDEN
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float):
            return value
        if depth >= MAX_DEPTH:
            return f"<{type(value).__name__}>"
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): self._value(item, key=str(name), depth=depth + 1) for name, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return self._sequence(list(value), depth=depth)
        return self.text(repr(value) if not isinstance(value, bytes) else f"<{len(value)} bytes>")

    def _sequence(self, items: list[Any], *, depth: int) -> list[Any]:
        """A list; a pair whose first half names a secret (a header) loses its second half."""
        if len(items) == 2 and isinstance(items[0], str | bytes):
            name = items[0] if isinstance(items[0], str) else items[0].decode("latin-1")
            if SECRET_FIELD.search(name):
                return [name, HIDDEN]
        return [self._value(item, key="", depth=depth + 1) for item in items]


def known_secrets(settings: BaseModel) -> set[str]:
    """Every secret value in the settings, and the password inside each URL among them."""
    found: set[str] = set()
    for name, value in settings:
        if isinstance(value, BaseModel):
            found |= known_secrets(value)
        elif isinstance(value, SecretStr):
            found |= _spellings(value.get_secret_value())
        elif isinstance(value, str) and name.endswith("_url"):
            found |= _passwords(value)
    return found


def _spellings(secret: str) -> set[str]:
    """A secret, its parts (`1:KEY,2:KEY`), and a URL's password; not the URL itself, whose host is worth reading."""
    if "://" in secret:
        return _passwords(secret)
    keys = {part.split(":", 1)[-1].strip() for part in secret.split(",")}
    return {secret, *keys} - {""}


def _passwords(url: str) -> set[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return {url}
    return {password, unquote(password)} if password else set()


def _hide_card(match: re.Match[str]) -> str:
    """Hide 13 to 19 digits that pass the Luhn check (ISO/IEC 7812), as card numbers do."""
    digits = [int(char) for char in match[0] if char.isdigit()]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return HIDDEN if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else match[0]

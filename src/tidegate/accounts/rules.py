"""What an e-mail address and a password may look like."""

from __future__ import annotations

import re

from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_EMAIL = 254
"""Longest e-mail address, in characters (RFC 5321)."""

MAX_PASSWORD = 256
"""Longest password, in characters: a bound for the work of hashing."""

MIN_PASSWORD = 10
"""Shortest new password, in characters."""

EMAIL = re.compile(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+")


def plausible_credentials(email: str, password: str) -> bool:
    """Whether they are worth looking up: bounded, not empty, and nothing that a database text cannot hold."""
    return (
        0 < len(email.strip()) <= MAX_EMAIL
        and email.isprintable()
        and _encodable(email)
        and plausible_password(password)
    )


def plausible_password(password: str) -> bool:
    """Whether it is worth hashing: bounded, not empty, and something that can be hashed."""
    return 0 < len(password) <= MAX_PASSWORD and _encodable(password)


def check_email(email: str) -> None:
    """See that a link can be mailed there. Raises: InvalidRequest."""
    fits = len(email) <= MAX_EMAIL and email.isprintable() and _encodable(email) and EMAIL.fullmatch(email)
    if not fits:
        raise InvalidRequest(_("Enter a whole e-mail address, such as name@example.org."), field="email")


def check_new_password(password: str) -> None:
    """See that a password can be taken. Raises: InvalidRequest."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD or not _encodable(password):
        raise InvalidRequest(
            _(
                "A password has %(least)s to %(most)s characters. Choose another one.",
                least=MIN_PASSWORD,
                most=MAX_PASSWORD,
            ),
            field="password",
        )


def _encodable(text: str) -> bool:
    """False for lone surrogates, which JSON can spell and UTF-8 cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)

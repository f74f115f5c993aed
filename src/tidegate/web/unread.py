"""How many messages are unread, where a small script finds it: pages stay the same for everybody."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from tidegate.platform.settings import Settings

UNREAD_COOKIE: Final = "tidegate_unread"
"""Read by `web/cart-count.js`. It says nothing but a number, and nothing believes it."""


def unread_header(request: Request, unread: int) -> tuple[bytes, bytes] | None:
    """The header that has the browser show this number; None when it does already."""
    settings: Settings = request.app.state.settings
    known = request.cookies.get(UNREAD_COOKIE, "")
    if known == (str(unread) if unread else ""):
        return None
    life_s = settings.accounts.session_days * 86_400 if unread else 0
    secure = "; Secure" if settings.security.cookie_secure else ""
    return (
        b"set-cookie",
        f"{UNREAD_COOKIE}={unread or ''}; Max-Age={life_s}; Path=/; SameSite=lax{secure}".encode(),
    )

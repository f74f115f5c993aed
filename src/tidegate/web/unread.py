"""What a small script finds of messages: how many are unread, and that more may come. Pages stay the same for all."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tidegate.platform.breaker import Breaker, BreakerState
from tidegate.platform.settings import Settings

UNREAD_COOKIE: Final = "tidegate_unread"
"""Read by `web/cart-count.js`. It says nothing but a number, and nothing believes it."""

LIVE_COOKIE: Final = "tidegate_live"
"""Says to the same script that this browser's messages can be listened for. Nothing believes it either."""


def let_listen(request: Request, response: Response) -> None:
    """Have the browser listen for its messages while somebody looks at a page."""
    if request.cookies.get(LIVE_COOKIE) == "1":
        return
    settings: Settings = request.app.state.settings
    life_s, secure = settings.accounts.session_days * 86_400, settings.security.cookie_secure
    response.set_cookie(LIVE_COOKIE, "1", max_age=life_s, samesite="lax", secure=secure)


def inboxes_left_alone(request: Request) -> bool:
    """Whether nobody got an answer of late who asked for messages (`app.state.inboxes`): no page leads to them."""
    breaker: Breaker | None = getattr(request.app.state, "inboxes", None)
    return breaker is not None and breaker.state is not BreakerState.CLOSED


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

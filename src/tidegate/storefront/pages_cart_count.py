"""How many items are in the cart, where a small script finds it: pages stay the same for everybody."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tidegate.platform.settings import Settings

COUNT_COOKIE: Final = "tidegate_cart"
"""Read by `web/cart-count.js`. It says nothing but a number, and nothing believes it."""


def with_count(request: Request, response: Response, items: int) -> Response:
    """The response, with the count for the browser to show."""
    settings: Settings = request.app.state.settings
    secure = settings.security.cookie_secure
    if items:
        life_s = settings.accounts.session_days * 86_400
        response.set_cookie(COUNT_COOKIE, str(items), max_age=life_s, samesite="lax", secure=secure)
    elif COUNT_COOKIE in request.cookies:
        response.delete_cookie(COUNT_COOKIE, samesite="lax", secure=secure)
    return response

"""`/language`: the reader's choice from the footer, kept in a cookie."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.platform.settings import Settings
from tidegate.web.locales import LOCALE_COOKIE, offered_locales
from tidegate.web.rendering import own_path, see_other

router = APIRouter(include_in_schema=False)

KEPT_S = 365 * 86_400


@router.get("/language")
async def choose_language(request: Request, locale: str = "", then: str = "/") -> Response:
    """Answer this browser in another language from now on, and go back to where it was.

    The form needs no token, so that the footer is the same for everyone: it changes nothing but the language shown.
    """
    settings: Settings = request.app.state.settings
    response = see_other(request, own_path(then) or "/")
    if locale in offered_locales(settings):
        response.set_cookie(
            LOCALE_COOKIE,
            locale,
            max_age=KEPT_S,
            httponly=True,
            samesite="lax",
            secure=settings.security.cookie_secure,
        )
    response.headers["Cache-Control"] = "no-store"
    return response

"""What all pages share: rendering, layout, static files, forms, sessions, error pages."""

from tidegate.web.assets import StaticTree, static_url
from tidegate.web.contracts import Visitor
from tidegate.web.error_pages import error_page
from tidegate.web.forms import PostedForm, form_key, read_form
from tidegate.web.locales import LOCALE_COOKIE, offered_locales, request_locale
from tidegate.web.rendering import environment, render, see_other
from tidegate.web.session import (
    SESSION_COOKIE,
    SignInFirst,
    current_person,
    ensure_buyer,
    forget_session,
    require_buyer,
    require_person,
    session_token,
    set_session,
)

__all__ = [
    "LOCALE_COOKIE",
    "SESSION_COOKIE",
    "PostedForm",
    "SignInFirst",
    "StaticTree",
    "Visitor",
    "current_person",
    "ensure_buyer",
    "environment",
    "error_page",
    "forget_session",
    "form_key",
    "offered_locales",
    "read_form",
    "render",
    "request_locale",
    "require_buyer",
    "require_person",
    "see_other",
    "session_token",
    "set_session",
    "static_url",
]

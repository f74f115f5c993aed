"""What all pages share: rendering, layout, static files, forms, sessions, error pages."""

from tidegate.platform.texts import language_of
from tidegate.web.assets import StaticTree, static_url
from tidegate.web.busy import busy_pages
from tidegate.web.contracts import Visitor
from tidegate.web.error_pages import blamed, error_page, words_of
from tidegate.web.forms import PostedForm, form_key, read_form, read_upload
from tidegate.web.frames import FRAMING, framed, framed_document
from tidegate.web.kept import MARKS, Answers, Gap, Level, MadeFrom
from tidegate.web.locales import LOCALE_COOKIE, offered_locales, request_locale
from tidegate.web.moulds import render_moulded
from tidegate.web.rendering import NOT_KEPT, decimal, environment, iso, own_path, render, see_other
from tidegate.web.serving_kept import ServeKept, Visit, away, kept_answer, kept_page
from tidegate.web.session import (
    SESSION_COOKIE,
    SignInFirst,
    client_address,
    current_person,
    ensure_buyer,
    forget_session,
    is_guest,
    make_guest,
    require_account,
    require_buyer,
    require_person,
    require_staff,
    session_token,
    set_session,
)
from tidegate.web.shop_pages import TITLES as PAGE_TITLES
from tidegate.web.shop_pages import PageChanged, ShopPage, list_written, rendered, starter_page, write_page
from tidegate.web.shop_pages import wrong_fields as wrong_page_fields
from tidegate.web.unread import UNREAD_COOKIE, let_listen, unread_header

__all__ = [
    "FRAMING",
    "LOCALE_COOKIE",
    "MARKS",
    "NOT_KEPT",
    "PAGE_TITLES",
    "SESSION_COOKIE",
    "UNREAD_COOKIE",
    "Answers",
    "Gap",
    "Level",
    "MadeFrom",
    "PageChanged",
    "PostedForm",
    "ServeKept",
    "ShopPage",
    "SignInFirst",
    "StaticTree",
    "Visit",
    "Visitor",
    "away",
    "blamed",
    "busy_pages",
    "client_address",
    "current_person",
    "decimal",
    "ensure_buyer",
    "environment",
    "error_page",
    "forget_session",
    "form_key",
    "framed",
    "framed_document",
    "is_guest",
    "iso",
    "kept_answer",
    "kept_page",
    "language_of",
    "let_listen",
    "list_written",
    "make_guest",
    "offered_locales",
    "own_path",
    "read_form",
    "read_upload",
    "render",
    "render_moulded",
    "rendered",
    "request_locale",
    "require_account",
    "require_buyer",
    "require_person",
    "require_staff",
    "see_other",
    "session_token",
    "set_session",
    "starter_page",
    "static_url",
    "unread_header",
    "words_of",
    "write_page",
    "wrong_page_fields",
]

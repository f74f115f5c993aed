"""Posted forms: read within bounds, and only with the token that our own page put into them.

A token is `TIME.MAC`: the second of its making and an HMAC-SHA-256 of that second and of a value that only the same
browser has, the session's cookie or, before there is a session, a cookie that is set when a form is shown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tidegate.platform.problems import FormExpired, InvalidRequest, StartupError, UnsupportedMedia
from tidegate.platform.settings import SecuritySettings, Settings
from tidegate.platform.texts import text as _
from tidegate.web.session import SESSION_COOKIE

FORM_COOKIE: Final = "tidegate_form"
FIELD_NAME: Final = "form_token"
TOKEN_LIFE_S: Final = 12 * 3_600
CLOCK_SKEW_S: Final = 60
"""How far processes on different machines may disagree about the time."""

MAX_FIELD_BYTES: Final = 65_536
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
TOKEN = re.compile(r"(?P<made>[0-9a-f]{1,12})\.(?P<mac>[0-9a-f]{64})")
BINDING = re.compile(r"[A-Za-z0-9_-]{16,256}")
NEW_BINDING_KEY = "tidegate.form_binding"


@dataclass(frozen=True, slots=True)
class PostedForm:
    """The fields of a form in their order; a name may come more than once."""

    fields: tuple[tuple[str, str], ...]

    def get(self, name: str, default: str = "") -> str:
        """The field's text without surrounding space; the last one, if there are several."""
        return self.raw(name, default).strip()

    def raw(self, name: str, default: str = "") -> str:
        """The field's text to the letter, as passwords are; the last one, if there are several."""
        return next((value for field, value in reversed(self.fields) if field == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of a name, in order."""
        return [value for field, value in self.fields if field == name]


async def read_form(request: Request) -> PostedForm:
    """The posted form. This is the only way that pages read one, so that no page can forget the token.

    Raises: UnsupportedMedia, MalformedBody (as an HTTP 400 of the parser), InvalidRequest, FormExpired.
    """
    settings: Settings = request.app.state.settings
    if not request.headers.get("content-type", "").lower().startswith(FORM_TYPES):
        raise UnsupportedMedia(_("This address takes a form."))
    async with request.form(
        max_files=0, max_fields=settings.http.max_form_fields, max_part_size=MAX_FIELD_BYTES
    ) as posted:
        fields = tuple((name, value) for name, value in posted.multi_items() if isinstance(value, str))
    form = PostedForm(tuple(field for field in fields if field[0] != FIELD_NAME))
    if any("\0" in name or "\0" in value for name, value in form.fields):
        raise InvalidRequest(_("A field contains a character that cannot be used. Nothing was changed."))
    if not _is_ours(request, PostedForm(fields).get(FIELD_NAME), now_s=time.time()):
        raise FormExpired(
            _(
                "This page was open for too long or belongs to another session, so nothing was sent. "
                "Go back, reload the page and send it again."
            )
        )
    return form


def form_token(request: Request) -> str:
    """A token for a form that is shown in answer to `request`; `keep_binding` must then see the response."""
    return make_token(form_key(request.app.state.settings.security), _binding(request), now_s=time.time())


def keep_binding(request: Request, response: Response) -> None:
    """Set the cookie that binds the tokens of a browser without a session, if one was made for this request."""
    binding = request.scope.get(NEW_BINDING_KEY)
    if binding is not None:
        secure = request.app.state.settings.security.cookie_secure
        response.set_cookie(FORM_COOKIE, binding, max_age=TOKEN_LIFE_S, httponly=True, samesite="lax", secure=secure)


def binding_of(request: Request) -> str:
    """What the tokens of this browser are bound to; a new one for a browser that has nothing yet."""
    return _binding(request)


def binding_header(request: Request) -> tuple[bytes, bytes] | None:
    """What `keep_binding` sets, as a header."""
    binding = request.scope.get(NEW_BINDING_KEY)
    if binding is None:
        return None
    secure = "; Secure" if request.app.state.settings.security.cookie_secure else ""
    cookie = f"{FORM_COOKIE}={binding}; HttpOnly; Max-Age={TOKEN_LIFE_S}; Path=/; SameSite=lax{secure}"
    return (b"set-cookie", cookie.encode())


def make_token(key: bytes, binding: str, *, now_s: float) -> str:
    """A token for one browser at one time."""
    made = f"{int(now_s):x}"
    return f"{made}.{_mac(key, binding, made)}"


def token_holds(key: bytes, token: str, binding: str, *, now_s: float) -> bool:
    """Whether the token was made by us, for this browser, and not too long ago."""
    if (parts := TOKEN.fullmatch(token)) is None:
        return False
    age_s = now_s - int(parts["made"], 16)
    genuine = hmac.compare_digest(_mac(key, binding, parts["made"]), parts["mac"])
    return genuine and -CLOCK_SKEW_S <= age_s <= TOKEN_LIFE_S


def form_key(security: SecuritySettings) -> bytes:
    """The key of form tokens. Raises: StartupError."""
    try:
        key = base64.b64decode(security.form_key.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise StartupError("TIDEGATE_SECURITY__FORM_KEY is missing or malformed: 32 random bytes in base64")
    return key


def _is_ours(request: Request, token: str, *, now_s: float) -> bool:
    """A token may be of the session, or from before it began: a guest's session begins with the first form sent."""
    key = form_key(request.app.state.settings.security)
    bindings = (request.cookies.get(SESSION_COOKIE), request.cookies.get(FORM_COOKIE))
    return any(token_holds(key, token, binding, now_s=now_s) for binding in bindings if binding)


def _binding(request: Request) -> str:
    for cookie in (SESSION_COOKIE, FORM_COOKIE):
        if BINDING.fullmatch(request.cookies.get(cookie, "")):
            return request.cookies[cookie]
    made: str = request.scope.setdefault(NEW_BINDING_KEY, secrets.token_urlsafe(24))
    return made


def _mac(key: bytes, binding: str, made: str) -> str:
    return hmac.new(key, f"form\0{made}\0{binding}".encode(), hashlib.sha256).hexdigest()

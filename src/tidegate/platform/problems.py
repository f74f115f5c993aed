"""Expected failures as typed errors, and the problem details (RFC 9457) that they become.

An error class is the contract: `slug` ends its type URI, `status` is the HTTP status, its docstring is the title.
"""

from __future__ import annotations

import inspect
import json
from typing import Any, ClassVar

import msgspec


class StartupError(Exception):
    """Something outside the program must be mended first: one line on the terminal, exit code 2."""


class Problem(Exception):
    """Something went wrong that the caller can do something about."""

    slug: ClassVar[str] = "problem"
    status: ClassVar[int] = 400

    def __init__(self, detail: str = "", *, retry_after_s: int | None = None, **extra: Any) -> None:
        """`detail` says what happened, what was kept and what to do; `extra` are members of the document."""
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        self.extra = extra
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """First line of the class's docstring."""
        return (inspect.getdoc(type(self)) or self.slug).splitlines()[0].rstrip(".")

    @property
    def type_uri(self) -> str:
        """Relative URI of the page that explains this kind of problem."""
        return f"/problems/{self.slug}"

    def document(self, *, instance: str | None = None) -> dict[str, Any]:
        """The problem-details document."""
        body: dict[str, Any] = {
            "type": self.type_uri,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance:
            body["instance"] = instance
        return body | self.extra

    def encoded(self, **members: Any) -> bytes:
        """The document with `members` as JSON: the same to the letter whenever the problem is."""
        document = self.document() | members
        try:
            return msgspec.json.encode(document, enc_hook=str)
        except UnicodeEncodeError:  # half a surrogate pair, which only escapes can carry
            return json.dumps(document, ensure_ascii=True, default=str).encode()


class InvalidRequest(Problem):
    """The request is not valid."""

    slug = "invalid-request"
    status = 422


class MalformedBody(Problem):
    """The body could not be read."""

    slug = "malformed-body"
    status = 400


class BodyTooLarge(Problem):
    """The body is larger than this shop accepts."""

    slug = "body-too-large"
    status = 413


class HeadersTooLarge(Problem):
    """The request's headers are larger than this shop accepts."""

    slug = "headers-too-large"
    status = 431


class UnknownHost(Problem):
    """The request names a host that is not this shop."""

    slug = "unknown-host"
    status = 400


class CrossSite(Problem):
    """The request came from another site."""

    slug = "cross-site"
    status = 403


class FormExpired(Problem):
    """This form is too old or was opened in another session."""

    slug = "form-expired"
    status = 403


class NotSignedIn(Problem):
    """This needs a session: send `Authorization: Bearer TOKEN`."""

    slug = "not-signed-in"
    status = 401


class NotAllowed(Problem):
    """This account may not do that."""

    slug = "not-allowed"
    status = 403


class NotFound(Problem):
    """There is nothing here."""

    slug = "not-found"
    status = 404


class MethodNotAllowed(Problem):
    """This address does not take that method."""

    slug = "method-not-allowed"
    status = 405


class UnsupportedMedia(Problem):
    """The body has a type that this address does not take."""

    slug = "unsupported-media-type"
    status = 415


class TooManyRequests(Problem):
    """Too many attempts in a short time."""

    slug = "too-many-requests"
    status = 429


class Overloaded(Problem):
    """The shop is at its limit right now; nothing was changed, try again shortly."""

    slug = "overloaded"
    status = 503

    def __init__(self, detail: str = "", *, retry_after_s: int | None = 2, **extra: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **extra)


class InternalError(Problem):
    """Something broke on our side; it has been recorded."""

    slug = "internal-error"
    status = 500


class KeyMissing(Problem):
    """This request needs an Idempotency-Key header."""

    slug = "key-missing"
    status = 400


class KeyInFlight(Problem):
    """Another request with this Idempotency-Key is still being worked on."""

    slug = "key-in-flight"
    status = 409

    def __init__(self, detail: str = "", *, retry_after_s: int | None = 1, **extra: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **extra)


class KeyReused(Problem):
    """This Idempotency-Key was used for a different request."""

    slug = "key-reused"
    status = 422

"""What a person sees when something did not work: what happened, what was kept, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from tidegate.platform.problems import InvalidRequest, Problem
from tidegate.platform.texts import Text
from tidegate.platform.texts import text as _
from tidegate.web.rendering import render, see_other
from tidegate.web.session import SignInFirst

CALM_WORDS: dict[str, tuple[str, str]] = {
    "not-found": (
        _("There is nothing at this address"),
        _("It may be mistyped, or what was here is gone. Nothing in your cart changed."),
    ),
    "method-not-allowed": (
        _("This address only takes forms"),
        _("Nothing was changed. Start from the shop's first page."),
    ),
    "internal-error": (
        _("Something broke on our side"),
        _("It has been recorded. What you had before is still there. Wait a moment and try again."),
    ),
    "overloaded": (
        _("The shop is full right now"),
        _("Nothing was changed, and your place and your cart are kept. Wait a few seconds and try again."),
    ),
    "inbox-away": (_("Your messages are away for a moment"), ""),
    "not-signed-in": (_("You are not signed in here"), _("Start from the shop's first page and try again.")),
    "not-allowed": (_("This is not open to your account"), _("Nothing was changed.")),
    "unknown-host": (_("This shop has another address"), _("Check the address that you were given.")),
    "body-too-large": (_("That was too much at once"), _("Nothing was saved. Send something smaller.")),
    "form-expired": (_("This form is too old"), ""),
    "cross-site": (_("This came from another site"), ""),
    "invalid-request": (_("Something in it is not right"), ""),
    "malformed-body": (_("This could not be read"), _("Nothing was changed. Go back, reload the page and try again.")),
    "unsupported-media-type": (_("This could not be read"), ""),
    "too-many-requests": (
        _("Too many attempts in a short time"),
        _("Nothing was changed. Wait a little and try again."),
    ),
    "limit-reached": (_("You have as many as one person may have"), ""),
    "hold-expired": (_("The time is over"), _("The items went back to the shop. Nothing was charged.")),
    "already-ordered": (_("This has been ordered already"), _("Look at your messages for the order.")),
    "not-payable": (_("This order cannot be paid any more"), _("Nothing was charged.")),
    "wrong-credentials": (_("The e-mail address or the password is not right"), ""),
}
"""Title and text where the problem's own words are for programs."""

LIKE_OTHERS = {404: "not-found", 503: "overloaded"}
"""Whose words problems of a status have that have none of their own."""


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """Context of `web/error.html`."""

    title: str
    text: str
    status: int
    may_retry: bool
    """Whether asking again may help."""


def words_of(problem: Problem) -> str:
    """What a page says of a problem: its detail where that was written for people, which is a marked text.

    This is the only way that pages tell a detail, so that none shows what was written for programs.
    """
    if isinstance(problem.detail, Text):
        return problem.detail
    title, text = _calm(problem)
    return text or title


def blamed(problem: Problem) -> dict[str, str]:
    """What a form says beside a field, where the problem's member `field` names one; empty when it is about none."""
    return {problem.extra["field"]: words_of(problem)} if "field" in problem.extra else {}


def error_page(request: Request, problem: Problem, request_id: str) -> Response:
    """The page for a problem, or the way to the log-in."""
    if isinstance(problem, SignInFirst):
        return see_other(request, f"/login?{urlencode({'next': problem.then}, safe='/')}")
    title, text = _calm(problem)
    if isinstance(problem.detail, Text):
        text = problem.detail
    context = ErrorContext(title=title, text=text, status=problem.status, may_retry=problem.status >= 500)
    return render(request, "web/error.html", context, status=problem.status)


def _calm(problem: Problem) -> tuple[str, str]:
    slug = problem.slug
    if slug not in CALM_WORDS:
        is_invalid = isinstance(problem, InvalidRequest)
        slug = InvalidRequest.slug if is_invalid else LIKE_OTHERS.get(problem.status, "")
    return CALM_WORDS.get(slug, (problem.title, ""))

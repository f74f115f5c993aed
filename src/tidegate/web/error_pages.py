"""What a person sees when something did not work: what happened, what was kept, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from tidegate.platform.problems import Problem
from tidegate.web.rendering import render, see_other
from tidegate.web.session import SignInFirst

CALM_WORDS: dict[str, tuple[str, str]] = {
    "not-found": (
        "There is nothing at this address",
        "It may be mistyped, or what was here is gone. Nothing in your basket changed.",
    ),
    "method-not-allowed": ("This address only takes forms", "Nothing was changed. Start from the shop's first page."),
    "internal-error": (
        "Something broke on our side",
        "It has been recorded. What you had before is still there. Wait a moment and try again.",
    ),
    "overloaded": (
        "The shop is full right now",
        "Nothing was changed, and your place and basket are kept. Wait a few seconds and try again.",
    ),
    "not-signed-in": ("You are not signed in here", "Start from the shop's first page and try again."),
    "not-allowed": ("This is not open to your account", "Nothing was changed."),
    "unknown-host": ("This shop has another address", "Check the address that you were given."),
    "body-too-large": ("That was too much at once", "Nothing was saved. Send something smaller."),
}
"""Title and text where the problem's own words are for programs."""


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """Context of `web/error.html`."""

    title: str
    text: str
    status: int
    may_retry: bool
    """Whether asking again may help."""


def error_page(request: Request, problem: Problem, request_id: str) -> Response:
    """The page for a problem, or the way to the log-in."""
    if isinstance(problem, SignInFirst):
        return see_other(request, f"/login?{urlencode({'next': problem.then}, safe='/')}")
    title, text = CALM_WORDS.get(problem.slug, (problem.title, ""))
    if problem.detail != problem.title:
        text = problem.detail
    context = ErrorContext(title=title, text=text, status=problem.status, may_retry=problem.status >= 500)
    return render(request, "web/error.html", context, status=problem.status)

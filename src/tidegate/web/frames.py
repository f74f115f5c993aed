"""HTML that is not ours, such as a mail's, inside a page of ours.

It is a document of its own that may run nothing, load nothing and submit nothing (CSP `sandbox`, which also gives it an
origin of its own), and is shown inside a sandboxed frame.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import HTMLResponse, Response

from tidegate.platform.edge.headers import CONTENT_SECURITY_POLICY

FRAMED_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""Policy of such a document. Links open in a tab of their own, which is a normal page again."""

FRAMING: Final = {"content-security-policy": f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"}
"""Headers of a page with such a frame."""


def framed_document(html: str, *, status: int = 200) -> Response:
    """A document for the frame."""
    return framed(HTMLResponse(html, status_code=status))


def framed(response: Response) -> Response:
    """A response as a document for the frame; it is not kept."""
    response.headers["content-security-policy"] = FRAMED_POLICY
    response.headers["x-frame-options"] = "SAMEORIGIN"
    response.headers["cache-control"] = "no-store"
    return response

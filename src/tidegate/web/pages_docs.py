"""`/docs`: the API's reference, to read and to try, without a CDN and without inline script."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.platform.edge.headers import CONTENT_SECURITY_POLICY
from tidegate.web.rendering import render

router = APIRouter(include_in_schema=False)

DOCS_POLICY = CONTENT_SECURITY_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI writes style attributes; nothing else is loosened, and only here."""


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """The reference."""
    return render(request, "web/docs.html", headers={"content-security-policy": DOCS_POLICY})

"""`/docs`: the API's reference, to read and to try, without a CDN and without inline script."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.web.rendering import render

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """The reference."""
    return render(request, "web/docs.html")

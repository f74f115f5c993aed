"""`/pictures/{name}`: uploaded pictures. What an address shows never changes, so any cache may keep it."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.platform.files import FileStore
from tidegate.platform.problems import NotFound

router = APIRouter(include_in_schema=False)

NAME = re.compile(r"(?P<digest>[0-9a-f]{64})-(?P<width>[1-9][0-9]{0,4})\.webp", re.ASCII)
FOREVER = "public, max-age=31536000, immutable"


@router.get("/pictures/{name}")
async def show_picture(request: Request, name: str) -> Response:
    """One file of a picture, named by what is in it."""
    if (asked := NAME.fullmatch(name)) is None:
        raise NotFound()
    etag = f'"{asked["digest"][:24]}-{asked["width"]}"'
    headers = {"etag": etag, "cache-control": FOREVER, "x-content-type-options": "nosniff"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    files: FileStore = request.app.state.files
    content = await files.get(f"{name[:2]}/{name}")
    if content is None:
        raise NotFound()
    return Response(content, headers=headers, media_type="image/webp")

"""`/art/{slug}.svg`: product pictures. They depend on their address alone, so any cache may keep them."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.platform.problems import NotFound
from tidegate.storefront.art import EDITION, draw

router = APIRouter(include_in_schema=False)

MAX_SLUG = 200
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
KEPT_PICTURES = 2_048
"""How many drawn pictures a process keeps: about 2 KB each."""

FOREVER = "public, max-age=31536000, immutable"
FOR_A_DAY = "public, max-age=86400"


@router.get("/art/{slug}.svg")
async def show_picture(request: Request, slug: str, of: str = "", v: str = "") -> Response:
    """The picture of a product; `of` is its collection, `v` the edition of the drawings."""
    if not _is_slug(slug) or (of and not _is_slug(of)):
        raise NotFound()
    picture, etag = _picture(slug, of)
    headers = {"etag": etag, "cache-control": FOREVER if v == EDITION else FOR_A_DAY}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(picture, headers=headers, media_type="image/svg+xml")


def _is_slug(text: str) -> bool:
    return len(text) <= MAX_SLUG and SLUG.fullmatch(text) is not None


@lru_cache(maxsize=KEPT_PICTURES)
def _picture(slug: str, collection: str) -> tuple[bytes, str]:
    picture = draw(slug, collection).encode()
    return picture, f'"{sha256(picture).hexdigest()[:24]}"'

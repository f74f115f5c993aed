"""Static files of all modules, under addresses that carry the hash of what is in them, so that browsers keep them.

`web/site.css` is `/static/HASH/web/site.css`, from `tidegate/web/static/site.css`. One hash covers the whole tree:
ES modules can then import each other by relative addresses. Old hashes still work, but are not kept.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path

import swagger_ui_bundle
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PACKAGE = Path(__file__).parent.parent
SWAGGER_FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
"""What `/docs` needs from the installed package."""

TYPES = {
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".css": "text/css",
    ".webmanifest": "application/manifest+json",
}
KEEP_FOREVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "public, no-cache"
WORTH_PACKING_BYTES = 512
FILE_SUFFIXES = frozenset({".css", ".js", ".svg", ".png", ".ico", ".woff2", ".txt", ".webmanifest"})


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Path]:
    """Every static file by its name (`web/site.css`)."""
    found = {
        f"{folder.parent.name}/{file.relative_to(folder).as_posix()}": file
        for folder in sorted(PACKAGE.glob("*/static"))
        for file in sorted(folder.rglob("*"))
        if file.suffix in FILE_SUFFIXES
    }
    swagger = Path(str(swagger_ui_bundle.swagger_ui_path))
    return found | {f"swagger/{name}": swagger / name for name in SWAGGER_FILES}


@lru_cache(maxsize=1)
def version() -> str:
    """The hash over all files of the catalogue and their names."""
    digest = hashlib.sha256()
    for name, file in catalogue().items():
        digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def static_url(name: str) -> str:
    """The address of a static file. Raises: KeyError for one that does not exist, which is a bug in a template."""
    if name not in catalogue():
        raise KeyError(f"no static file {name!r}")
    return f"/static/{version()}/{name}"


class StaticTree:
    """Serves the catalogue from memory; mount it at `/static`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        path: str = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        asked_version, _, name = path.partition("/")
        if name not in catalogue():
            raise HTTPException(404)
        response = _answer(name, Headers(scope=scope), current=asked_version == version())
        await response(scope, receive, send)


def _answer(name: str, asked: Headers, *, current: bool) -> Response:
    plain, packed, etag = _content(name)
    headers = {"etag": etag, "cache-control": KEEP_FOREVER if current else ASK_AGAIN, "vary": "Accept-Encoding"}
    if etag in asked.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    suffix = Path(name).suffix
    media = TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    if packed is not None and "gzip" in asked.get("accept-encoding", ""):
        return Response(packed, headers=headers | {"content-encoding": "gzip"}, media_type=media)
    return Response(plain, headers=headers, media_type=media)


@lru_cache(maxsize=1_024)
def _content(name: str) -> tuple[bytes, bytes | None, str]:
    """A file's bytes, the same packed if that helps, and its tag; read once per process."""
    plain = catalogue()[name].read_bytes()
    packed = gzip.compress(plain, 9, mtime=0) if len(plain) >= WORTH_PACKING_BYTES else None
    if packed is not None and len(packed) > 0.9 * len(plain):
        packed = None
    return plain, packed, f'"{hashlib.sha256(plain).hexdigest()[:24]}"'

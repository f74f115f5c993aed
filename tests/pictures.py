"""Pictures for tests, made when they are needed."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageDraw


def a_picture(
    kind: str = "JPEG", *, width: int = 900, height: int = 600, colour: str = "#b8502f", **save: Any
) -> bytes:
    """A picture with something on it, as a file of a kind."""
    picture = Image.new("RGB", (width, height), colour)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width // 4, height // 4, width // 2, height * 3 // 4), fill="#f2b544")
    draw.rectangle((width * 5 // 8, height // 3, width * 7 // 8, height * 2 // 3), fill="#17323c")
    out = io.BytesIO()
    picture.save(out, kind, **save)
    return out.getvalue()


def a_bomb(*, side: int = 30_000) -> bytes:
    """A small PNG that says it is very large: its pixels would take gigabytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * (side * 30), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)" width="400" height="400"/>'

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


def an_animated_bomb(*, side: int = 60_000) -> bytes:
    """A small animated WebP that says its canvas is very large."""
    frame = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(frame, "WEBP", lossless=True)

    def number(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    head = chunk(b"VP8X", b"\2\0\0\0" + number(side - 1) * 2) + chunk(b"ANIM", bytes(6))
    shown = chunk(b"ANMF", bytes(6) + number(15) * 2 + number(100) + b"\0" + frame.getvalue()[12:])
    body = b"WEBP" + head + shown * 2
    return b"RIFF" + struct.pack("<I", len(body)) + body


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)" width="400" height="400"/>'

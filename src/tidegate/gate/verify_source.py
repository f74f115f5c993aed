"""Where a draw to be checked comes from: a shop's address, or a file that was saved from one.

A file has the draw as JSON on its first line, then one entry a line: `tidegate verify-draw URL --save FILE` writes it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tidegate.gate.messages import DrawAnswer, KeysAnswer
from tidegate.gate.verify import NotChecked, read_entry

TIMEOUT_S = 30.0
MAX_DRAW_BYTES = 20_000
MAX_KEYS_BYTES = 100_000
D = TypeVar("D")
SLUG = re.compile(r"/drops/([a-z0-9-]{1,200})(?:/|$)")


def read_draw(source: str) -> tuple[DrawAnswer, list[bytes]]:
    """The draw and its entries at an address or in a file. Raises: NotChecked."""
    if is_address(source):
        return _from_shop(source)
    return _from_file(Path(source))


def save_draw(target: Path, draw: DrawAnswer, entries: list[bytes]) -> None:
    """Write a draw to a file that `read_draw` reads. Raises: NotChecked."""
    try:
        with target.open("wb") as out:
            out.write(msgspec.json.encode(draw) + b"\n")
            out.writelines(entry.hex().encode() + b"\n" for entry in entries)
    except OSError as error:
        raise NotChecked(f"{target} cannot be written: {error.strerror}") from None


def _from_file(file: Path) -> tuple[DrawAnswer, list[bytes]]:
    try:
        with file.open(encoding="ascii") as lines:
            draw = _decode(lines.readline(MAX_DRAW_BYTES).encode())
            return draw, _entries((line.rstrip("\n") for line in lines), most=draw.size or 0)
    except OSError as error:
        raise NotChecked(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotChecked(f"{file} is not a saved draw") from None


def drop_address(url: str) -> str:
    """Where the API has the drop whose page is at `url`. Raises: NotChecked."""
    found = SLUG.search(urlsplit(url).path)
    if found is None or not is_address(url):
        raise NotChecked("the address has no /drops/NAME in it: give the address of the drop's page")
    return f"{_shop_address(url)}/api/v1/drops/{found[1]}"


def is_address(source: str) -> bool:
    """Whether a draw is read from a shop, and not from a file."""
    return source.startswith(("http://", "https://"))


def read_keys(client: httpx.Client, source: str) -> dict[str, Ed25519PublicKey]:
    """The public keys of the shop at an address, by their ids. Raises: NotChecked."""
    address = f"{_shop_address(source)}/api/v1/gate/keys"
    found = ask_document(client, address, KeysAnswer, most=MAX_KEYS_BYTES)
    try:
        return {key.kid: Ed25519PublicKey.from_public_bytes(_raw(key.x)) for key in found.keys}
    except ValueError:
        raise NotChecked(f"{address} has a key that is none") from None


def ask_document(client: httpx.Client, address: str, kind: type[D], *, most: int) -> D:
    """What a shop answers there, of at most so many bytes. Raises: NotChecked."""
    try:
        with client.stream("GET", address) as answer:
            if answer.status_code != 200:
                raise NotChecked(f"{address} answers {answer.status_code}")
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > most:
                    raise NotChecked(f"{address} answers more than {most:,} bytes")
        return msgspec.json.decode(body, type=kind)
    except httpx.HTTPError as error:
        raise NotChecked(f"{urlsplit(address).netloc} cannot be asked: {type(error).__name__}") from None
    except msgspec.MsgspecError as error:
        raise NotChecked(f"{address} answers something else than a proof or a draw: {error}") from None


def read_draw_only(source: str) -> DrawAnswer:
    """The draw at an address, without its entries. Raises: NotChecked."""
    with httpx.Client(timeout=TIMEOUT_S) as client:
        return ask_document(client, f"{drop_address(source)}/draw", DrawAnswer, most=MAX_DRAW_BYTES)


def _from_shop(url: str) -> tuple[DrawAnswer, list[bytes]]:
    drop = drop_address(url)
    try:
        with httpx.Client(timeout=TIMEOUT_S) as client:
            draw = ask_document(client, f"{drop}/draw", DrawAnswer, most=MAX_DRAW_BYTES)
            if draw.size is None:
                raise NotChecked("the draw is not over yet")
            return draw, _entries(_lines(client, f"{drop}/entries"), most=draw.size)
    except httpx.HTTPError as error:
        raise NotChecked(f"{urlsplit(url).netloc} cannot be asked: {type(error).__name__}") from None


def _lines(client: httpx.Client, url: str) -> Iterator[str]:
    """The lines of a list, page after page, all from the same shop."""
    following: str | None = url
    while following is not None:
        with client.stream("GET", following) as page:
            if page.status_code != 200:
                raise NotChecked(f"{following} answers {page.status_code}")
            yield from page.iter_lines()
            link = page.links.get("next", {}).get("url")
        following = None if link is None else urljoin(following, link)
        if following is not None and not following.startswith(f"{url}?"):
            raise NotChecked("the list goes on somewhere else")


def _entries(lines: Iterator[str], *, most: int) -> list[bytes]:
    """The entries; one more than the draw names is enough to know that there are too many."""
    entries = []
    for line in lines:
        entries.append(read_entry(line))
        if len(entries) > most:
            break
    return entries


def _shop_address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _raw(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _decode(raw: bytes) -> DrawAnswer:
    try:
        return msgspec.json.decode(raw, type=DrawAnswer)
    except msgspec.MsgspecError as error:
        raise NotChecked(f"this is not a draw: {error}") from None

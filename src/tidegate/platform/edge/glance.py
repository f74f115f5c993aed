"""Requests that are told apart at a glance, before the parser has seen them: enough to refuse one."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_BYTES = 16_384
"""Longest request that is looked at: whatever is longer is parsed."""
METHODS = frozenset({b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"})
KEPT = b"\r\nconnection: keep-alive\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,5})\r\n")


class Asked(NamedTuple):
    """A program's request as a glance shows it."""

    method: bytes
    target: bytes


def glance(data: bytes) -> Asked | None:
    """The request that `data` is, if it is one whole request of a program and there is nothing special about it.

    Whoever refuses it may forget `data`: for the parser it never came. So whatever another reader could take for a
    request of another length is left to the parser: a length written twice or in another way, a transfer coding.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or len(data) > MOST_BYTES:
        return None
    line_end = data.find(b"\r\n")
    words = data[:line_end].split(b" ")
    if len(words) != 3 or words[2] != b"HTTP/1.1":
        return None
    method, target = words[0], words[1]
    head = data[line_end : end + 2].lower()
    if method not in METHODS or b"transfer-encoding" in head or b"\r\nupgrade:" in head:
        return None
    if b"\r\nconnection" in head and head.count(b"\r\nconnection") != head.count(KEPT):
        return None
    if head.count(b"\n") != head.count(b"\r\n") or len(data) != end + 4 + _length(head):
        return None
    if not target.startswith(b"/api/") and (b"text/html" in head or not target.startswith(b"/")):
        return None
    return Asked(method, target)


def _length(head: bytes) -> int:
    """Bytes of the body; below zero where that is not plain."""
    found, told = LENGTH.search(head), head.count(b"content-length")
    if found is None or told > 1:
        return -1 if told else 0
    return int(found[1])

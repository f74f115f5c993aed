"""Lists as arrays of PostgreSQL, written fast: a batch's statements take dozens of them.

psycopg looks at each element on its own; a list whose elements are all of one of the types below is written in one go.
Integers are always `bigint[]`, so that one prepared statement does for all of them. Other lists go psycopg's way. The
layout is that of PostgreSQL's `array_recv`: dimensions, whether there are nulls, the elements' type, the length, the
first index; then each element after its length.
"""

from __future__ import annotations

from operator import attrgetter
from struct import Struct
from typing import Any, Final
from uuid import UUID

from psycopg import BaseConnection
from psycopg.adapt import Buffer, Dumper, PyFormat
from psycopg.errors import DataError
from psycopg.pq import Format
from psycopg.types.array import ListBinaryDumper

HEAD: Final = Struct("!iiIii")
LENGTH: Final = Struct("!i")
BIGINT: Final = Struct("!q")
LEAST, MOST = -(2**63), 2**63 - 1


class _ArrayDumper(Dumper):
    """A one-dimensional array without nulls."""

    format = Format.BINARY
    element_oid: int


class _Uuids(_ArrayDumper):
    oid, element_oid = 2951, 2950
    raw = attrgetter("bytes")

    def dump(self, obj: list[UUID]) -> Buffer:
        each = LENGTH.pack(16)
        return HEAD.pack(1, 0, self.element_oid, len(obj), 1) + each + each.join(map(_Uuids.raw, obj))


class _Bigints(_ArrayDumper):
    oid, element_oid = 1016, 20

    def dump(self, obj: list[int]) -> Buffer:
        if min(obj) < LEAST or max(obj) > MOST:
            raise DataError("an integer beyond bigint cannot be an element of bigint[]")
        each = LENGTH.pack(8)
        return HEAD.pack(1, 0, self.element_oid, len(obj), 1) + each + each.join(map(BIGINT.pack, obj))


class _ByteStrings(_ArrayDumper):
    oid, element_oid = 1001, 17

    def dump(self, obj: list[bytes]) -> Buffer:
        parts = [HEAD.pack(1, 0, self.element_oid, len(obj), 1)]
        for value in obj:
            parts += (LENGTH.pack(len(value)), value)
        return b"".join(parts)


class _Texts(_ArrayDumper):
    oid, element_oid = 1009, 25

    def dump(self, obj: list[str]) -> Buffer:
        parts = [HEAD.pack(1, 0, self.element_oid, len(obj), 1)]
        for value in map(str.encode, obj):
            parts += (LENGTH.pack(len(value)), value)
        if any("\0" in value for value in obj):
            raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return b"".join(parts)


class _Flags(_ArrayDumper):
    oid, element_oid = 1000, 16

    def dump(self, obj: list[bool]) -> Buffer:
        each = LENGTH.pack(1)
        values = (b"\x01" if value else b"\x00" for value in obj)
        return HEAD.pack(1, 0, self.element_oid, len(obj), 1) + each + each.join(values)


FAST: Final[dict[type, type[_ArrayDumper]]] = {
    UUID: _Uuids,
    int: _Bigints,
    str: _Texts,
    bytes: _ByteStrings,
    bool: _Flags,
}


class _Lists(ListBinaryDumper):
    """Chooses the way of a list by the types of its elements."""

    def get_key(self, obj: list[Any], format: PyFormat) -> Any:
        kinds = set(map(type, obj))
        if len(kinds) == 1 and (kind := kinds.pop()) in FAST and not self.oid:
            return self.cls, kind, _ArrayDumper
        return super().get_key(obj, format)

    def upgrade(self, obj: list[Any], format: PyFormat) -> Any:
        kinds = set(map(type, obj))
        if len(kinds) == 1 and (fast := FAST.get(kinds.pop())) is not None and not self.oid:
            return fast(self.cls, self._tx)
        return super().upgrade(obj, format)


def write_lists_fast(conn: BaseConnection[Any]) -> None:
    """Make a connection write lists as told above."""
    conn.adapters.register_dumper(list, _Lists)

"""Lists as arrays of PostgreSQL, written fast: a batch's statements take dozens of them.

psycopg looks at each element on its own; a list whose elements are all of one of the types below is written in one go.
Integers are always `bigint[]`, so that one prepared statement does for all of them. Other lists go psycopg's way. The
layout is that of PostgreSQL's `array_recv`: dimensions, whether there are nulls, the elements' type, the length, the
first index; then each element after its length.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime
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
NULL: Final = LENGTH.pack(-1)
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL's: moments are microseconds since then."""
LEAST, MOST = -(2**63), 2**63 - 1


class _ArrayDumper(Dumper):
    """A one-dimensional array. `dump` takes lists without nulls, `dump_with_nulls` any."""

    format = Format.BINARY
    element_oid: int

    @abstractmethod
    def element(self, value: Any) -> bytes:
        """One value as the server takes it."""

    def dump_repeated(self, value: Any, count: int) -> bytes:
        """A list of one value and nothing else, as many of a sale's are."""
        raw = self.element(value)
        return HEAD.pack(1, 0, self.element_oid, count, 1) + (LENGTH.pack(len(raw)) + raw) * count

    def dump_with_nulls(self, obj: list[Any]) -> bytes:
        """A list some of whose elements are None."""
        parts = [HEAD.pack(1, 1, self.element_oid, len(obj), 1)]
        for value in obj:
            if value is None:
                parts.append(NULL)
            else:
                raw = self.element(value)
                parts += (LENGTH.pack(len(raw)), raw)
        return b"".join(parts)


class _Uuids(_ArrayDumper):
    oid, element_oid = 2951, 2950

    def element(self, value: UUID) -> bytes:
        return value.int.to_bytes(16)

    def dump(self, obj: list[UUID]) -> Buffer:
        each = LENGTH.pack(16)
        values = [value.int.to_bytes(16) for value in obj]
        return HEAD.pack(1, 0, self.element_oid, len(obj), 1) + each + each.join(values)


class _Bigints(_ArrayDumper):
    oid, element_oid = 1016, 20

    def element(self, value: int) -> bytes:
        _check_range(value, value)
        return BIGINT.pack(value)

    def dump(self, obj: list[int]) -> Buffer:
        _check_range(min(obj), max(obj))
        each = LENGTH.pack(8)
        return HEAD.pack(1, 0, self.element_oid, len(obj), 1) + each + each.join(map(BIGINT.pack, obj))


class _ByteStrings(_ArrayDumper):
    oid, element_oid = 1001, 17

    def element(self, value: bytes) -> bytes:
        return value

    def dump(self, obj: list[bytes]) -> Buffer:
        parts = [HEAD.pack(1, 0, self.element_oid, len(obj), 1)]
        for value in obj:
            parts += (LENGTH.pack(len(value)), value)
        return b"".join(parts)


class _Texts(_ArrayDumper):
    oid, element_oid = 1009, 25

    def element(self, value: str) -> bytes:
        if "\0" in value:
            raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return value.encode()

    def dump(self, obj: list[str]) -> Buffer:
        parts = [HEAD.pack(1, 0, self.element_oid, len(obj), 1)]
        for value in map(self.element, obj):
            parts += (LENGTH.pack(len(value)), value)
        return b"".join(parts)


class _Flags(_ArrayDumper):
    oid, element_oid = 1000, 16

    def element(self, value: bool) -> bytes:
        return b"\x01" if value else b"\x00"

    def dump(self, obj: list[bool]) -> Buffer:
        each = LENGTH.pack(1)
        values = (b"\x01" if value else b"\x00" for value in obj)
        return HEAD.pack(1, 0, self.element_oid, len(obj), 1) + each + each.join(values)


class _Moments(_ArrayDumper):
    """Moments of a time zone. In a batch most are the same."""

    oid, element_oid = 1185, 1184

    def element(self, value: datetime) -> bytes:
        since = value - EPOCH
        return BIGINT.pack((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)

    def dump(self, obj: list[datetime]) -> Buffer:
        each = LENGTH.pack(8)
        known = {value: self.element(value) for value in set(obj)}
        return HEAD.pack(1, 0, self.element_oid, len(obj), 1) + each + each.join(map(known.__getitem__, obj))


def _check_range(least: int, most: int) -> None:
    if least < LEAST or most > MOST:
        raise DataError("an integer beyond bigint cannot be an element of bigint[]")


FAST: Final[dict[type, type[_ArrayDumper]]] = {
    UUID: _Uuids,
    int: _Bigints,
    str: _Texts,
    bytes: _ByteStrings,
    bool: _Flags,
}


WRITERS: Final[dict[type, _ArrayDumper]] = {kind: dumper(list) for kind, dumper in FAST.items()} | {
    datetime: _Moments(list)
}
NOTHING: Final = type(None)


def array_of(values: list[Any]) -> tuple[int, Buffer | None] | None:
    """A list of one of these types, some of them None, as type and value of an array; None for others."""
    kinds = set(map(type, values))
    nulls = NOTHING in kinds and len(kinds) == 2
    if nulls:
        kinds.remove(NOTHING)
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    writer = WRITERS.get(kind)
    if writer is None or (kind is datetime and any(each is not None and each.tzinfo is None for each in values)):
        return None
    if nulls:
        return writer.oid, writer.dump_with_nulls(values)
    first, count = values[0], len(values)
    if first == values[-1] and values.count(first) == count:
        return writer.oid, writer.dump_repeated(first, count)
    return writer.oid, writer.dump(values)


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

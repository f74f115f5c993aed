"""Reading CSV in flat memory, past whatever is wrong with it.

A stray quote mark in a large file must cost the rows that it spoils, not the rest of the file and not the machine's
memory. So a row is bounded, and after a row that cannot be read the next one is looked for on the following line.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tidegate.catalog.contracts import RowError

FULL_CELLS_PER_ROW = 4
"""A row may be as large as so many cells of the largest size."""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row and the line (from 1) that it starts on."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    size: int
    """Bytes."""
    spoiled: str
    """Why the text cannot be trusted, empty if it can."""


class _RowTooLong(Exception):
    pass


class _Lines(Iterator[str]):
    """Lines of the source for csv.reader, with those of the current row kept so that they can be given back."""

    def __init__(self, source: BinaryIO, max_row_bytes: int, encoding: str) -> None:
        self._source = source
        self._encoding = encoding
        self._max_row_bytes = max_row_bytes
        self._waiting: deque[_Line] = deque()
        self._number = 0
        self._row_bytes = 0
        self.row: list[_Line] = []

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else self._read()
        if line is None:
            raise StopIteration
        self.row.append(line)
        self._row_bytes += line.size
        if self._row_bytes > self._max_row_bytes:
            raise _RowTooLong
        return line.text

    def start_row(self) -> None:
        """Forget the lines of the row before."""
        self.row = []
        self._row_bytes = 0

    def give_back(self) -> None:
        """Read all lines of the current row but the first again."""
        self._waiting.extendleft(reversed(self.row[1:]))

    def _read(self) -> _Line | None:
        raw = self._source.readline(self._max_row_bytes + 1)
        if not raw:
            return None
        self._number += 1
        size = len(raw)
        while len(raw) > self._max_row_bytes and not raw.endswith(b"\n"):
            raw = self._source.readline(self._max_row_bytes + 1)
        if size > self._max_row_bytes:
            return _Line(self._number, "", size, "")
        if self._number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        spoiled = f"a NUL character on line {self._number}" if b"\x00" in raw else ""
        try:
            return _Line(self._number, raw.decode(self._encoding), size, spoiled)
        except UnicodeDecodeError as error:
            reason = f"not {self._encoding.upper()} text (byte 0x{raw[error.start]:02x} on line {self._number})"
            return _Line(self._number, raw.decode(self._encoding, errors="replace"), size, reason)


def read_rows(
    source: BinaryIO, *, max_cell_bytes: int, delimiter: str = ",", encoding: str = "utf-8"
) -> Iterator[Row | RowError]:
    """The rows of a file (a byte order mark is fine); empty lines are passed over.

    What cannot be read as a row is answered as a RowError and reading goes on. `source` is read line by line, so
    `encoding` must be one in which a line break is one byte.
    """
    csv.field_size_limit(max_cell_bytes)
    lines = _Lines(source, max_cell_bytes * FULL_CELLS_PER_ROW, encoding)
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    while True:
        lines.start_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _RowTooLong) as error:
            yield RowError(lines.row[0].number, _reason(error, max_cell_bytes))
            lines.give_back()
            reader = csv.reader(lines, strict=True, delimiter=delimiter)
            continue
        first = lines.row[0].number
        spoiled = next((line.spoiled for line in lines.row if line.spoiled), "")
        if spoiled:
            yield RowError(first, spoiled)
        elif any(cells):
            yield Row(first, cells)


def _reason(error: Exception, max_cell_bytes: int) -> str:
    text = str(error)
    if isinstance(error, _RowTooLong) or "field larger" in text:
        return f"a cell is larger than {max_cell_bytes:,} bytes, or a quote mark is not closed"
    if "unexpected end" in text:
        return "a quote mark is not closed"
    if "expected after" in text:
        return "text follows a closing quote mark: a quote mark within a cell must be doubled"
    return text

"""Reading CSV past whatever is wrong with it."""

from __future__ import annotations

import csv
import io
import tracemalloc
from typing import BinaryIO, cast

from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog.contracts import RowError
from tidegate.catalog.csv_rows import Row, read_rows

LIMIT = 1_000
CELLS = st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)


def read(data: bytes, limit: int = LIMIT) -> list[Row | RowError]:
    return list(read_rows(io.BytesIO(data), max_cell_bytes=limit))


def written(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def cells(found: list[Row | RowError]) -> list[list[str]]:
    return [row.cells for row in found if isinstance(row, Row)]


def errors(found: list[Row | RowError]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in found if isinstance(row, RowError)]


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4).filter(any), max_size=8))
def test_what_was_written_is_read(rows: list[list[str]]) -> None:
    assert cells(read(written(rows))) == rows


@given(st.binary(max_size=400))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    found = read(data)
    assert all(1 <= row.line <= data.count(b"\n") + 1 for row in found)


def test_rows_know_the_line_that_they_start_on() -> None:
    found = read(b'\xef\xbb\xbfa,b\n"two\nlines",c\n\n,\nd,e\n')
    assert found == [Row(1, ["a", "b"]), Row(2, ["two\nlines", "c"]), Row(6, ["d", "e"])]


def test_a_byte_that_is_not_utf8_costs_its_row() -> None:
    found = read(b'a,b\n"x\ncaf\xe9",1\nc,d\n')
    assert cells(found) == [["a", "b"], ["c", "d"]]
    assert errors(found) == [(2, "not UTF-8 text (byte 0xe9 on line 3)")]


def test_an_unclosed_quote_costs_its_row_and_not_the_rest() -> None:
    rest = b"".join(b"%d,x\n" % n for n in range(2_000))
    found = read(b'a,b\n"never closed,1\n' + rest)
    assert len(cells(found)) == 2_001
    assert errors(found) == [(2, "a cell is larger than 1,000 bytes, or a quote mark is not closed")]
    found = read(b'a,b\n"never closed,1\nc,d\n')
    assert cells(found) == [["a", "b"], ["c", "d"]]
    assert errors(found) == [(2, "a quote mark is not closed")]


def test_quotes_within_plain_cells_are_letters() -> None:
    assert cells(read(b'Frame 7" small,1\nx,2\n')) == [['Frame 7" small', "1"], ["x", "2"]]
    assert errors(read(b'"Frame 7" small",1\nx,2\n'))[0][0] == 1


def test_a_cell_or_line_that_is_too_large_costs_its_row() -> None:
    found = read(b"a,b\n" + b"x" * 1_001 + b",1\nc,d\n" + b"y" * 9_000 + b"\ne,f")
    assert cells(found) == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert [line for line, _ in errors(found)] == [2, 4]


def test_a_nul_costs_its_row() -> None:
    found = read(b"a,b\nx\x00y,1\nc,d\n")
    assert cells(found) == [["a", "b"], ["c", "d"]]
    assert errors(found) == [(2, "a NUL character on line 2")]


def test_memory_stays_flat_over_a_large_broken_file() -> None:
    class Endless(io.RawIOBase):
        """1 MB full of unclosed quotes, made as it is read."""

        left = 1_000_000

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            size = min(len(buffer), self.left)
            buffer[:size] = (b'"open,' + b"x," * 30 + b"\n") * (size // 67) + b"\n" * (size % 67)
            self.left -= size
            return size

    tracemalloc.start()
    try:
        for _ in read_rows(cast(BinaryIO, io.BufferedReader(Endless())), max_cell_bytes=10_000):
            pass
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()

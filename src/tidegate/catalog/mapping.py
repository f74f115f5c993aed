"""Any other CSV: a small TOML file says which column means what."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidegate.catalog.contracts import UnusableFile, UnusableMapping
from tidegate.catalog.groups import FIELDS, OPTIONS, Listed
from tidegate.catalog.rules import clean_text

MAX_BYTES = 65_536
"""Largest mapping file."""
MAX_COLUMNS = 500
JOINED_MAX = 5
"""Most columns that make one field."""

Column = str | list[str]


class _File(BaseModel):
    """The tables of a mapping file."""

    model_config = ConfigDict(extra="forbid")

    columns: dict[str, Column]
    options: dict[str, str] = Field({}, max_length=len(OPTIONS))
    constants: dict[str, str] = {}
    header: list[str] = Field([], max_length=MAX_COLUMNS)
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    encoding: Literal["utf-8", "cp1252", "iso-8859-1", "iso-8859-15"] = "utf-8"


@dataclass(frozen=True, slots=True)
class Mapped:
    """How the columns of a file become fields; `columns` of one field are joined with a blank."""

    columns: Mapping[str, tuple[str, ...]]
    options: tuple[tuple[str, str], ...] = ()
    """Name of the option, column of its value."""
    constants: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    """Names of the columns of a file whose first row is a product already."""
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"

    @property
    def names(self) -> dict[str, str]:
        """The file's own words for the fields."""
        plain = {name: name for name in (*FIELDS, *OPTIONS, *(f"{place}_name" for place in OPTIONS))}
        mapped = {name: " and ".join(columns) for name, columns in self.columns.items()}
        return plain | mapped | {place: column for place, (_, column) in zip(OPTIONS, self.options, strict=False)}

    def places(self, found: Mapping[str, int]) -> dict[str, int]:
        """Column numbers by name. Raises: UnusableFile when the header lacks one that the mapping names."""
        named = [*(name for columns in self.columns.values() for name in columns), *(name for _, name in self.options)]
        missing = [name for name in dict.fromkeys(named) if clean_text(name).lower() not in found]
        if missing:
            raise UnusableFile(f"its header has no column {' and no column '.join(missing)}, which the mapping names")
        return {name: found[clean_text(name).lower()] for name in named}

    def rows(self, rows: Iterable[Listed]) -> Iterator[Listed]:
        """Rows whose cells are by column name, as rows by field."""
        for row in rows:
            cells = dict(self.constants)
            for name, columns in self.columns.items():
                cells[name] = " ".join(row.cells[column] for column in columns if row.cells[column])
            for place, (name, column) in zip(OPTIONS, self.options, strict=False):
                if value := row.cells[column]:
                    cells |= {f"{place}_name": name, place: value}
            if self.decimal == ",":
                cells |= {
                    name: cells[name].replace(".", "").replace(",", ".")
                    for name in ("price", "compare_at")
                    if name in cells
                }
            cells.setdefault("handle", cells["title"])
            yield Listed(row.line, cells)


def parse_mapping(data: bytes) -> Mapped:
    """The mapping that a TOML file describes. Raises: UnusableMapping, saying what to change."""
    if len(data) > MAX_BYTES:
        raise UnusableMapping(f"a mapping has up to {MAX_BYTES:,} bytes")
    try:
        read = _File.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnusableMapping(f"the mapping is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UnusableMapping(f"the mapping's {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    columns = {name: _columns(value) for name, value in read.columns.items()}
    _check(read, columns)
    return Mapped(
        columns=columns,
        options=tuple(read.options.items()),
        constants=read.constants,
        header=tuple(read.header),
        delimiter=read.delimiter,
        decimal=read.decimal,
        encoding=read.encoding,
    )


def _columns(value: Column) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _check(read: _File, columns: Mapping[str, Any]) -> None:
    unknown = sorted((set(columns) | set(read.constants)) - FIELDS)
    if unknown:
        raise UnusableMapping(f"the mapping names {unknown[0]!r}, which is none of {', '.join(sorted(FIELDS))}")
    twice = sorted(set(columns) & set(read.constants))
    if twice:
        raise UnusableMapping(f"the mapping takes {twice[0]} from a column and from a constant: keep one")
    for name in ("title", "price"):
        if name not in columns:
            raise UnusableMapping(f"the mapping must say which column is the {name}, under [columns]")
    for name, sources in columns.items():
        if not 1 <= len(sources) <= JOINED_MAX:
            raise UnusableMapping(f"{name} is made of 1 to {JOINED_MAX} columns")

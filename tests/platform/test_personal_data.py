"""The registry of personal data against the migrated schema."""

from __future__ import annotations

import re

import psycopg
import pytest

from tidegate.platform.personal_data import NOT_PERSONAL, PERSONAL_DATA, Kind

SOUNDS_PERSONAL = re.compile(
    r"mail|phone|mobile|address|street|postal|postcode|zip|city|shipping|billing|birth|gender|passw|fingerprint|"
    r"(^|_)(first|last|full|family|given|display|user)_?name|^name$|customer|contact|token|card|iban|(^|_)ip($|_)"
)


@pytest.fixture
def columns(database_url: str) -> dict[str, str]:
    """Every column of our schemas ("schema.table.column") and its type; partitions are their parents' business."""
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            """
            SELECT c.table_schema || '.' || c.table_name || '.' || c.column_name, c.data_type
            FROM information_schema.columns c
            JOIN pg_class r ON r.oid = format('%I.%I', c.table_schema, c.table_name)::regclass
            WHERE c.table_schema NOT IN ('information_schema', 'pg_catalog', 'public') AND NOT r.relispartition
            """
        ).fetchall()
    return {row[0]: row[1] for row in rows}


def test_every_sealed_or_fingerprinted_column_is_registered_and_the_other_way_round(columns: dict[str, str]) -> None:
    in_schema = {name for name in columns if name.endswith(("_sealed", "_fingerprint")) and name not in NOT_PERSONAL}
    assert in_schema == {column.name for column in PERSONAL_DATA}


def test_what_a_column_is_called_says_how_it_is_kept(columns: dict[str, str]) -> None:
    for column in PERSONAL_DATA:
        assert column.name.endswith(f"_{column.kind}")
        assert columns[column.name] == "bytea", f"{column.name} is not bytea"
        assert column.why


def test_no_other_column_sounds_as_if_it_held_personal_data(columns: dict[str, str]) -> None:
    known = {column.name for column in PERSONAL_DATA} | set(NOT_PERSONAL)
    suspicious = {name for name in columns if SOUNDS_PERSONAL.search(name.rsplit(".", 1)[1])} - known
    assert suspicious == set(), (
        "seal these columns and list them in tidegate.platform.personal_data.PERSONAL_DATA, "
        "or explain them in NOT_PERSONAL there"
    )


def test_explanations_are_of_columns_that_exist(columns: dict[str, str]) -> None:
    assert set(NOT_PERSONAL) <= set(columns)


def test_the_registry_is_sorted_and_knows_each_column_once() -> None:
    names = [column.name for column in PERSONAL_DATA]
    assert names == sorted(set(names))
    assert {column.kind for column in PERSONAL_DATA} == set(Kind)

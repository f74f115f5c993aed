"""A module's SQL touches the PostgreSQL schema of its own name and no other.

Other modules are asked through their front doors. The books (`books.py`) may read everything, since an invariant spans
modules; they may write nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import MIGRATIONS, PACKAGE, modules

STATEMENT = re.compile(
    r"\A[\s(]*(?:--[^\n]*\n\s*)*"
    r"(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|TRUNCATE|COPY|LOCK|MERGE|CALL|GRANT|REVOKE|REFRESH|ANALYZE|TABLE)\b",
    re.IGNORECASE,
)
CLAUSE = r"(?:\b(?:FROM|JOIN|INTO|UPDATE|TABLE|ONLY|USING|REFERENCES|TRUNCATE|COPY)\s+|\bNEXTVAL\s*\(\s*')"
WRITE = re.compile(r"\b(?:INSERT|UPDATE|DELETE|TRUNCATE|MERGE|ALTER|DROP|CREATE|COPY|LOCK)\b")


def literals(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each string of a program; an f-string with `?` for what is filled in, and no docstrings."""
    tree = ast.parse(source)
    passed_over = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed_over |= {id(part) for part in node.values}
            parts = [str(part.value) if isinstance(part, ast.Constant) else "?" for part in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
            yield node.lineno, node.value


def schemas_in(text: str, known: frozenset[str]) -> set[str]:
    """Known schemas that a string names, when it is SQL: a statement, or a piece such as `FROM catalog.prices`."""
    name = rf"(?<![\w.\"])\"?({'|'.join(sorted(known))})\"?\s*\.\s*\"?[a-z_?{{]"
    if STATEMENT.match(text):
        return set(re.findall(name, text))
    return set(re.findall(CLAUSE + name, text, re.IGNORECASE))


def trespasses(source: str, *, module: str, known: frozenset[str], may_read: bool = False) -> list[str]:
    """`line N: schema` for each use of a schema other than the module's own."""
    found = []
    for line, text in literals(source):
        foreign = schemas_in(text, known) - {module}
        if foreign and not (may_read and not WRITE.search(text)):
            found += [f"line {line}: {schema}" for schema in sorted(foreign)]
    return found


def known_schemas() -> frozenset[str]:
    """Every module may have a schema; the migrations say which do."""
    created = (
        re.findall(r"CREATE SCHEMA (?:IF NOT EXISTS )?(\w+)", file.read_text()) for file in MIGRATIONS.glob("*.sql")
    )
    return frozenset(modules()) | {schema for schemas in created for schema in schemas}


@pytest.mark.parametrize("module", modules())
def test_a_module_touches_its_own_schema_only(module: str) -> None:
    known = known_schemas()
    found = {
        str(file.relative_to(PACKAGE)): trespasses(
            file.read_text(), module=module, known=known, may_read=file.name == "books.py"
        )
        for file in sorted((PACKAGE / module).rglob("*.py"))
    }
    assert not {file: lines for file, lines in found.items() if lines}, "ask the other module through its front door"


@pytest.mark.parametrize("file", sorted(MIGRATIONS.glob("*.sql")), ids=lambda file: file.stem)
def test_a_migration_touches_the_schema_in_its_name_only(file: Path) -> None:
    statements = re.sub(r"--[^\n]*", "", file.read_text())
    module = file.stem.split("_")[1]
    assert module in modules(), "name a migration NNNN_<module>[_what].sql"
    foreign = re.findall(rf"(?<![\w.])({'|'.join(known_schemas())})\s*\.\s*\w", statements)
    assert set(foreign) <= {module}


KNOWN = frozenset({"catalog", "inventory", "checkout"})


@pytest.mark.parametrize(
    "source",
    [
        'await conn.execute("SELECT 1 FROM inventory.stock")',
        'await conn.execute("SELECT 1 FROM catalog.prices p JOIN inventory.stock s USING (variant_id)")',
        'await conn.execute("SELECT 1 FROM catalog.prices, inventory.stock")',
        'await conn.execute("UPDATE inventory.stock SET held = 0")',
        'await conn.execute("INSERT INTO inventory.stock VALUES (1)")',
        'await conn.execute("DELETE FROM ONLY inventory.stock")',
        'await conn.execute("TRUNCATE inventory.stock")',
        'await conn.execute("COPY inventory.stock FROM STDIN")',
        "await conn.execute(\"SELECT nextval('inventory.ids')\")",
        'await conn.execute(\'SELECT 1 FROM "inventory"."stock"\')',
        'QUERY = """\n    -- why\n    WITH a AS (SELECT 1) SELECT * FROM inventory.stock"""',
        "PART = \"nextval('inventory.ids')\"",
        'PART = "left join inventory.stock using (variant_id)"',
        'await conn.execute(f"SELECT {columns} FROM inventory.stock")',
        'await conn.execute(f"SELECT 1 FROM inventory.{table}")',
        'await conn.execute(SQL("SELECT 1 FROM " "inventory.stock"))',
    ],
)
def test_it_fires_on_a_foreign_schema(source: str) -> None:
    assert [found.split(": ")[1] for found in trespasses(source, module="catalog", known=KNOWN)] == ["inventory"]


@pytest.mark.parametrize(
    "source",
    [
        'await conn.execute("SELECT price FROM catalog.prices WHERE inventory = 1")',
        'await conn.execute("SELECT inventory_policy FROM catalog.variants")',
        '"""Reads what `SELECT 1 FROM inventory.stock` would."""',
        'raise StartupError("run tidegate.inventory.stock first")',
        'log.info("inventory.hold_expired")',
        'TEXT = "Prices depend on inventory.stock, see the manual of inventory.stock."',
    ],
)
def test_it_lets_pass_what_is_no_trespass(source: str) -> None:
    assert trespasses(source, module="catalog", known=KNOWN) == []


def test_the_books_may_read_everything_and_write_nothing() -> None:
    read = 'BOOK = "SELECT 1 FROM inventory.stock"'
    write = 'BOOK = "DELETE FROM inventory.stock"'
    assert trespasses(read, module="checkout", known=KNOWN, may_read=True) == []
    assert trespasses(write, module="checkout", known=KNOWN, may_read=True) == ["line 1: inventory"]

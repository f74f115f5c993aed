"""The fixtures that all tests rely on."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from tests.as_new import made_as_new, state_of
from tests.order import FIRST_SHOP, LONG, OWN_SHOP, long_files_first, together
from tests.servers import TestCluster
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings, current_settings


async def test_a_database_is_migrated_and_private(database: Database) -> None:
    async with database.transaction() as conn:
        await conn.execute("CREATE TABLE public.scribble (id int)")
        row = await (await conn.execute("SELECT count(*) FROM public.alembic_version")).fetchone()
    assert row == (1,)


async def test_nothing_of_another_test_is_left(database: Database) -> None:
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT to_regclass('public.scribble')")).fetchone()
    assert row == (None,)


async def test_the_planner_knows_all_rows_of_migrations(database: Database) -> None:
    async with database.connection() as conn:
        unknown = await conn.execute(
            """
            SELECT oid::regclass::text FROM pg_class
            WHERE relkind = 'r' AND oid >= 16384 AND pg_relation_size(oid) > 0
            AND NOT EXISTS (SELECT FROM pg_statistic WHERE starelid = pg_class.oid)
            """
        )
        assert await unknown.fetchall() == [], "the server would learn of them, and no clone be as the others"


def test_settings_are_those_of_the_process(settings: Settings) -> None:
    assert current_settings() is settings
    assert settings.security.form_key.get_secret_value()


@pytest.fixture
def used_url(cluster: TestCluster) -> Iterator[str]:
    """A database to be changed."""
    url = cluster.clone()
    yield url
    cluster.drop(url)


def test_rows_and_sequences_of_a_test_are_gone_and_those_of_migrations_are_back(used_url: str) -> None:
    untouched = state_of(used_url)
    left_open = psycopg.connect(used_url)
    with psycopg.connect(used_url, autocommit=True) as conn:
        conn.execute("INSERT INTO catalog.products (id, slug, title) VALUES (uuidv7(), 'lamp', 'Lamp')")
        conn.execute("INSERT INTO accounts.people (id, role) VALUES (uuidv7(), 'guest')")
        conn.execute("UPDATE checkout.carriers SET name = 'Pigeon'")
        conn.execute("DELETE FROM catalog.tax_settings")
        conn.execute("SELECT nextval('checkout.order_sequence')")
        assert state_of(used_url) != untouched
    left_open.execute("SELECT 1 FROM catalog.products")
    assert made_as_new(used_url, untouched)
    assert state_of(used_url) == untouched
    with psycopg.connect(used_url) as conn:
        assert conn.execute("SELECT nextval('checkout.order_sequence')").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()


def test_a_database_of_another_shape_is_not_made_as_new(used_url: str) -> None:
    untouched = state_of(used_url)
    shapes = [untouched.shape]
    for change in (
        "CREATE TABLE public.scribble (id int)",
        "CREATE INDEX ON accounts.people (role)",
        "ALTER TABLE accounts.people ALTER role DROP NOT NULL",
        "ALTER TABLE catalog.products DISABLE TRIGGER products_revision",
        "ALTER TABLE accounts.people ADD CHECK (role <> 'king')",
        "CREATE OR REPLACE FUNCTION catalog.search_query(word text) RETURNS text LANGUAGE sql IMMUTABLE RETURN word",
        f"ALTER DATABASE {psycopg.conninfo.conninfo_to_dict(used_url)['dbname']} SET synchronous_commit = off",
        "ANALYZE checkout.carriers",
    ):
        with psycopg.connect(used_url, autocommit=True) as conn:
            conn.execute(change.encode())
        assert not made_as_new(used_url, untouched)
        shapes.append(state_of(used_url).shape)
    assert len(set(shapes)) == len(shapes)


def test_shared_shops_come_first_then_long_files_and_what_needs_no_server_last(pytestconfig: pytest.Config) -> None:
    missing = [file for file in (*LONG, *FIRST_SHOP, *OWN_SHOP) if not (pytestconfig.rootpath / file).is_file()]
    assert missing == []
    items: list[Any] = [
        SimpleNamespace(nodeid=f"{file}::test_{number}", fixturenames=(fixture,))
        for file, fixture, count in (
            ("tests/web/test_forms.py", "", 9),
            ("tests/e2e/test_shop.py", "shop", 3),
            ("tests/e2e/test_cart.py", "shop", 2),
            ("tests/faults/test_keys.py", "sale", 2),
            ("tests/e2e/test_bad_input.py", "shop", 1),
            ("tests/e2e/test_rooms.py", "shop", 3),
            ("tests/e2e/test_access.py", "shop", 1),
            ("tests/catalog/test_few.py", "server_home", 2),
            ("tests/catalog/test_many.py", "server_home", 5),
            ("tests/ops/test_backup_shop.py", "new_shop", 1),
        )
        for number in range(count)
    ]
    given = [item.nodeid for item in items]
    long_files_first(items)
    assert [item.nodeid for item in items if "many" in item.nodeid] == [each for each in given if "many" in each]
    assert sorted(item.nodeid for item in items) == sorted(given)
    assert list(dict.fromkeys(item.nodeid.split("::")[0].rpartition("/")[2] for item in items)) == [
        "test_access.py", "test_rooms.py", "test_bad_input.py", "test_cart.py", "test_keys.py", "test_shop.py",
        "test_backup_shop.py", "test_many.py", "test_few.py", "test_forms.py",
    ]  # fmt: skip


def test_one_worker_takes_all_files_that_visit_a_shop() -> None:
    assert together("tests/e2e/test_access.py::test_x") == together("tests/e2e/test_rooms.py::test_y[1]")
    assert together("tests/faults/test_keys.py::test_x") == together("tests/faults/test_kills.py::test_x")
    assert together("tests/e2e/test_shop.py::test_x") == "tests/e2e/test_shop.py"
    assert together("tests/web/test_forms.py::test_x") == "tests/web/test_forms.py"

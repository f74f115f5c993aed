"""The fixtures that all tests rely on."""

from __future__ import annotations

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


def test_settings_are_those_of_the_process(settings: Settings) -> None:
    assert current_settings() is settings
    assert settings.security.form_key.get_secret_value()

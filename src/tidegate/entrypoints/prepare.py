"""Between the servers and the sites: migrations, the administrator's account, demo data."""

from __future__ import annotations

import asyncio
import json
import time

import psycopg
from psycopg.errors import CannotConnectNow, InvalidPassword

from tidegate.migrations.run import pending, upgrade
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

RETRY_S = 0.05
CONNECT_TIMEOUT_S = 5


def prepare(settings: Settings) -> str:
    """Make the database fit for the sites; JSON with what to tell the person who started the shop.

    Waits for the server, which may be starting. Raises: StartupError when it does not come, refuses us or is newer.
    """
    wait_for_database(settings.require_database_url(), timeout_s=settings.supervisor.start_timeout_s)
    migrate_database(settings)
    from tidegate.accounts import ADMIN_EMAIL
    from tidegate.entrypoints import admin_account

    password = admin_account.ensure(settings)
    notes = [_load_demo(settings)] if settings.demo else []
    administrator = f"{ADMIN_EMAIL}, password {password} (shown this once)" if password else ""
    return json.dumps({"administrator": administrator, "notes": notes})


def migrate_database(settings: Settings) -> bool:
    """Run pending migrations; whether there were any. Raises: StartupError when the database is newer or away."""
    url = settings.require_database_url()
    try:
        changes = pending(url)
        upgrade(url, partitions_ahead_months=settings.database.partitions_ahead_months)
    except psycopg.OperationalError as error:
        raise StartupError(f"no answer from PostgreSQL: {_first_line(error)}") from None
    return changes


def wait_for_database(url: str, *, timeout_s: float) -> None:
    """Return when PostgreSQL takes connections. Raises: StartupError when it does not in time, or refuses us."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
            return
        except psycopg.OperationalError as error:
            refused = isinstance(error, InvalidPassword) or (
                error.sqlstate is not None and not isinstance(error, CannotConnectNow)
            )
            if refused or "authentication failed" in str(error) or time.monotonic() > deadline:
                raise StartupError(f"no answer from PostgreSQL: {_first_line(error)}") from None
        time.sleep(RETRY_S)


def _load_demo(settings: Settings) -> str:
    from tidegate.entrypoints import demo

    notes = asyncio.run(demo.load(settings))
    opens_at = notes.opens_at.astimezone()
    return f"The drop {notes.drop_title} opens at {opens_at:%H:%M:%S}: {settings.base_url}{notes.drop_path}"


def _first_line(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

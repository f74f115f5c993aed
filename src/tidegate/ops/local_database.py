"""The shop's database for the length of a command, also while no shop runs: then the embedded one is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tidegate.ops.home import claimed_home
from tidegate.ops.leftovers import end_leftovers
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running
from tidegate.platform.problems import StartupError
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import Settings, load_settings


@contextmanager
def database_at_hand(settings: Settings, *, may_make: bool) -> Iterator[Settings]:
    """Settings that name a database which answers: the running shop's, the configured one, or the embedded one.

    With `may_make` an embedded database that is not there yet is made. Must be entered in the main thread.
    Raises: StartupError.
    """
    if settings.database_url.get_secret_value():
        yield settings
        return
    folder = settings.home.absolute()
    if not may_make and not (folder / "postgres" / "data").exists():
        raise StartupError(
            f"there is no shop in TIDEGATE_HOME {folder}: start it with `tidegate up`, or set TIDEGATE_DATABASE_URL"
        )
    with claimed_home(folder) as home:
        if home.was_killed:
            end_leftovers(home.path)
        server = EmbeddedPostgres(
            home.path / "postgres", load_or_create(home.path)["database_password"], settings.database
        )
        with running(server, log=home.logs / "postgres.log"):
            yield load_settings(home=home.path, database_url=server.url())

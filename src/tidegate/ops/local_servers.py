"""The database and the Valkey of a process that runs by itself: those that the settings name, else embedded ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tidegate.ops.home import claimed_home
from tidegate.ops.leftovers import end_leftovers
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import Settings, load_settings


@contextmanager
def servers_at_hand(settings: Settings) -> Iterator[Settings]:
    """Settings that name a database and a Valkey which answer; embedded ones are made where none is named.

    Must be entered in the main thread. Raises: StartupError.
    """
    urls = {name: getattr(settings, name).get_secret_value() for name in ("database_url", "valkey_url")}
    named = {name: url for name, url in urls.items() if url}
    if named == urls:
        yield settings
        return
    with ExitStack() as stack:
        home = stack.enter_context(claimed_home(settings.home.absolute()))
        if home.was_killed:
            end_leftovers(home.path)
        secrets = load_or_create(home.path)
        if "database_url" not in named:
            postgres = EmbeddedPostgres(home.path / "postgres", secrets["database_password"], settings.database)
            stack.enter_context(running(postgres, log=home.logs / "postgres.log"))
            named["database_url"] = postgres.url()
        if "valkey_url" not in named:
            valkey = EmbeddedValkey(home.path / "valkey", secrets["valkey_password"], settings.cache)
            stack.enter_context(running(valkey, log=home.logs / "valkey.log"))
            named["valkey_url"] = valkey.url()
        yield load_settings(home=home.path, **named)

"""The command line: every command of Tidegate, each importing what it needs only when it runs."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.platform.bytecode import use_cache
from tidegate.platform.problems import StartupError

if TYPE_CHECKING:
    import typer

STARTUP_FAILED = 2
"""Exit code when something outside must be mended first; the reason is one line on stderr."""


@contextmanager
def importing() -> Iterator[None]:
    """No garbage collection meanwhile: nothing that is imported is garbage, and looking takes a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def serve_site() -> None:
    """One site process: all pages and the JSON API."""
    with importing():
        from tidegate.entrypoints.site import serve
        from tidegate.platform.settings import current_settings

    _wait_at_gate()
    serve(current_settings())


def serve_checkout() -> None:
    """One process of a shop that only sells: holds, orders, payments and their pages, beside the site."""
    with importing():
        from tidegate.entrypoints.parts import CHECKOUT, serve
        from tidegate.platform.settings import current_settings

    _wait_at_gate()
    serve(CHECKOUT, current_settings())


def serve_shop_gate() -> None:
    """The waiting rooms of a shop's own drops, as a process beside its site."""
    with importing():
        from tidegate.entrypoints.parts import GATE, serve
        from tidegate.platform.settings import current_settings

    _wait_at_gate()
    serve(GATE, current_settings())


def serve_gate() -> None:
    """Waiting rooms on their own, before shops elsewhere; with a PostgreSQL of its own unless the settings name one."""
    with importing():
        from tidegate.entrypoints.gate import serve

    serve()


def serve_notify() -> None:
    """Messages of any application, on their own; with servers of its own unless the settings name others."""
    with importing():
        from tidegate.entrypoints.notify import serve

    serve()


def work(*, lanes: Sequence[str] | None = None, processes: int | None = None) -> None:
    """Celery processes that handle events and deliver messages, of all lanes unless some are named."""
    with importing():
        from tidegate.entrypoints.worker import serve
        from tidegate.platform.settings import current_settings

    serve(current_settings(), lanes=lanes, processes=processes)


def schedule() -> None:
    """The outbox relay and everything that happens by itself: expiry, reconciliation, partitions."""
    with importing():
        from tidegate.entrypoints.scheduler import serve
        from tidegate.platform.settings import current_settings

    serve(current_settings())


def catch_mail() -> None:
    """A mail server for development: it sends nothing and shows all mails at /dev/mail."""
    with importing():
        from tidegate.entrypoints.mail_catcher import serve
        from tidegate.platform.settings import current_settings

    serve(current_settings())


def run_gateway() -> None:
    """The sandbox as a process of its own, at TIDEGATE_PAYMENTS__SANDBOX_URL."""
    with importing():
        from tidegate.entrypoints.gateway import serve
        from tidegate.platform.settings import current_settings

    serve(current_settings())


def prepare_shop() -> None:
    """What `up` does before the sites start: migrations, the administrator's account, demo data; told as JSON."""
    with importing():
        from tidegate.entrypoints.prepare import prepare
        from tidegate.platform.settings import current_settings

    sys.stdout.write(prepare(current_settings()) + "\n")


CHILDREN: Mapping[tuple[str, ...], Callable[[], None]] = {
    ("serve", "site"): serve_site,
    ("serve", "checkout"): serve_checkout,
    ("serve", "gate", "--shop"): serve_shop_gate,
    ("worker",): work,
    ("scheduler",): schedule,
    ("mail-catcher",): catch_mail,
    ("gateway",): run_gateway,
    ("prepare",): prepare_shop,
}
"""What `up` starts. They skip the command line's own imports: five processes at once pay for each."""


def _wait_at_gate() -> None:
    """Return when `up` has prepared the database; everything is imported by then."""
    gate = os.environ.pop("TIDEGATE_GATE_FD", "")
    if gate:
        os.read(int(gate), 1)
        os.close(int(gate))


def in_full(arguments: Sequence[str]) -> list[str]:
    """`import FILE` is short for `import products FILE`."""
    first, *rest = arguments or [""]
    if first == "import" and rest and rest[0] != "products" and "--help" not in rest:
        return ["import", "products", *rest]
    return list(arguments)


def _run_typed() -> None:
    """Run what somebody typed. Mistyped arguments are one line too; a command that lacks its own shows its help."""
    from typer.exceptions import TyperException

    from tidegate.entrypoints.commands import make_app

    arguments = in_full(sys.argv[1:])
    app: typer.Typer = make_app(arguments)
    try:
        sys.exit(app(arguments, standalone_mode=False))
    except TyperException as error:
        if message := error.format_message():  # empty where help was shown
            sys.stderr.write(f"tidegate: {message.rstrip('.')}; `--help` tells what there is\n")
        sys.exit(STARTUP_FAILED)


def main() -> None:
    """Run the command that the arguments name. Expected failures are one line on stderr and exit code 2."""
    use_cache(Path(os.environ.get("TIDEGATE_HOME") or ".tidegate"))
    try:
        child = CHILDREN.get(tuple(sys.argv[1:]))
        if child is not None:
            child()
        else:
            _run_typed()
    except StartupError as error:
        sys.stderr.write(f"tidegate: {error}\n")
        sys.exit(STARTUP_FAILED)
    finally:
        gc.freeze()  # the system takes everything back at once: to look for cycles in it first takes half a second

"""The commands that people type, as Typer knows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from tidegate import __version__
from tidegate.entrypoints import cli

OWN_COMMANDS = {"up", "migrate", "worker", "scheduler", "mail-catcher", "gateway", "serve", "prepare", "--version"}
"""Commands for which nothing else needs to be imported."""


def make_app(arguments: Sequence[str]) -> typer.Typer:
    """The application; the commands of modules are imported only when `arguments` may mean one of them."""
    app = typer.Typer(
        name="tidegate",
        help="A shop that stays up on the day everyone comes.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    app.command("up")(up)
    app.command("migrate")(migrate)
    serve = typer.Typer(help="Run one server process in the foreground.", no_args_is_help=True)
    serve.callback()(_servers)
    serve.command("site", help=cli.serve_site.__doc__)(cli.serve_site)
    serve.command("checkout", help=cli.serve_checkout.__doc__)(cli.serve_checkout)
    serve.command("gate", help=cli.serve_gate.__doc__)(serve_gate)
    serve.command("notify", help=cli.serve_notify.__doc__)(cli.serve_notify)
    app.add_typer(serve, name="serve")
    app.command("worker")(worker)
    app.command("scheduler", help=cli.schedule.__doc__)(cli.schedule)
    app.command("mail-catcher", help=cli.catch_mail.__doc__)(cli.catch_mail)
    app.command("gateway", help=cli.run_gateway.__doc__, hidden=True)(cli.run_gateway)
    app.command("prepare", help=cli.prepare_shop.__doc__, hidden=True)(cli.prepare_shop)
    if not arguments or arguments[0] not in OWN_COMMANDS:
        _add_merchants(app)
    return app


def _add_merchants(app: typer.Typer) -> None:
    """The commands of modules."""
    from tidegate.gate import cli as gate
    from tidegate.ops import cli as ops
    from tidegate.rehearse import cli as rehearse

    app.add_typer(ops.import_app, name="import")
    app.add_typer(ops.stock_app, name="stock")
    app.add_typer(ops.drop_app, name="drop")
    app.add_typer(ops.voucher_app, name="voucher")
    app.add_typer(ops.room_app, name="room")
    app.add_typer(ops.demo_app, name="demo")
    app.add_typer(ops.notify_app, name="notify")
    app.add_typer(rehearse.rehearse_app, name="rehearse")
    for name, command in (
        ("export", ops.export_command),
        ("verify-draw", gate.verify_draw_command),
        ("books", ops.books_command),
        ("init", ops.init_command),
        ("doctor", ops.doctor_command),
        ("scale", ops.scale_command),
        ("restart", ops.restart_command),
        ("backup", ops.backup_command),
        ("restore", ops.restore_command),
        ("plan", rehearse.plan_command),
    ):
        app.command(name)(command)


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Load the demo catalogue and open a demo drop two minutes from now.")
    ] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start the shop's processes again when the sources change.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the logs of all processes.")] = False,
    processes: Annotated[
        str,
        typer.Option(
            "--processes",
            metavar="KIND=N,...",
            help="How many processes of each kind: site=2,gate=1,checkout=2,worker=2. The settings say the rest.",
        ),
    ] = "",
) -> None:
    """Run the whole shop, with a PostgreSQL and a Valkey of its own unless the settings name others."""
    with cli.importing():
        from tidegate.ops import UpOptions, run_up

    run_up(UpOptions(demo=demo, reload=reload, verbose=verbose, processes=processes))


def serve_gate(
    shop: Annotated[
        bool, typer.Option("--shop", help="For the drops of the shop that these settings are of, beside its site.")
    ] = False,
) -> None:
    """Waiting rooms."""
    if shop:
        cli.serve_shop_gate()
    else:
        cli.serve_gate()


def worker(
    lane: Annotated[
        list[str] | None,
        typer.Option(
            "--lane",
            help="Work on this lane only: receipts, within_10s, within_1m or bulk. May be given several times; "
            "without it all lanes are worked on, the most urgent first.",
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Processes; TIDEGATE_JOBS__WORKER_PROCESSES by default.")
    ] = None,
) -> None:
    """Celery processes that handle events and deliver messages; one for urgent lanes only keeps them free of bulk."""
    cli.work(lanes=lane, processes=processes)


def migrate() -> None:
    """Bring the database to this version of Tidegate."""
    from tidegate.entrypoints.prepare import migrate_database
    from tidegate.platform.settings import current_settings

    changed = migrate_database(current_settings())
    typer.echo("The database was brought to this version." if changed else "The database is of this version already.")


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda asked: _show_version(asked=asked),
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Nothing to do: `--version` has left already."""


def _show_version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"tidegate {__version__}")
        raise typer.Exit


def _servers() -> None:
    """Keeps `serve site` two words long."""

"""`tidegate demo remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.ops.merchant_cli import AsJson, print_json, with_database
from tidegate.platform.database import Database
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from tidegate.ops.demo import DemoRemoved

demo_app = typer.Typer(help="What a demo leaves behind.", no_args_is_help=True)

STATEMENT_TIMEOUT_MS = 600_000


@demo_app.callback()
def _group() -> None:
    """Keep `demo remove` two words long."""


@demo_app.command("remove")
def demo_remove(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the demo's products and drop, and all orders, people and payments that met the sandbox only.

    Real orders stay, with their buyers and the products that they name: those are archived, and named here.
    """
    from tidegate.ops.local_database import database_at_hand  # seldom needed, and slow to import

    settings = load_settings()
    if settings.demo:
        raise StartupError(
            "the shop runs in demo mode and would make the demo again: stop it, then run this again;"
            " `tidegate up` starts it without the demo"
        )
    if not yes:
        typer.confirm("Remove the demo's products, and all orders and people of the sandbox?", abort=True)
    with database_at_hand(settings, may_make=False) as at_hand:
        removed, pictures = with_database(_removing, settings=at_hand)
    if as_json:
        print_json(_document(removed) | {"pictures": pictures})
    else:
        _print(removed)
        if pictures:
            typer.echo(f"Removed, too: the files of {_counted(pictures, 'picture')} that nothing shows any more.")


async def _removing(database: Database, settings: Settings) -> tuple[DemoRemoved, int]:
    """What was removed, and how many pictures went with it."""
    from tidegate.ops.demo import remove_demo, remove_demo_pictures

    async with database.transaction() as conn:
        await conn.execute("SELECT set_config('statement_timeout', %s, true)", (str(STATEMENT_TIMEOUT_MS),))
        removed = await remove_demo(conn)
    return removed, await remove_demo_pictures(database, settings)


def _print(removed: DemoRemoved) -> None:
    typer.echo(
        f"Removed: {_counted(removed.products, 'product')}, {_counted(removed.drops, 'drop')}, "
        f"{_counted(removed.orders, 'order')} of the sandbox, and {_counted(removed.people, 'buyer')} without another."
    )
    if removed.kept:
        typer.echo(f"Kept and archived, because real orders name them: {', '.join(removed.kept)}.")
    if removed.ledger_kept:
        typer.echo("Kept: the sandbox's ledger, because real orders were tried there first.")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _document(removed: DemoRemoved) -> dict[str, object]:
    return {
        "products": removed.products,
        "drops": removed.drops,
        "orders": removed.orders,
        "people": removed.people,
        "ledger_kept": removed.ledger_kept,
        "kept": list(removed.kept),
    }

"""`tidegate room`: a draw's value from outside, and the keys that the gate signs with."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate import gate
from tidegate.ops.merchant_cli import AsJson, Slug, print_json, with_database
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

room_app = typer.Typer(help="Put a value into a draw, and keep the keys of waiting rooms.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="As `tidegate room keys` names it.")]


@room_app.command("beacon")
def room_beacon(
    slug: Slug,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What was drawn in public, as everybody saw it.")],
    as_json: AsJson = False,
) -> None:
    """Put a value that nobody knew before into the draw of a drop whose room said that the staff give it.

    It can be given once, and not after the draw. Read it out in public first.
    """

    async def give(database: Database, _: Settings) -> gate.Room:
        async with database.transaction() as conn:
            return await gate.set_beacon(conn, slug=slug, value=value)

    room = with_database(give)
    if as_json:
        print_json({"slug": slug, "beacon": room.beacon})
    else:
        typer.echo(f"{slug}: the draw will be made with {room.beacon!r}")


@room_app.command("keys")
def room_keys(as_json: AsJson = False) -> None:
    """List the keys that are good, with their public halves; the one that signs is marked."""

    async def read(database: Database, _: Settings) -> gate.KeyRing:
        async with database.connection() as conn:
            return await gate.load_keys(conn)

    ring = with_database(read)
    if as_json:
        print_json({"signs": ring.signer.id, "keys": {key: raw.hex() for key, raw in ring.public_keys.items()}})
        return
    for key, raw in ring.public_keys.items():
        typer.echo(f"{key}  {raw.hex()}{'  signs' if key == ring.signer.id else ''}")


@room_app.command("rotate-key")
def room_rotate_key(as_json: AsJson = False) -> None:
    """Make a new key. It signs in a minute, when every process knows it; what older ones signed stays good."""

    async def make(database: Database, _: Settings) -> str:
        async with database.transaction() as conn:
            await gate.load_keys(conn)
            return await gate.make_key(conn)

    key = with_database(make)
    if as_json:
        print_json({"key": key})
    else:
        typer.echo(f"{key}: made; it signs in a minute")


@room_app.command("retire-key")
def room_retire_key(key: KeyId, as_json: AsJson = False) -> None:
    """Let nothing be good any more that a key signed. People who wait join again, and get their places back."""

    async def retire(database: Database, _: Settings) -> bool:
        async with database.transaction() as conn:
            return await gate.retire_key(conn, key_id=key)

    done = with_database(retire)
    if as_json:
        print_json({"key": key, "retired": done})
    else:
        typer.echo(f"{key}: retired" if done else f"{key}: no such key, or the last one: nothing was changed")
    if not done:
        raise typer.Exit(1)

"""`tidegate room`: rooms before shops elsewhere, a draw's value from outside, and the keys that the gate signs with."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from tidegate import gate
from tidegate.catalog import is_slug, parse_moment
from tidegate.ops.merchant_cli import AsJson, Moment, Slug, print_json, with_database
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.ids import DropId, new_id
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings, current_settings
from tidegate.web import form_key

room_app = typer.Typer(
    help="Waiting rooms: before shops elsewhere, a draw's value from outside, and keys.", no_args_is_help=True
)

MAX_NAME = 100
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="As `tidegate room keys` names it.")]


@room_app.command("beacon")
def room_beacon(
    slug: Slug,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What was drawn in public, as everybody saw it.")],
    as_json: AsJson = False,
) -> None:
    """Put a value that nobody knew before into the draw of a drop whose room said that the staff give it.

    Draw it in public right after the room has opened, not before, and type it in: it can be given once, and the lots
    wait for it for TIDEGATE_GATE__BEACON_STAFF_WAIT_S seconds.
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


@room_app.command("create")
def room_create(
    *,
    slug: Slug,
    title: Annotated[str, typer.Option(help="What people wait for, as they read it.")],
    shop: Annotated[str, typer.Option(metavar="URL", help="The shop before which it stands: https://shop.example.")],
    opens_at: Moment,
    lobby_minutes: Annotated[int, typer.Option(min=0, help="How long before that people can take a place.")] = 60,
    mode: Annotated[gate.RoomMode, typer.Option(help="Numbers by a draw among those waiting, or by arrival.")] = (
        gate.RoomMode.DRAW
    ),
    guests: Annotated[
        bool, typer.Option("--guests", help="Also for people whom the shop does not vouch for: one place a browser.")
    ] = False,
    per_buyer: Annotated[int, typer.Option(min=1, help="How many items each buyer may have.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Make a waiting room before a shop that is not Tidegate's, and print the shop's key for it, once."""
    if not is_slug(slug):
        raise StartupError(f"{slug!r} is no address of a room: small letters, digits and hyphens")
    origin = _origin(shop)
    key = gate.make_shop_key()

    async def create(database: Database, settings: Settings) -> gate.Room:
        async with database.transaction() as conn:
            opens = parse_moment(opens_at, now=await database_now(conn))
            room = await gate.create_room(
                conn,
                drop_id=DropId(new_id()),
                slug=slug,
                mode=mode,
                opens_at=opens,
                lobby_opens_at=opens - timedelta(minutes=lobby_minutes),
                guests=guests,
                beacon_source=settings.gate.beacon_url,
            )
            await gate.add_foreign_room(
                conn, room, title=title, shop=origin, shop_key=gate.ShopKey(key).public, per_buyer=per_buyer
            )
        return room

    room = with_database(create)
    address = f"{current_settings().base_url}/drops/{slug}/room"
    if as_json:
        print_json({"slug": slug, "drop": str(room.drop_id), "room": address, "key": key, "shop": origin})
        return
    typer.echo(f"room  {address}")
    typer.echo(f"drop  {room.drop_id}")
    typer.echo(f"key   {key}")
    typer.echo("The key is shown this once: keep it with the shop's secrets.")


@room_app.command("list")
def room_list(as_json: AsJson = False) -> None:
    """Show rooms that are not closed: phase, people, the pace, and what is left."""

    async def read(database: Database, settings: Settings) -> list[gate.RoomView]:
        async with database.connection() as conn:
            found = await gate.live_rooms(conn, limit=settings.gate.rooms_max)
            views = [await gate.view_room(conn, slug=room.slug, settings=settings.admission) for room in found]
        return [view for view in views if view is not None]

    views = with_database(read)
    if as_json:
        print_json({"rooms": [_room_document(view) for view in views]})
        return
    for view in views:
        typer.echo(_room_line(view))
    if not views:
        typer.echo("There are no rooms.")


@room_app.command("lead")
def room_lead(
    slug: Slug,
    pause: Annotated[
        bool | None, typer.Option("--pause/--go-on", help="Let nobody in for now, or go on.", show_default=False)
    ] = None,
    per_min: Annotated[
        int | None,
        typer.Option(min=0, help="Let at most so many people in per minute; 0: as many as the loop decides."),
    ] = None,
    say: Annotated[str | None, typer.Option(help="Tell this to all who wait; an empty text takes it back.")] = None,
    close: Annotated[bool, typer.Option("--close", help="End the room for good.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pause a room, limit its speed, tell those who wait something, or close it."""

    async def lead(database: Database, settings: Settings) -> gate.RoomView | None:
        async with database.transaction() as conn:
            if pause is not None:
                await gate.pause_room(conn, slug=slug, paused=pause)
            if per_min is not None:
                await gate.limit_speed(conn, slug=slug, per_min=per_min or None)
            if say is not None:
                await gate.tell_waiting(conn, slug=slug, message=say)
            if close:
                await gate.close_room(conn, slug=slug)
            return await gate.view_room(conn, slug=slug, settings=settings.admission)

    view = with_database(lead)
    if view is None:
        raise StartupError(f"there is no waiting room for {slug}: `tidegate room list` shows what there is")
    if as_json:
        print_json(_room_document(view))
    else:
        typer.echo(_room_line(view))


@room_app.command("staff")
def room_staff(
    name: Annotated[str, typer.Option(help="Who signs in: log lines tell the same person by it.")] = "staff",
    as_json: AsJson = False,
) -> None:
    """Print the address that signs one of the staff in to a gate on its own. It is good for ten minutes.

    Run it with the settings that the gate runs with: it is made with the gate's key, and nothing is stored.
    """
    settings = current_settings()
    if not 1 <= len(name) <= MAX_NAME:
        raise StartupError(f"give a name of 1 to {MAX_NAME} characters")
    tokens = gate.VisitorTokens(form_key(settings.security), days=settings.accounts.session_days)
    key = tokens.make_staff_key(name, now_s=time.time())
    address = f"{settings.base_url}/login?key={key}"
    if as_json:
        print_json({"address": address, "key": key})
    else:
        typer.echo(address)


def _origin(text: str) -> str:
    """The origin of an address, in small letters. Raises: StartupError."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise StartupError(f"{text!r} is no address of a shop: write it as https://shop.example")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _room_document(view: gate.RoomView) -> dict[str, Any]:
    room = view.room
    return {
        "slug": room.slug,
        "phase": room.phase.value,
        "paused": room.paused,
        "waiting": view.waiting,
        "inside": view.inside,
        "spent": view.spent,
        "no_shows": view.absent,
        "left": room.stock_left,
        "per_s": round(room.pace_per_s, 1),
        "speed_limit_per_min": view.speed_limit_per_min,
        "message": room.message,
    }


def _room_line(view: gate.RoomView) -> str:
    """What there is to say of a room, in one line."""
    return ", ".join(f"{name} {value}" for name, value in _room_document(view).items() if value not in (None, ""))

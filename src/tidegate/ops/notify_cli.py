"""`tidegate notify`: keys of applications, bounces that come as mails, addresses not written to, archived months."""

from __future__ import annotations

import sys
from typing import Annotated, Final
from uuid import UUID

import typer

from tidegate import notify
from tidegate.ops.archives_cli import archive_app
from tidegate.ops.merchant_cli import AsJson, print_json, with_database
from tidegate.platform.database import Database
from tidegate.platform.ids import new_id, parse_id
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

TRY_LATER: Final = 75
"""Exit code that makes a mail server keep a mail and try again (EX_TEMPFAIL of sysexits.h)."""

LISTED: Final = 200

notify_app = typer.Typer(
    help="Messages of applications: keys, bounces, suppressed addresses, archives.", no_args_is_help=True
)
key_app = typer.Typer(help="Access keys of applications.", no_args_is_help=True)
suppression_app = typer.Typer(help="Addresses that are not written to any more.", no_args_is_help=True)
notify_app.add_typer(key_app, name="key")
notify_app.add_typer(suppression_app, name="suppression")
notify_app.add_typer(archive_app, name="archive")
provider_app = typer.Typer(help="Mail providers that sign what they say of mails.", no_args_is_help=True)
notify_app.add_typer(provider_app, name="provider")

Provider = Annotated[str, typer.Argument(metavar="NAME", help="The provider's name: a-z, digits, hyphens.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="An e-mail address.")]


@key_app.command("create")
def key_create(
    application: Annotated[
        str, typer.Option(help="The application's name: a-z, digits, hyphens. It is made where it is new.")
    ] = "",
    role: Annotated[
        notify.KeyRole,
        typer.Option(
            help="sender: all of an application's; reader: looks only; receipts: a mail provider's; "
            "operator: all that staff of a shop can do with messages."
        ),
    ] = notify.KeyRole.SENDER,
    label: Annotated[str, typer.Option(help="What it is for, as `list` shows it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make an access key. It is shown this once: only a hash of it is kept."""

    async def create(database: Database, _: Settings) -> notify.NewKey:
        async with database.transaction() as conn:
            return await notify.create_key(conn, application=application, role=role, label=label)

    made = with_database(create)
    if as_json:
        print_json({"id": str(made.key_id), "key": made.token})
    else:
        typer.echo(f"id   {made.key_id}\nkey  {made.token}  (shown this once)")


@key_app.command("list")
def key_list(as_json: AsJson = False) -> None:
    """List the newest keys, also those that were revoked."""

    async def read(database: Database, _: Settings) -> list[notify.AccessKey]:
        async with database.connection() as conn:
            return list(await notify.list_keys(conn, limit=LISTED))

    keys = with_database(read)
    if as_json:
        document = [
            {
                "id": str(key.key_id),
                "application": key.application,
                "role": key.role,
                "label": key.label,
                "created_at": key.created_at.isoformat(),
                "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
            }
            for key in keys
        ]
        print_json({"keys": document})
        return
    for key in keys:
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else f"since {key.created_at:%Y-%m-%d}"
        typer.echo("  ".join((str(key.key_id), key.application or "-", key.role, state, key.label)).rstrip())
    if not keys:
        typer.echo("There are no keys: `tidegate notify key create --application NAME` makes one.")


@key_app.command("revoke")
def key_revoke(key: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """Have a key be good for nothing from now on."""
    key_id = parse_id(key)

    async def revoke(database: Database, _: Settings) -> None:
        async with database.transaction() as conn:
            await notify.revoke_key(conn, key_id=key_id or UUID(int=0))

    with_database(revoke)
    typer.echo("The key is revoked.")


@provider_app.command("create")
def provider_create(name: Provider) -> None:
    """Make a secret with which a provider signs; a known one's takes the place of the last. It is shown this once."""

    async def create(database: Database, settings: Settings) -> notify.SignerSecret:
        async with database.transaction() as conn:
            hours = settings.webhooks.rotation_hours
            return await notify.make_signer(conn, slug=name, rotation_hours=hours, request_key=str(new_id()))

    typer.echo(f"secret  {with_database(create).secret}  (shown this once)")


@provider_app.command("list")
def provider_list() -> None:
    """List the providers that sign."""

    async def read(database: Database, _: Settings) -> list[notify.Signer]:
        async with database.connection() as conn:
            return list(await notify.list_signers(conn))

    for each in with_database(read):
        said = f"last report {each.last_said_at:%Y-%m-%d %H:%M}" if each.last_said_at else "no report yet"
        typer.echo(f"{each.slug}  since {each.created_at:%Y-%m-%d}  {said}")


@provider_app.command("remove")
def provider_remove(name: Provider) -> None:
    """Believe a provider's signatures no more."""

    async def remove(database: Database, _: Settings) -> None:
        async with database.transaction() as conn:
            await notify.remove_signer(conn, slug=name)

    with_database(remove)
    typer.echo("The provider is removed.")


@notify_app.command("bounce")
def bounce() -> None:
    """Read one mail from standard input: a bounce (RFC 3464) or a complaint (RFC 5965) about a mail of ours.

    Exit code: 0, also for a mail that reports of nothing of ours, and 75, "try again later", when the database is away.
    """
    receipts = notify.read_report(sys.stdin.buffer.read(notify.MAX_REPORT_BYTES))

    async def record(database: Database, _: Settings) -> notify.Recorded:
        async with database.transaction() as conn:
            return await notify.record_receipts(conn, receipts)

    try:
        noted = with_database(record).noted if receipts else 0
    except StartupError as error:
        typer.echo(f"tidegate: {error}", err=True)
        raise typer.Exit(TRY_LATER) from None
    said = ", ".join(f"{each.kind} {each.detail}".strip() for each in receipts)
    typer.echo(f"noted: {said}" if noted else "nothing noted: it reports of no mail of ours")


@suppression_app.command("show")
def suppression_show(address: Address, as_json: AsJson = False) -> None:
    """Why an address is not written to."""

    async def find(database: Database, _: Settings) -> list[notify.Suppression]:
        async with database.connection() as conn:
            return list(await notify.find_suppressions(conn, email=address))

    found = with_database(find)
    if as_json:
        reasons = [
            {"reason": each.reason, "detail": each.detail, "since": each.created_at.isoformat()} for each in found
        ]
        print_json({"reasons": reasons})
        return
    for each in found:
        typer.echo("  ".join((each.reason, f"since {each.created_at:%Y-%m-%d}", each.detail)).rstrip())
    if not found:
        typer.echo("This address is written to.")


@suppression_app.command("add")
def suppression_add(address: Address, why: Annotated[str, typer.Option(help="Who asked for it; it is kept.")]) -> None:
    """Write no more to an address, but links that somebody asks for."""

    async def stop(database: Database, _: Settings) -> None:
        async with database.transaction() as conn:
            await notify.stop_address(conn, email=address, why=why, by=None)

    with_database(stop)
    typer.echo("This address is not written to any more.")


@suppression_app.command("lift")
def suppression_lift(
    address: Address,
    why: Annotated[str, typer.Option(help="What has changed; it is kept.")] = "lifted by the command line",
) -> None:
    """Write to an address again. What was suppressed meanwhile is not sent."""

    async def lift(database: Database, _: Settings) -> int:
        async with database.transaction() as conn:
            return await notify.lift_suppressions(conn, email=address, why=why, by=None)

    typer.echo("This address is written to again." if with_database(lift) else "This address was written to before.")

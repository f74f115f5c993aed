"""What is asked of servers: the database, Valkey, the broker, mail, the payment provider, and the shop's processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psutil
import psycopg
import redis.asyncio as redis
from redis.exceptions import RedisError

from tidegate.catalog import count_unpriced, find_demo
from tidegate.migrations.run import known_revisions
from tidegate.notify import check_mail_server
from tidegate.ops.checkups import payment_keys
from tidegate.ops.findings import Finding, Level, broken, ok, unsafe
from tidegate.payments import OutcomeUnknown, ProviderRefused, check_stripe
from tidegate.platform.database import Connection
from tidegate.platform.embedded.configuration import LOCKS_PER_TRANSACTION
from tidegate.platform.jobs import broker_depths
from tidegate.platform.outbox import count_late
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

CONNECT_S = 5
OLDEST_POSTGRES = 180000
CLOCK_OFF_S = 2.0
CLOCK_WRONG_S = 30.0
LATE_S = 60.0
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


async def database_findings(settings: Settings) -> list[Finding]:
    """Reachable, new enough, migrated, durable, with the same clock; and what else only it can tell."""
    try:
        url = settings.require_database_url()
        conn: Connection = await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=CONNECT_S)
    except StartupError:
        return [broken("database", "none is running and none is set", "start the shop, or set TIDEGATE_DATABASE_URL")]
    except psycopg.OperationalError as error:
        return [broken("database", f"no answer: {_line(error)}", "start it, or mend TIDEGATE_DATABASE_URL")]
    async with conn:
        findings = [_version(conn), await durability(conn), await locks(conn), await clock(conn)]
        migrated = await migrations(conn)
        findings.insert(1, migrated)
        if migrated.level is Level.OK:
            findings += [await events(conn), await prices(conn, settings), await demo_data(conn)]
    return findings


def _version(conn: Connection) -> Finding:
    version = conn.info.server_version
    shown = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < OLDEST_POSTGRES:
        return unsafe("database", f"{shown} answers; Tidegate is tested with 18", "upgrade PostgreSQL")
    return ok("database", f"{shown} answers")


async def migrations(conn: Connection) -> Finding:
    """Whether the database is of this version of Tidegate."""
    try:
        row = await (await conn.execute("SELECT version_num FROM alembic_version")).fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    newest = known_revisions()[-1]
    if row is None:
        return broken("migrations", "the database has no shop in it yet", "run `tidegate migrate`")
    if row[0] not in known_revisions():
        return broken("migrations", f"revision {row[0]} is of a newer Tidegate", "install that version")
    if row[0] != newest:
        return broken("migrations", f"revision {row[0]}, this version needs {newest}", "run `tidegate migrate`")
    return ok("migrations", f"revision {newest}")


async def durability(conn: Connection) -> Finding:
    """Whether what was sold is on disk before the buyer is told."""
    off = []
    for name in DURABLE:
        row = await (await conn.execute("SELECT current_setting(%s)", (name,))).fetchone()
        if row is None or row[0] == "off":
            off.append(name)
    if off:
        return unsafe("durability", f"{' and '.join(off)} off: a crash loses orders that were paid", "switch them on")
    return ok("durability", "commits are on disk before they are answered")


async def locks(conn: Connection) -> Finding:
    """Whether batches of many buyers find room for their locks."""
    row = await (await conn.execute("SELECT current_setting('max_locks_per_transaction')::int")).fetchone()
    assert row is not None
    if row[0] < LOCKS_PER_TRANSACTION:
        says = f"max_locks_per_transaction is {row[0]}: the batches of a large sale may find no room for theirs"
        return unsafe("locks", says, f"set it to {LOCKS_PER_TRANSACTION} and restart PostgreSQL")
    return ok("locks", f"max_locks_per_transaction is {row[0]}")


async def clock(conn: Connection) -> Finding:
    """This machine's clock against the database's, which decides."""
    row = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None
    off_s = abs((datetime.now(UTC) - row[0]).total_seconds())
    if off_s > CLOCK_WRONG_S:
        return broken("clock", f"{off_s:,.0f} s away from the database's", "synchronise the clocks (NTP)")
    if off_s > CLOCK_OFF_S:
        return unsafe("clock", f"{off_s:.1f} s away from the database's", "synchronise the clocks (NTP)")
    return ok("clock", f"within {max(off_s, 0.1):.1f} s of the database's")


async def events(conn: Connection) -> Finding:
    """Whether events reach their handlers: the scheduler hands them out, workers handle them."""
    late = await count_late(conn, older_than_s=LATE_S)
    if late:
        return broken("events", f"{late:,} wait for over {LATE_S:.0f} s", "see that the scheduler and a worker run")
    return ok("events", "none is late")


async def prices(conn: Connection, settings: Settings) -> Finding:
    """Products that shoppers cannot see because nothing says what they cost here."""
    currency = settings.currency
    without = await count_unpriced(conn, currency=currency)
    if without:
        return unsafe("prices", f"{without:,} active products have no price in {currency}", "import their prices")
    return ok("prices", f"in {currency}")


async def demo_data(conn: Connection) -> Finding:
    """Products of the demo."""
    found = len((await find_demo(conn)).products)
    if found:
        return unsafe("demo data", f"{found:,} products of the demo are in the catalogue", "run `tidegate demo remove`")
    return ok("demo data", "none")


async def valkey(settings: Settings) -> Finding:
    """Reachable and not full."""
    try:
        url = settings.require_valkey_url()
        async with redis.Redis.from_url(url, socket_timeout=CONNECT_S, socket_connect_timeout=CONNECT_S) as client:
            said = await client.info("server")
            await client.set("tidegate:doctor", "1", ex=60)
    except StartupError:
        return broken("Valkey", "none is running and none is set", "start the shop, or set TIDEGATE_VALKEY_URL")
    except (RedisError, OSError, ValueError) as error:
        return broken("Valkey", f"no use: {_line(error)}", "start it, or mend TIDEGATE_VALKEY_URL")
    version = said.get("valkey_version") or said.get("redis_version") or "?"
    return ok("Valkey", f"version {version} answers and takes keys")


async def broker(settings: Settings) -> Finding:
    """Reachable, and what waits in it."""
    try:
        waiting = await asyncio.to_thread(broker_depths, settings)
    except StartupError:
        return broken("broker", "none is running and none is set", "start the shop, or set TIDEGATE_BROKER_URL")
    except OSError as error:
        return broken("broker", _line(error), "start it, or mend TIDEGATE_BROKER_URL")
    total = sum(waiting.values())
    if total >= settings.jobs.queue_max:
        return broken("broker", f"{total:,} tasks wait: its queues are full", "start more workers")
    return ok("broker", f"answers; {total:,} tasks wait")


async def mail(settings: Settings) -> Finding:
    """A handshake with the mail server, and a From address that can be answered."""
    url = settings.mail.smtp_url
    if not url:
        return broken("mail", "no server: receipts are not sent", "set TIDEGATE_MAIL__SMTP_URL")
    try:
        refused = await check_mail_server(settings.mail)
    except StartupError as error:
        return broken("mail", str(error), "mend TIDEGATE_MAIL__SMTP_URL")
    where = f"{urlsplit(url).hostname}:{urlsplit(url).port or 25}"
    if refused:
        return broken("mail", f"{where} does not let us in: {refused}", "mend TIDEGATE_MAIL__SMTP_URL")
    if catches_mail(settings):
        return unsafe("mail", "the mail catcher takes all mails: nobody gets one", "set TIDEGATE_MAIL__SMTP_URL")
    domain = settings.mail.sender.rpartition("@")[2].rstrip(">")
    if domain == "localhost" or domain.endswith(".localhost"):
        return unsafe("mail", f"{where} answers, but mails come from {domain}", "set TIDEGATE_MAIL__SENDER")
    return ok("mail", f"{where} lets us in; mails come from {domain}")


async def payments(settings: Settings, *, online: bool) -> Finding:
    """The keys' form, then a question to Stripe that changes nothing."""
    finding = payment_keys(settings)
    key = settings.payments.stripe_secret_key.get_secret_value()
    if finding.level is Level.BROKEN or not key or not online:
        return finding
    try:
        live = await check_stripe(settings.payments)
    except StartupError as error:
        return broken("payment keys", str(error), "mend HTTPS_PROXY or NO_PROXY")
    except ProviderRefused as error:
        return broken("payment keys", f"Stripe refuses the key: {_line(error)}", "make a new one in its dashboard")
    except OutcomeUnknown as error:
        return unsafe("payment keys", f"Stripe could not be asked: {_line(error)}", "ask again, or use --offline")
    if live is None:
        return Finding(finding.name, finding.level, f"{finding.says}; Stripe knows the key", finding.advice)
    if live != ("_live_" in key[:8]):
        return broken("payment keys", "Stripe says that the key is of its other mode", "copy the secret key once more")
    return Finding(finding.name, finding.level, f"{finding.says}; Stripe takes the key", finding.advice)


def catches_mail(settings: Settings) -> bool:
    """Whether the shop's own mail catcher is the mail server."""
    return any(name.startswith("mail-catcher") for name, _ in _running(settings))


def processes(settings: Settings) -> Iterator[Finding]:
    """The worker and scheduler of a running `tidegate up`; others are judged by late events."""
    running = list(_running(settings))
    if not running:
        yield ok("processes", "not started by `tidegate up` from this TIDEGATE_HOME: judged by late events")
        return
    for kind in ("site", "worker", "scheduler"):
        alive = [name for name, pid in running if name.startswith(kind) and _is_alive(pid)]
        if alive:
            yield ok(kind, f"{len(alive)} running")
        else:
            yield broken(kind, "none is running", "start the shop again with `tidegate up`")


def _running(settings: Settings) -> Iterator[tuple[str, int]]:
    try:
        found = json.loads(settings.endpoints_file.read_text())
        yield from ((str(one["name"]), int(one["pid"])) for one in found["processes"])
    except (OSError, ValueError, KeyError, TypeError):
        return


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

"""Where a rehearsal plays: a shop of its own, with goods and people for it, that is gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx

from tidegate import accounts, checkout
from tidegate.catalog import Room, find_variants
from tidegate.gate import limit_speed
from tidegate.inventory import breaking_asked_for, drop_stock_bound, mark_as_thrown_away, stock_levels
from tidegate.ops import start_drop
from tidegate.platform.database import Database
from tidegate.platform.embedded.children import Program, launch_command, needs_guard
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.ids import OrderId, VariantId
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import current_settings
from tidegate.rehearse.contracts import Sale, SignIn
from tidegate.rehearse.monitor import kind_of
from tidegate.rehearse.wording import Login
from tidegate.rehearse.wrecking import read_endpoints

SKU, SLUG, TITLE = "23166", "rehearsal", "Rehearsal"
"""What is sold: an article of the demo catalogue, in a drop of its own."""

START_S, STOP_S = 120.0, 30.0
LOOK_S = 0.2
BOOKS_S = 600.0
PEOPLE_AT_ONCE = 20_000
NOBODY: Mapping[int, SignIn] = MappingProxyType({})
SAID_KEPT = 600

ANOTHER_SHOPS = frozenset(
    f"TIDEGATE_{name}"
    for name in (
        "DATABASE_URL", "VALKEY_URL", "BROKER_URL", "MAIL", "MAIL__SMTP_URL", "PAYMENTS", "PAYMENTS__SANDBOX_URL",
        "PAYMENTS__STRIPE_SECRET_KEY", "HTTP", "HTTP__BASE_URL", "HTTP__ALLOWED_HOSTS", "SUPERVISOR__DETOURS",
    )
)  # fmt: skip
"""Settings that name the servers, the mail, the money or the address of a real shop: a rehearsal has its own."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A running shop of one's own: where it answers, its processes (name, pid), and where they tell their metrics."""

    url: str
    port: int
    home: Path
    processes: tuple[tuple[str, int], ...]

    def processes_now(self) -> tuple[tuple[str, int], ...]:
        """The processes of this moment: some may have been started anew."""
        return _processes(read_endpoints(self.home)) or self.processes

    def metrics_ports_now(self) -> tuple[int, ...]:
        """Where they tell their metrics at this moment."""
        told = read_endpoints(self.home).get("processes", ())
        return tuple(each["metrics_port"] for each in told if each["metrics_port"])

    @property
    def kinds(self) -> dict[str, int]:
        """How many processes there are of each kind."""
        return dict(Counter(kind_of(name) for name, _ in self.processes))


@contextmanager
def own_shop(
    home: Path, *, told: Mapping[str, str] = MappingProxyType({}), processes: Mapping[str, int] = MappingProxyType({})
) -> Iterator[Shop]:
    """Start a demo shop in `home`, and stop it at the end. From here on this process has that shop's settings.

    It has the settings of our environment, but for those of `ANOTHER_SHOPS`; `told` are settings of the shop's alone.
    `processes` are how many of each kind are started, where not as many as usual. However this process ends, the shop
    is told to stop: it never stays behind. Must be entered in the main
    thread. Raises: StartupError with what the shop said, when it does not start.
    """
    if breaking_asked_for():
        mark_as_thrown_away(home)
    port = free_port()
    forget_another_shop(os.environ)
    os.environ |= {"TIDEGATE_HOME": str(home), "TIDEGATE_PORT": str(port)}
    current_settings.cache_clear()
    said = home.with_name(home.name + ".out")
    guard, guarded = os.pipe()  # its end tells a guard of our death where the kernel does not
    counts = ",".join(f"{kind}={count}" for kind, count in processes.items())
    wanted = ("--processes", counts) if counts else ()
    program = Program(argv=(sys.executable, "-m", "tidegate", "up", "--demo", *wanted))
    with said.open("ab") as out:
        running = subprocess.Popen(
            launch_command(program, guard_fd=guard if needs_guard() else -1),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **told},
            pass_fds=(guard,),
            start_new_session=True,
        )
    os.close(guard)
    try:
        yield _wait_ready(running, home, port, said)
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        os.close(guarded)


def forget_another_shop(environment: MutableMapping[str, str]) -> None:
    """Take the settings of `ANOTHER_SHOPS` away, however their letters are cased."""
    for name in [each for each in environment if each.upper() in ANOTHER_SHOPS]:
        del environment[name]


def _wait_ready(running: subprocess.Popen[bytes], home: Path, port: int, said: Path) -> Shop:
    until = time.monotonic() + START_S
    url = f"http://127.0.0.1:{port}"
    while time.monotonic() < until and running.poll() is None:
        told = read_endpoints(home)
        if told and _is_ready(url):
            return Shop(url, port, home, _processes(told))
        time.sleep(LOOK_S)
    words = " ".join(said.read_text(errors="replace").split())[-SAID_KEPT:]
    raise StartupError(f"the shop for the rehearsal did not start: {words}")


def _processes(told: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Names and pids out of the supervisor's file."""
    return tuple((each["name"], each["pid"]) for each in told.get("processes", ()))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@dataclass(frozen=True, slots=True)
class People:
    """Sessions' tokens, and what those sign in by who have none."""

    tokens: Sequence[str]
    logins: Mapping[int, Login]


@dataclass(frozen=True, slots=True)
class Staged:
    """The variant on sale, and what of it was sold before."""

    variant_id: VariantId
    sold_before: int


async def make_people(database: Database, *, count: int, signs_in: Mapping[int, SignIn] = NOBODY) -> People:
    """Make the people, which takes a while with many. Those in `signs_in` get no session."""
    tokens: list[str] = []
    while len(tokens) < count:
        async with database.transaction() as conn:
            tokens += await accounts.make_crowd(conn, count=min(PEOPLE_AT_ONCE, count - len(tokens)))
    return People(tokens, await _logins(database, signs_in))


async def stage(database: Database, *, sale: Sale, open_at: datetime) -> Staged:
    """Make the drop, which opens at a moment."""
    async with database.transaction() as conn:
        variant = (await find_variants(conn, skus=[SKU]))[SKU]
        if breaking_asked_for():
            await drop_stock_bound(conn)
        before = (await stock_levels(conn, variant_ids=[variant]))[variant].sold
        await start_drop(
            conn,
            slug=SLUG,
            title=TITLE,
            sku=SKU,
            quantity=sale.units,
            opens_at=open_at,
            per_buyer=sale.per_buyer,
            room=Room(sale.room),
        )
        if sale.let_in_per_min is not None:
            await limit_speed(conn, slug=SLUG, per_min=sale.let_in_per_min)
    return Staged(variant, before)


async def _logins(database: Database, signs_in: Mapping[int, SignIn]) -> Mapping[int, Login]:
    """What those sign in by who must."""
    logins: dict[int, Login] = {}
    by_link = [number for number, way in signs_in.items() if way is SignIn.LINK]
    by_password = [number for number, way in signs_in.items() if way is SignIn.PASSWORD]
    for first in range(0, len(by_link), PEOPLE_AT_ONCE):
        numbers = by_link[first : first + PEOPLE_AT_ONCE]
        async with database.transaction() as conn:
            links = await accounts.make_links(conn, count=len(numbers))
        logins |= {number: Login(token=token) for number, token in zip(numbers, links, strict=True)}
    password = secrets.token_urlsafe(12)
    for first in range(0, len(by_password), PEOPLE_AT_ONCE):
        numbers = by_password[first : first + PEOPLE_AT_ONCE]
        async with database.transaction() as conn:
            emails = await accounts.make_members(conn, count=len(numbers), password=password)
        logins |= {n: Login(email=email, password=password) for n, email in zip(numbers, emails, strict=True)}
    return logins


def moment(in_s: float) -> datetime:
    """So many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=in_s)


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What the database says afterwards: units sold, orders told of and missing, rules of the books that are broken."""

    sold: int
    lost: int
    broken: tuple[str, ...]


async def reckon(database: Database, *, staged: Staged, orders: Sequence[str]) -> Reckoning:
    """Look what is in the database. Raises: StartupError when the books could not be checked."""
    ids = [OrderId(UUID(each)) for each in orders]
    async with database.connection() as conn:
        levels = await stock_levels(conn, variant_ids=[staged.variant_id])
        paid = await checkout.count_paid(conn, order_ids=ids)
    return Reckoning(
        sold=levels[staged.variant_id].sold - staged.sold_before,
        lost=len(set(ids)) - paid,
        broken=await asyncio.to_thread(_broken_rules),
    )


def _broken_rules() -> tuple[str, ...]:
    """What `tidegate books` finds in the shop of this process's settings."""
    command = [sys.executable, "-m", "tidegate", "books", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BOOKS_S, check=False)
    except subprocess.TimeoutExpired:
        raise StartupError(f"the books could not be checked within {BOOKS_S:g} s") from None
    try:
        rules = json.loads(done.stdout)["rules"]
    except (ValueError, KeyError):
        raise StartupError(f"the books could not be checked: {' '.join(done.stderr.split())[-SAID_KEPT:]}") from None
    return tuple(rule["rule"] for rule in rules if rule["offences"])

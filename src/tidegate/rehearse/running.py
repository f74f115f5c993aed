"""Playing a scenario: on a shop of its own, or as guests of a running one."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx
import msgspec
import uvloop

from tidegate import __version__
from tidegate.platform.database import open_database
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import current_settings
from tidegate.rehearse.breaking import play_beside, prepare_faults, told_of, ways_round
from tidegate.rehearse.contracts import Report, Scenario, Second, Told
from tidegate.rehearse.crowd import Crowd
from tidegate.rehearse.detours import Detours
from tidegate.rehearse.fault_verdicts import judge_faults
from tidegate.rehearse.faults import Played
from tidegate.rehearse.findings import with_findings
from tidegate.rehearse.leavings import PREFIX, remove_leavings
from tidegate.rehearse.monitor import Monitor
from tidegate.rehearse.rules import advise, expected_steps, judge, sign_ins
from tidegate.rehearse.stage import SKU, SLUG, Shop, make_people, moment, own_shop, reckon, stage
from tidegate.rehearse.tally import resident_bytes
from tidegate.rehearse.watching import Watch, look_around, quiet
from tidegate.rehearse.wire import Ways
from tidegate.rehearse.wording import Goods, Wording

LEAD_S = 3.0
"""Seconds between making the drop and the first arrival: the shop's processes learn of it meanwhile."""

ADDRESSES = 200
"""Addresses of this machine (127.0.0.0/8) that a crowd comes from: the shop limits what one address may ask."""

SEEN = ("/", "/drops/midnight-cakestand")
"""Pages of the demo that somebody has looked at before the sale, as of any shop."""

OTHER_FILES = 256
"""Files that a rehearsal opens beside the crowd's sockets."""

TIMEOUT_S = 10.0
SWITCH_S = 0.000_5


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is to be played. `on_second` is told how it goes."""

    name: str
    scenario: Scenario
    seed: int
    connections: int = 256
    on_second: Callable[[Second], None] = lambda _: None
    on_fault: Callable[[str], None] = lambda _: None


def rehearse_at_home(rehearsal: Rehearsal) -> Report:
    """Play on a shop that is started for it; its data go with it.

    Raises: StartupError when it does not start.
    """
    _allow_sockets(rehearsal.connections)
    remove_leavings(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX) as folder,
        ways_round(rehearsal.scenario.faults, home=Path(folder) / "home") as detours,
        own_shop(Path(folder) / "home", told=told_of(detours), processes=rehearsal.scenario.processes) as shop,
    ):
        return uvloop.run(_on_own_shop(rehearsal, shop, detours))


async def _on_own_shop(rehearsal: Rehearsal, shop: Shop, detours: Detours | None) -> Report:
    scenario, settings, memory_before = rehearsal.scenario, current_settings(), resident_bytes()
    monitor = Monitor(shop.processes_now)
    await quiet(monitor.look)
    watch = Watch(monitor, shop.metrics_ports_now)
    async with open_database(settings) as database:
        people = await make_people(
            database, count=scenario.arrivals.shoppers, signs_in=sign_ins(scenario, seed=rehearsal.seed)
        )
        await look_around(shop.url, SEEN)
        beside = None if detours is None else await prepare_faults(database, scenario=scenario, detours=detours)
        staged = await stage(database, sale=scenario.sale, open_at=moment(LEAD_S + scenario.sale.opens_after_s))
        await asyncio.sleep(LEAD_S)
        crowd = Crowd(
            scenario,
            wording=Wording(Goods(host=f"127.0.0.1:{shop.port}", slug=SLUG, sku=SKU)),
            ways=Ways("127.0.0.1", shop.port, rehearsal.connections, _addresses()),
            tokens=[token.encode() for token in people.tokens],
            seed=rehearsal.seed,
            on_second=rehearsal.on_second,
            usage=watch.look,
            logins=people.logins,
            memory_before=memory_before,
        )
        with undisturbed():
            told, faults, orders = await play_beside(
                crowd, beside, port=shop.port, scenario=scenario, on_fault=rehearsal.on_fault
            )
        watch.close()
        found = await reckon(database, staged=staged, orders=(*told.orders, *orders))
    report = _report(rehearsal, told, shop.url, found.sold, found.lost, found.broken, faults)
    return with_findings(report, inside=watch.inside(began_at=told.began_at), processes=shop.kinds)


def rehearse_as_guests(rehearsal: Rehearsal, *, target: str, drop: str, owned: bool = False) -> Report:
    """Play at a shop that runs already, with guests who come for a drop of its own: what they buy is sold.

    Raises: StartupError when the target is not to be used, does not answer or is no such shop.
    """
    where = _checked_target(target, owned=owned)
    _allow_sockets(rehearsal.connections)
    sale = _sale_of(target.rstrip("/"), drop)
    scenario = msgspec.structs.replace(
        rehearsal.scenario,
        sale=msgspec.structs.replace(rehearsal.scenario.sale, room=sale.room, units=max(sale.items[0].left, 1)),
    )
    rehearsal = replace(rehearsal, scenario=scenario)
    host, port = where.hostname or "", where.port or 80

    async def play() -> Told:
        crowd = Crowd(
            scenario,
            wording=Wording(
                Goods(host=f"[{host}]:{port}" if ":" in host else f"{host}:{port}", slug=drop, sku=sale.sku)
            ),
            ways=Ways(host, port, rehearsal.connections, _addresses() if _is_local(host) and ":" not in host else ()),
            seed=rehearsal.seed,
            on_second=rehearsal.on_second,
        )
        with undisturbed():
            return await crowd.run()

    return with_findings(_report(rehearsal, uvloop.run(play()), target, None, None, None))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the collector of cyclic garbage, of which a crowd makes hardly any: it would look at every shopper.

    And threads that look at processes meanwhile give way to the crowd after half a millisecond.
    """
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        sys.setswitchinterval(before_s)


class Item(msgspec.Struct, frozen=True):
    """What a drop sells, and how much of it is left."""

    sku: str
    left: int


class RoomPhase(msgspec.Struct, frozen=True):
    """Of a waiting room's status."""

    phase: str


class Offer(msgspec.Struct, frozen=True):
    """A drop as its shop tells it."""

    phase: str
    room: str
    items: tuple[Item, ...]
    guests: bool = True

    @property
    def sku(self) -> str:
        """The first article."""
        return self.items[0].sku


def _sale_of(target: str, drop: str) -> Offer:
    try:
        answer = httpx.get(f"{target}/api/v1/drops/{drop}", timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        raise StartupError(f"{target} does not answer ({type(error).__name__}): start the shop first") from error
    if answer.status_code == httpx.codes.NOT_FOUND and "/problems/not-found" in answer.text:
        raise StartupError(f"the shop at {target} has no drop {drop!r}: name one with --drop")
    try:
        offer = msgspec.json.decode(answer.content, type=Offer)
    except msgspec.MsgspecError:
        raise StartupError(f"{target} is no shop of this kind: it answers {answer.status_code} to a drop") from None
    if offer.phase in ("sold_out", "closed"):
        raise StartupError(
            f"the drop {drop!r} is {offer.phase.replace('_', ' ')}: open it again first (tidegate drop replay {drop})"
        )
    if not offer.guests:
        raise StartupError(
            f"the drop {drop!r} is for people with an account, and a crowd has none there: make one for it with"
            " `tidegate drop create --guests`"
        )
    if not offer.items or not offer.items[0].left:
        raise StartupError(f"the drop {drop!r} has nothing to sell: nothing is left of its stock")
    if offer.room != "none" and _room_phase(target, drop) in ("sold_out", "closed"):
        raise StartupError(
            f"the waiting room of {drop!r} is closed: play the drop again first (tidegate drop replay {drop})"
        )
    return offer


def _room_phase(target: str, drop: str) -> str:
    try:
        answer = httpx.get(f"{target}/api/v1/drops/{drop}/status", timeout=TIMEOUT_S, trust_env=False)
        return msgspec.json.decode(answer.content, type=RoomPhase).phase
    except (httpx.HTTPError, msgspec.MsgspecError):
        raise StartupError(f"the shop at {target} does not tell of the waiting room of {drop!r}") from None


def _allow_sockets(connections: int) -> None:
    """Let this process open so many files. Raises: StartupError where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OTHER_FILES
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartupError(
            f"{connections:,} connections need {needed:,} open files, and {hard:,} are allowed: raise the limit"
            f" (ulimit -Hn), or say --connections {max(hard - OTHER_FILES, 1)}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _checked_target(target: str, *, owned: bool) -> SplitResult:
    try:
        where = urlsplit(target)
        port = where.port
    except ValueError as error:
        raise StartupError(f"--target is no address: {error}") from error
    if where.scheme != "http" or not where.hostname or where.path not in ("", "/") or port == 0:
        raise StartupError("--target is the address of a shop, such as http://127.0.0.1:8000")
    if not _is_local(where.hostname) and not owned:
        raise StartupError(f"{where.hostname} is another machine: say --i-own-this-target if it is yours")
    return where


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _addresses() -> list[str]:
    """None where only 127.0.0.1 is this machine's own."""
    if sys.platform != "linux":
        return []
    return [f"127.0.{n // 250 + 1}.{n % 250 + 1}" for n in range(ADDRESSES)]


def _report(
    rehearsal: Rehearsal,
    told: Told,
    target: str,
    sold: int | None,
    lost: int | None,
    broken: tuple[str, ...] | None,
    faults: tuple[Played, ...] = (),
) -> Report:
    scenario = rehearsal.scenario
    verdicts = judge(
        scenario.objectives,
        told,
        units=scenario.sale.units,
        sold=sold,
        broken=broken,
        lost=lost,
        expected=expected_steps(scenario),
    )
    return Report(
        name=rehearsal.name,
        scenario=scenario,
        seed=rehearsal.seed,
        target=target,
        told=told,
        sold=sold,
        books=broken,
        lost=lost,
        verdicts=(*verdicts, *judge_faults(faults)),
        advice=advise(told),
        version=__version__,
        faults=faults,
    )

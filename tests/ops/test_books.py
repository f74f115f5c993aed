"""The books: clean after a market day, and each rule finds the one thing that it is there for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator

import psycopg
import pytest
import typer
from prometheus_client import REGISTRY
from typer.testing import CliRunner, Result

from tests.checkout.conftest import Stock, sell, shop  # noqa: F401 - fixtures
from tests.commands import run_forked
from tests.logs import caught_logs
from tests.ops.market import buy, trade
from tests.ops.sabotage import A_LAMP, SABOTAGE
from tests.servers import TestCluster
from tidegate.checkout import Shop
from tidegate.entrypoints.scheduler import make_loops
from tidegate.ops.books import RULES, Snapshot, check_books, check_rule, read_snapshot, watch_books
from tidegate.ops.books_cli import books_command
from tidegate.ops.contracts import Books, BooksNotChecked
from tidegate.platform.database import Database, open_database
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import current_settings

CASES = [
    pytest.param(rule, statements, id=f"{rule}: {what}")
    for rule, how in SABOTAGE.items()
    for what, statements in how.items()
]


@pytest.fixture(scope="module")
def market_url(cluster: TestCluster) -> Iterator[str]:
    url = cluster.clone()
    yield url
    cluster.drop(url)


@pytest.fixture
def database_url(market_url: str) -> str:
    """One market day for all tests: they leave it clean."""
    return market_url


@pytest.fixture
async def market(shop: Shop, sell: Stock) -> Shop:  # noqa: F811
    """A shop after a market day."""
    if await count(shop, "SELECT count(*) FROM checkout.orders") == 0:
        await trade(shop, sell)
    return shop


async def count(shop: Shop, question: str) -> int:  # noqa: F811
    async with shop.database.connection() as conn:
        row = await (await conn.execute(question)).fetchone()
    assert row is not None
    return int(row[0])


def said(books: Books) -> dict[str, object]:
    return {result.name: result.rows for result in books.broken}


async def test_a_market_day_leaves_the_books_clean(market: Shop) -> None:
    books = await check_books(market.database, market.settings)
    assert said(books) == {}
    assert [result.name for result in books.results] == [rule.name for rule in RULES]
    for state in ("awaiting_payment", "payment_failed", "paid", "fulfilled", "cancelled", "refunded"):
        assert await count(market, f"SELECT count(*) FROM checkout.orders WHERE state = '{state}'"), state
    for state in ("held", "ordered", "confirmed", "released", "expired"):
        assert await count(market, f"SELECT count(*) FROM inventory.holds WHERE state = '{state}'"), state
    for reason in ("stock-gone", "paid-twice"):
        assert await count(market, f"SELECT count(*) FROM payments.refunds WHERE reason = '{reason}'"), reason


@pytest.mark.parametrize(("rule", "sabotage"), CASES)
async def test_each_rule_finds_what_it_is_there_for(market: Shop, rule: str, sabotage: str) -> None:
    async with await psycopg.AsyncConnection.connect(current_settings().require_database_url()) as conn:
        for statement in sabotage.split(";"):
            changed = await conn.execute(statement.encode())
            assert changed.rowcount, "this breaks nothing"
        snapshot = Snapshot(conn, market.settings, time.monotonic() + 60)
        results = [await check_rule(snapshot, each) for each in RULES]
        await conn.rollback()
    assert {result.name: result.offences > 0 for result in results if result.offences} == {rule: True}


def test_every_rule_has_a_sabotage() -> None:
    assert set(SABOTAGE) == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


async def test_a_purchase_in_between_is_not_seen(market: Shop) -> None:
    async with read_snapshot(market.database, market.settings) as snapshot:
        results = []
        for rule in RULES:
            results.append(await check_rule(snapshot, rule))
            before = await (await snapshot.conn.execute("SELECT count(*) FROM checkout.orders")).fetchone()
            placed = await buy(market, "LAMP", "VASE")
            assert placed.state == "paid"
            after = await (await snapshot.conn.execute("SELECT count(*) FROM checkout.orders")).fetchone()
            assert before == after
    assert [result.name for result in results if result.offences] == []


async def test_the_books_are_clean_at_any_moment_of_a_sale(market: Shop) -> None:
    buyers = [asyncio.create_task(buy_again_and_again(market, sku)) for sku in ("LAMP", "VASE", "FLASH")]
    while not all(buyer.done() for buyer in buyers):
        assert said(await check_books(market.database, market.settings)) == {}
    await asyncio.gather(*buyers)


async def buy_again_and_again(shop: Shop, sku: str) -> None:  # noqa: F811
    for method in ("tok_ok", "tok_declined", "hosted", "tok_error_after_charge", "tok_ok"):
        await buy(shop, sku, method=method)


async def test_nothing_can_be_written_in_the_snapshot(market: Shop) -> None:
    async with read_snapshot(market.database, market.settings) as snapshot:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await snapshot.conn.execute("DELETE FROM inventory.stock")


async def test_many_offences_are_counted_and_some_are_shown(market: Shop) -> None:
    few = market.settings.books.model_copy(update={"max_rows": 2})
    settings = market.settings.model_copy(update={"books": few})
    events = await count(market, "SELECT count(*) FROM platform.outbox WHERE topic = 'order.paid'")
    async with market.database.connection() as conn, conn.transaction(force_rollback=True):
        await conn.execute("DELETE FROM platform.outbox WHERE topic = 'order.paid'")
        rule = next(rule for rule in RULES if rule.name == "paid-order-is-told")
        found = await check_rule(Snapshot(conn, settings, time.monotonic() + 60), rule)
    assert (found.offences, len(found.rows), found.columns) == (events, 2, ("order_id", "paid_at", "events"))


async def test_events_that_may_be_gone_are_not_missed(market: Shop) -> None:
    async with market.database.connection() as conn, conn.transaction(force_rollback=True):
        await conn.execute("UPDATE checkout.orders SET paid_at = paid_at - interval '90 days'")
        await conn.execute(
            "UPDATE payments.refunds SET created_at = created_at - interval '90 days', state = 'done',"
            " settled_at = now()"
        )
        await conn.execute("DELETE FROM platform.outbox")
        snapshot = Snapshot(conn, market.settings, time.monotonic() + 60)
        results = [await check_rule(snapshot, rule) for rule in RULES]
    assert [result.name for result in results if result.offences] == []


async def test_the_time_is_bounded(market: Shop, database: Database) -> None:
    async with database.transaction() as conn:
        await conn.execute("LOCK TABLE inventory.stock IN ACCESS EXCLUSIVE MODE")
        hurried = market.settings.books.model_copy(update={"timeout_s": 1})
        with pytest.raises(BooksNotChecked, match="stock-within-bounds"):
            await check_books(market.database, market.settings.model_copy(update={"books": hurried}))


async def test_the_scheduler_checks_the_books(market: Shop) -> None:
    (loop,) = [loop for loop in make_loops(market, wake=asyncio.Event()) if loop.name == "books"]
    assert loop.pause_s == market.settings.books.interval_s
    assert loop.timeout_s > market.settings.books.timeout_s


async def test_a_table_that_is_locked_is_not_waited_for(market: Shop, database: Database) -> None:
    impatient = market.settings.database.model_copy(update={"lock_timeout_ms": 50})
    async with (
        open_database(market.settings.model_copy(update={"database": impatient})) as other,
        database.transaction() as conn,
    ):
        await conn.execute("LOCK TABLE payments.refunds IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(BooksNotChecked, match="captured-charge-has-order: canceling statement due to lock timeout"):
            await check_books(other, market.settings)


BREAK = f"UPDATE inventory.stock SET held = held + 1, on_hand = on_hand + 1 WHERE {A_LAMP}"
MEND = f"UPDATE inventory.stock SET held = held - 1, on_hand = on_hand - 1 WHERE {A_LAMP}"


def spoil(statement: str) -> None:
    """Break or mend the books for all to see."""
    with psycopg.connect(current_settings().require_database_url(), autocommit=True) as conn:
        assert conn.execute(statement.encode()).rowcount == 1


@pytest.fixture
def broken(market: Shop) -> Iterator[None]:
    """One variant has an item held for nobody."""
    spoil(BREAK)
    yield
    spoil(MEND)


async def test_the_scheduler_measures_and_tells_of_broken_rules(market: Shop) -> None:
    spoil(BREAK)
    try:
        with caught_logs(market.settings) as logs:
            assert await watch_books(market.database, market.settings) == 0
    finally:
        spoil(MEND)
    (line,) = logs.events("books_broken")
    assert (line["level"], line["rule"], line["offences"]) == ("error", "stock-held", 1)
    assert set(line["rows"][0]) == {"variant_id", "recorded", "in_live_holds"}
    assert REGISTRY.get_sample_value("tidegate_books_offences", {"rule": "stock-held"}) == 1
    assert REGISTRY.get_sample_value("tidegate_books_offences", {"rule": "stock-sold"}) == 0
    checked_at = REGISTRY.get_sample_value("tidegate_books_checked_at_seconds")
    assert checked_at is not None
    assert abs(checked_at - time.time()) < 60
    assert await watch_books(market.database, market.settings) == 0
    assert REGISTRY.get_sample_value("tidegate_books_offences", {"rule": "stock-held"}) == 0


APP = typer.Typer()
APP.command("books")(books_command)
APP.command("other")(lambda: None)


async def books(*options: str) -> Result:
    """The command, in a thread since it runs a loop of its own."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(APP, ["books", *options]))


async def test_the_command_says_that_the_books_add_up(market: Shop) -> None:
    done = await books()
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == len(RULES) + 1
    assert lines[-1].startswith(f"the books add up ({len(RULES)} rules, ")
    assert all(line.startswith("ok ") and rule.says in line for line, rule in zip(lines, RULES, strict=False))


async def test_the_command_shows_what_is_broken_by_its_ids(broken: None) -> None:
    done = await books()
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[-1].startswith(f"1 of {len(RULES)} rules broken")
    assert lines[-3].startswith("stock-held: ")
    assert lines[-2].startswith("  variant_id=0")
    assert "in_live_holds=" in lines[-2]


async def test_the_command_in_json(market: Shop) -> None:
    done = await books("--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["clean"] is True
    assert [each["rule"] for each in document["rules"]] == [rule.name for rule in RULES]


async def test_a_broken_rule_in_json(broken: None) -> None:
    done = await books("--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    (rule,) = [each for each in document["rules"] if each["offences"]]
    assert (document["clean"], rule["rule"], rule["offences"], len(rule["rows"])) == (False, "stock-held", 1, 1)


async def test_a_terminal_gets_a_table(market: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = await books()
    assert done.exit_code == 0
    assert "what must be true" in done.stdout


async def test_what_cannot_be_checked_is_one_line(market: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_BOOKS__TIMEOUT_S", "1")
    current_settings.cache_clear()
    with psycopg.connect(current_settings().require_database_url()) as conn:
        conn.execute("LOCK TABLE inventory.stock IN ACCESS EXCLUSIVE MODE")
        slow = await books()
    assert isinstance(slow.exception, StartupError)
    assert "TIDEGATE_BOOKS__TIMEOUT_S" in str(slow.exception)
    monkeypatch.setenv("TIDEGATE_DATABASE_URL", "postgresql://tidegate@127.0.0.1:9/none")
    current_settings.cache_clear()
    away = await asyncio.to_thread(typed, "books")
    assert (away.returncode, away.stdout, len(away.stderr.splitlines())) == (2, "", 1)
    assert "PostgreSQL does not answer" in away.stderr


def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as somebody types it."""
    return run_forked(arguments, env=os.environ, timeout_s=60)

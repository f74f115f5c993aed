"""`tidegate import`, `stock`, `drop` and `voucher` as a merchant meets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

from tests.catalog.files import big_file, product_file
from tidegate import gate
from tidegate.catalog import find_drop, find_variants, find_voucher, purchase_terms
from tidegate.inventory import available
from tidegate.ops.goods_cli import export_command, import_app
from tidegate.ops.merchant_cli import drop_app, stock_app, voucher_app
from tidegate.platform.database import Connection, open_database
from tidegate.platform.ids import ANYONE
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings, current_settings

T = TypeVar("T")
APP = typer.Typer()
APP.add_typer(import_app, name="import")
APP.add_typer(stock_app, name="stock")
APP.add_typer(drop_app, name="drop")
APP.add_typer(voucher_app, name="voucher")
APP.command("export")(export_command)
RUNNER = CliRunner()

MUG = {"handle": "mug", "title": "Mug", "price": "2.00", "quantity": "5"}
CUP = {"handle": "cup", "title": "Cup", "price": "3.00", "quantity": "9"}


def tidegate(*words: str, code: int = 0) -> str:
    """What the command prints on stdout."""
    result = RUNNER.invoke(APP, list(words))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.stdout


def refused(*words: str) -> str:
    """The one line by which a command is refused (the entry point prints it and exits with 2)."""
    result = RUNNER.invoke(APP, list(words))
    assert isinstance(result.exception, StartupError), result.output + str(result.exception)
    text = str(result.exception)
    assert "\n" not in text
    return text


def read(question: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_database(current_settings()) as database, database.connection() as conn:
            return await question(conn)

    return asyncio.run(run())


def stock(sku: str) -> int:
    async def run(conn: Connection) -> int:
        variant = (await find_variants(conn, skus=[sku]))[sku]
        return (await available(conn, variant_ids=[variant]))[variant]

    return read(run)


@pytest.fixture
def file(tmp_path: Path, settings: Settings) -> Path:
    """A file of two good products."""
    path = tmp_path / "products.csv"
    path.write_bytes(product_file(MUG, CUP))
    return path


def test_importing_twice(file: Path) -> None:
    assert tidegate("import", "products", str(file)).startswith(
        "2 created, 0 changed, 0 unchanged (2 variants in 2 rows"
    )
    assert (stock("MUG"), stock("CUP")) == (5, 9)
    tidegate("stock", "set", "MUG", "1")
    assert tidegate("import", "products", str(file)).startswith("0 created, 0 changed, 2 unchanged")
    assert stock("MUG") == 1, "an import gives stock only where none was recorded"


def test_the_json_report_and_the_exit_code_of_bad_rows(file: Path) -> None:
    file.write_bytes(product_file(MUG | {"image": "https://a.example/mug.jpg"}, CUP | {"price": "?"}))
    report = json.loads(tidegate("import", "products", str(file), "--json", code=1))
    assert report == {
        "created": 1,
        "changed": 0,
        "unchanged": 0,
        "variants": 1,
        "rows": 2,
        "bad_rows": 1,
        "errors": [{"line": 3, "reason": "Variant Price '?' is not a price such as 12.50"}],
        "pictures": 1,
        "pictures_left": [{"line": 2, "product": "mug", "address": "https://a.example/mug.jpg"}],
    }
    result = RUNNER.invoke(APP, ["import", "products", str(file)])
    assert (result.exit_code, result.stderr.splitlines()) == (
        1,
        [
            "line 3: Variant Price '?' is not a price such as 12.50",
            "line 2: a picture of mug is not fetched: https://a.example/mug.jpg",
            "Upload pictures at /admin/products/PRODUCT/pictures.",
        ],
    )


def test_files_that_cannot_be_used(file: Path, tmp_path: Path) -> None:
    assert "No such file" in refused("import", "products", str(tmp_path / "nowhere.csv"))
    assert "Is a directory" in refused("import", "products", str(tmp_path))
    file.write_bytes(b"Name,Cost\n")
    assert "no column Handle" in refused("import", "products", str(file))


def test_stock(file: Path) -> None:
    tidegate("import", "products", str(file))
    assert json.loads(tidegate("stock", "set", "MUG", "0", "--json")) == {"sku": "MUG", "available": 0}
    assert stock("MUG") == 0
    assert "'NOPE'" in refused("stock", "set", "NOPE", "1")
    assert "not -1" in refused("stock", "set", "MUG", "-1")
    assert "not 1000000000" in refused("stock", "set", "MUG", "1000000000")


def test_a_drop_made_closed_and_replayed(file: Path) -> None:
    tidegate("import", "products", str(file))
    made = create("--opens-at", "+2m")
    assert (made["title"], made["per_buyer"], made["room"], made["closed_at"]) == ("Mug", 1, "none", None)
    assert made["items"] == [{"sku": "MUG", "quantity": 7}]
    in_two_minutes = datetime.now(UTC) + timedelta(minutes=2)
    assert abs(datetime.fromisoformat(made["opens_at"]) - in_two_minutes) < timedelta(seconds=30)
    assert stock("MUG") == 7
    assert json.loads(tidegate("drop", "close", "noon", "--json"))["closed_at"] is not None
    assert "closed" in tidegate("drop", "list")
    tidegate("stock", "set", "MUG", "0")
    replayed = json.loads(tidegate("drop", "replay", "noon", "--json"))
    assert replayed["closed_at"] is None
    assert datetime.fromisoformat(replayed["opens_at"]) <= datetime.now(UTC) + timedelta(seconds=5)
    assert stock("MUG") == 7
    assert [drop["slug"] for drop in json.loads(tidegate("drop", "list", "--json"))["drops"]] == ["noon"]


@pytest.mark.parametrize("guests", [(), ("--guests",)])
def test_a_room_takes_guests_where_it_is_told_to(file: Path, guests: tuple[str, ...]) -> None:
    tidegate("import", "products", str(file))
    made = create("--opens-at", "+2m", "--room", "arrival", *guests)
    assert (made["room"], made["guests"]) == ("arrival", bool(guests))
    room = read(lambda conn: gate.find_room(conn, slug="noon"))
    assert room is not None
    assert room.guests == bool(guests)


@pytest.mark.parametrize("guests", [(), ("--guests",)])
def test_a_drop_without_a_room_sells_to_guests_where_it_is_told_to(file: Path, guests: tuple[str, ...]) -> None:
    tidegate("import", "products", str(file))
    create("--opens-at", "+2m", *guests)
    replayed = json.loads(tidegate("drop", "replay", "noon", "--json"))
    assert (replayed["room"], replayed["guests"]) == ("none", bool(guests)), "a replay keeps what it was made with"


def test_a_replay_forgets_who_bought(file: Path) -> None:
    tidegate("import", "products", str(file))
    create("--opens-at", "now")
    drop = read(lambda conn: find_drop(conn, slug="noon"))
    assert drop is not None
    bought = "INSERT INTO inventory.buyer_limits (rule_id, buyer_id, quota, used) VALUES (%s, %s, 1, 1)"
    read(lambda conn: conn.execute(bought, (drop.id, uuid4())))
    tidegate("drop", "replay", "noon", "--opens-at", "+30s")

    async def left(conn: Connection) -> int:
        row = await (await conn.execute("SELECT coalesce(sum(used), 0) FROM inventory.buyer_limits")).fetchone()
        assert row is not None
        return int(row[0])

    assert read(left) == 0


def test_a_replay_opens_now_at_the_earliest(file: Path) -> None:
    tidegate("import", "products", str(file))
    opened = create("--opens-at", "now")["opens_at"]
    replayed = json.loads(tidegate("drop", "replay", "noon", "--opens-at", "2026-01-01", "--json"))["opens_at"]
    assert datetime.fromisoformat(replayed) > datetime.fromisoformat(opened)


def test_drops_that_are_refused(file: Path) -> None:
    tidegate("import", "products", str(file))
    assert "is not a moment" in refused(*CREATE, "--opens-at", "tomorrow")
    assert "'NOPE'" in refused("drop", "create", "x", "--sku", "NOPE", "--stock", "1", "--opens-at", "now")
    assert stock("MUG") == 5, "a refused drop leaves stock alone"
    assert "no drop 'noon'" in refused("drop", "replay", "noon")
    assert "no drop 'noon'" in refused("drop", "close", "noon")
    assert tidegate("drop", "list") == "There are no drops yet.\n"


def test_a_voucher_made_listed_and_closed(settings: Settings) -> None:
    assert tidegate("voucher", "list") == "There are no vouchers yet.\n"
    made = json.loads(tidegate("voucher", "create", "spring", "--percent", "10", "--total", "100", "--json"))
    starts_at = datetime.fromisoformat(made.pop("starts_at"))
    assert abs(starts_at - datetime.now(UTC)) < timedelta(seconds=30)
    assert made == {
        "code": "SPRING",
        "percent_off": 10,
        "amount_off": None,
        "total": 100,
        "per_buyer": 1,
        "ends_at": None,
        "closed_at": None,
    }
    line = tidegate("voucher", "create", "FIVE", "--amount", "5.00", "--total", "3", "--per-buyer", "2", *DAY)
    assert line.startswith("FIVE: £5.00 off; 3 times, 2 each; from ")
    assert " until " in line
    voucher = read(lambda conn: find_voucher(conn, code="five"))
    assert voucher is not None
    used = "INSERT INTO inventory.buyer_limits (rule_id, buyer_id, quota, used) VALUES (%s, %s, 3, 2)"
    read(lambda conn: conn.execute(used, (voucher.id, ANYONE)))
    listed = json.loads(tidegate("voucher", "list", "--json"))["vouchers"]
    assert [(each["code"], each["used"]) for each in listed] == [("FIVE", 2), ("SPRING", 0)]
    assert listed[0]["amount_off"] == {"amount": 500, "currency": "GBP"}
    span = datetime.fromisoformat(listed[0]["ends_at"]) - datetime.fromisoformat(listed[0]["starts_at"])
    assert span == timedelta(days=1)
    assert json.loads(tidegate("voucher", "close", "five", "--json"))["closed_at"] is not None
    lines = tidegate("voucher", "list").splitlines()
    assert lines[0].endswith("live; used 0 times")
    assert "closed" in lines[1]


def test_vouchers_that_are_refused(settings: Settings) -> None:
    create = ("voucher", "create", "SPRING", "--total", "9")
    assert "either a percentage or an amount" in refused(*create)
    assert "either a percentage or an amount" in refused(*create, "--percent", "5", "--amount", "5")
    assert "1 to 100 percent" in refused(*create, "--percent", "101")
    assert "is not an amount of money" in refused(*create, "--amount", "five")
    assert "more than nothing" in refused(*create, "--amount", "0.00")
    assert "is not a moment" in refused(*create, "--percent", "5", "--ends-at", "tomorrow")
    assert "ends after its start" in refused(*create, "--percent", "5", "--starts-at", "+2d", "--ends-at", "+1d")
    tidegate(*create, "--percent", "5")
    assert "There is a voucher SPRING already" in refused(*create, "--percent", "5")
    assert "no voucher 'NOPE'" in refused("voucher", "close", "nope")


def test_without_a_shop_there_is_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_DATABASE_URL", "postgresql://tidegate@127.0.0.1:9/none")
    current_settings.cache_clear()
    assert "PostgreSQL does not answer" in refused("drop", "list")
    monkeypatch.delenv("TIDEGATE_DATABASE_URL")
    current_settings.cache_clear()
    assert "tidegate up" in refused("drop", "list")


def test_products_that_a_drop_sells_say_so(file: Path) -> None:
    tidegate("import", "products", str(file))
    create("--opens-at", "+2m", "--per-buyer", "3")
    terms = read(lambda conn: purchase_terms(conn, skus=["MUG", "CUP"], currency="GBP"))
    assert terms["CUP"].drop is None
    assert terms["MUG"].drop is not None
    assert terms["MUG"].drop.per_buyer == 3


def test_a_larger_file(tmp_path: Path, settings: Settings) -> None:
    path = big_file(tmp_path / "big.csv", products=300, variants_each=10)
    report = json.loads(tidegate("import", "products", str(path), "--json"))
    assert (report["created"], report["variants"], report["rows"], report["bad_rows"]) == (300, 3_000, 3_000, 0)


DAY = ("--ends-at", "+1d")
CREATE = ("drop", "create", "noon", "--sku", "MUG", "--stock", "7")


def create(*words: str) -> dict[str, Any]:
    """The drop that `drop create` made."""
    made: dict[str, Any] = json.loads(tidegate(*CREATE, *words, "--json"))
    return made


def test_exporting_and_importing_again(file: Path, tmp_path: Path) -> None:
    tidegate("import", "products", str(file))
    target = tmp_path / "out.csv"
    assert tidegate("export", str(target)).startswith("2 products with 2 variants written")
    assert json.loads(tidegate("import", "products", str(target), "--json"))["unchanged"] == 2
    assert "there already" in refused("export", str(target))
    report = json.loads(tidegate("export", str(target), "--force", "--json"))
    assert report == {"products": 2, "variants": 2, "skipped": 0, "left_out": []}
    assert "No such file" in refused("export", str(tmp_path / "nowhere" / "out.csv"))
    assert [path.name for path in tmp_path.glob("*.new")] == []


def test_a_dry_run_and_a_mapping(file: Path, tmp_path: Path) -> None:
    assert tidegate("import", "products", str(file), "--dry-run").startswith("a dry run, nothing is written: 2 created")
    assert tidegate("drop", "list") == "There are no drops yet.\n"
    mapping = tmp_path / "map.toml"
    mapping.write_text("[columns]\ntitle = 'Name'\nprice = 'Cost'\n")
    file.write_text("Name,Cost\nCup,2.50\n")
    assert "--mapping" in refused("import", "products", str(file))
    report = json.loads(tidegate("import", "products", str(file), "--mapping", str(mapping), "--json"))
    assert (report["created"], report["bad_rows"]) == (1, 0)
    mapping.write_text("[columns]\n")
    assert "which column is the title" in refused("import", "products", str(file), "--mapping", str(mapping))

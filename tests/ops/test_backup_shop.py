"""A whole shop, backed up while it sells and made again in another folder."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

from tests.servers import Shop
from tests.sizes import at_full_size


@at_full_size  # test_backup.py does the same without its processes
def test_a_running_shop_is_backed_up_and_made_again(new_shop: Callable[..., Shop], tmp_path: Path) -> None:
    shop = new_shop().start().wait_ready()
    running, stopped = tmp_path / "running.backup", tmp_path / "stopped.backup"
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery")
    told = shop.run("backup", str(running), "--passphrase-file", str(passphrase))
    assert told.returncode == 0, told.stderr
    assert stat.S_IMODE(running.stat().st_mode) == 0o600
    refused = shop.run("restore", str(running), "--passphrase-file", str(passphrase))
    assert (refused.returncode, "not empty" in refused.stderr) == (2, True)
    shop.stop()
    assert shop.run("backup", str(stopped)).returncode == 0

    again = new_shop(arguments=())
    restored = again.run("restore", str(running), "--passphrase-file", str(passphrase), "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["books_clean"] is True
    again.start().wait_ready()
    status, page = again.get("/")
    assert (status, b"22423" in page or b"/products/" in page) == (200, True)
    removed = again.run("demo", "remove", "--yes", "--json")
    assert removed.returncode == 0, removed.stderr
    assert json.loads(removed.stdout)["products"] > 50
    assert json.loads(again.run("books", "--json").stdout)["clean"] is True
    assert b"/products/" not in again.get("/")[1]

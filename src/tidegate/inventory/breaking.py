"""The engine broken on purpose: a rehearsal that does not notice an oversold shop would be worth nothing.

The stock check is skipped only where all of this is so: the variable of SWITCH names it, the shop is in demo mode, and
its data folder has the mark that `tidegate rehearse` leaves in the folder of the shop that it starts and throws away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tidegate.platform.database import Connection
from tidegate.platform.problems import StartupError

SWITCH: Final = "TIDEGATE_REHEARSE_BROKEN"
STOCK_CHECK: Final = "stock-check"
MARK: Final = "thrown-away-after-the-rehearsal"

_skipped = False


def check_skipped() -> bool:
    """Whether this process sells without looking at the stock."""
    return _skipped


def breaking_asked_for() -> bool:
    """Whether the variable asks for a broken engine. Raises: StartupError when it asks for something else."""
    wanted = os.environ.get(SWITCH, "")
    if wanted not in ("", STOCK_CHECK):
        raise StartupError(f"{SWITCH}: only {STOCK_CHECK!r} can be broken on purpose")
    return wanted == STOCK_CHECK


def mark_as_thrown_away(home: Path) -> None:
    """Say that the shop in `home` is a rehearsal's own."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / MARK).touch()


def skip_stock_check_if_asked(*, demo: bool, home: Path) -> bool:
    """Have this process sell without looking at the stock, if all conditions are met; whether they are."""
    global _skipped  # noqa: PLW0603 - one engine a process
    _skipped = demo and breaking_asked_for() and (home / MARK).exists()
    return _skipped


async def drop_stock_bound(conn: Connection) -> None:
    """Take the database's last word away, too, which would else refuse every batch that sells too much."""
    await conn.execute("ALTER TABLE inventory.stock DROP CONSTRAINT stock_within_on_hand")

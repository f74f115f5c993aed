"""What both foreign shops of these tests have: some stock, who bought, and the gate's guard and desk."""

from __future__ import annotations

import os
import threading
from functools import partial
from uuid import UUID

from tidegate.gate.foreign import Desk, Guard, Who, fetch_keys
from tidegate.platform.ids import DropId, PlaceId

GATE, SLUG, KEY = os.environ["GATE"], os.environ["SLUG"], os.environ["SHOP_KEY"]
DROP = DropId(UUID(os.environ["DROP"]))


def guard_of(who: Who) -> Guard:
    """As the how-to says."""
    return Guard(keys=partial(fetch_keys, GATE), drop=DROP, room=f"{GATE}/drops/{SLUG}/room", key=KEY, who=who)


class Till:
    """Sells what there is, one for each pass, and tells the gate."""

    def __init__(self) -> None:
        self.stock = int(os.environ["STOCK"])
        self.bought: set[PlaceId] = set()
        self.lock = threading.Lock()
        self.desk = Desk(GATE, SLUG, DROP, KEY)

    def sell(self, place_id: PlaceId) -> str:
        """Why not, or nothing."""
        with self.lock:
            if place_id in self.bought:
                return "this pass has been used"
            if not self.stock:
                return "sold out"
            self.stock -= 1
            self.bought.add(place_id)
            self.report()
        return ""

    def report(self) -> None:
        """What a shop with more to do tells once a second."""
        unknown = self.desk.report(left=self.stock, sold=len(self.bought), spent=dict.fromkeys(self.bought, 1))
        assert not unknown, "the gate gave these passes"

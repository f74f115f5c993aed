"""The waiting room: places, the draw, and whose turn it is."""

from tidegate.gate.contracts import (
    Pass,
    PassExpired,
    PassForeign,
    PassRequired,
    PassSpent,
    Phase,
    Place,
    PlaceState,
    Receipt,
    Room,
    RoomMode,
)
from tidegate.gate.pass_desk import PassDesk

__all__ = [
    "Pass",
    "PassDesk",
    "PassExpired",
    "PassForeign",
    "PassRequired",
    "PassSpent",
    "Phase",
    "Place",
    "PlaceState",
    "Receipt",
    "Room",
    "RoomMode",
]

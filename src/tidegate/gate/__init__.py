"""The waiting room: places, the draw, and whose turn it is."""

from tidegate.gate.contracts import (
    Phase,
    Place,
    PlaceState,
    Receipt,
    Room,
    RoomMode,
)

__all__ = ["Phase", "Place", "PlaceState", "Receipt", "Room", "RoomMode"]

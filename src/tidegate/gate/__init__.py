"""The waiting room: places, the draw, and whose turn it is."""

from tidegate.gate.beacon import BeaconWatch, fetch_beacon
from tidegate.gate.books import INVARIANTS
from tidegate.gate.contracts import (
    AccountNeeded,
    DrawIsOver,
    JoinedTooOften,
    LobbyNotOpen,
    Phase,
    Place,
    PlaceState,
    PlaceUnknown,
    PollAnswer,
    Receipt,
    Room,
    RoomClosed,
    RoomExists,
    RoomMode,
    RoomSoldOut,
    RoomUnknown,
    StatusAnswer,
    TicketNotGood,
)
from tidegate.gate.handover import leave_all_rooms, take_over_places
from tidegate.gate.places import Joined, JoinWish, settle_joins
from tidegate.gate.rooms import close_room, create_room, find_room, pause_room, reschedule, set_beacon
from tidegate.gate.rounds import draw_rooms_once, open_rooms_once
from tidegate.gate.running import Gate, open_gate
from tidegate.gate.signing import KeyRing, load_keys, make_key, retire_key
from tidegate.gate.status import next_poll_s

__all__ = [
    "INVARIANTS",
    "AccountNeeded",
    "BeaconWatch",
    "DrawIsOver",
    "Gate",
    "JoinWish",
    "Joined",
    "JoinedTooOften",
    "KeyRing",
    "LobbyNotOpen",
    "Phase",
    "Place",
    "PlaceState",
    "PlaceUnknown",
    "PollAnswer",
    "Receipt",
    "Room",
    "RoomClosed",
    "RoomExists",
    "RoomMode",
    "RoomSoldOut",
    "RoomUnknown",
    "StatusAnswer",
    "TicketNotGood",
    "close_room",
    "create_room",
    "draw_rooms_once",
    "fetch_beacon",
    "find_room",
    "leave_all_rooms",
    "load_keys",
    "make_key",
    "next_poll_s",
    "open_gate",
    "open_rooms_once",
    "pause_room",
    "reschedule",
    "retire_key",
    "set_beacon",
    "settle_joins",
    "take_over_places",
]

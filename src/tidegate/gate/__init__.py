"""The waiting room: places, the draw, and whose turn it is."""

from tidegate.gate.admission import (
    Counts,
    Engine,
    Inside,
    LiveRoom,
    Outcome,
    Round,
    Spend,
    begin_round,
    end_round,
    live_rooms,
)
from tidegate.gate.beacon import fetch_beacon
from tidegate.gate.books import INVARIANTS
from tidegate.gate.clearing import clear_places
from tidegate.gate.contracts import (
    AccountNeeded,
    DrawIsOver,
    EntriesGone,
    JoinedTooOften,
    LobbyNotOpen,
    Pass,
    PassExpired,
    PassForeign,
    PassRequired,
    PassSpent,
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
    ShopKeyNotGood,
    StatusAnswer,
    TicketNotGood,
    ValueTooEarly,
)
from tidegate.gate.draw import Draw, draw_key
from tidegate.gate.handover import leave_all_rooms, take_over_places
from tidegate.gate.messages import DrawAnswer
from tidegate.gate.pass_desk import PassDesk
from tidegate.gate.passes import pass_of
from tidegate.gate.places import Joined, JoinWish, PlaceQuestion, leave, settle_joins
from tidegate.gate.published import draw_answer
from tidegate.gate.receipts import receipt_text
from tidegate.gate.rooms import close_room, create_room, find_room, pause_room, reschedule, set_beacon
from tidegate.gate.rounds import RoomClock, draw_rooms_once, open_rooms_once
from tidegate.gate.running import Gate, open_gate
from tidegate.gate.shop_words import ShopKey, make_shop_key, read_visitor
from tidegate.gate.shops import (
    ForeignRoom,
    GoodsReport,
    add_foreign_room,
    find_foreign_rooms,
    foreign_spends,
    report_goods,
)
from tidegate.gate.signing import KeyRing, load_keys, make_key, retire_key
from tidegate.gate.staffing import MAX_MESSAGE, RoomView, limit_speed, tell_waiting, view_room
from tidegate.gate.status import next_poll_s
from tidegate.gate.tickets import ticket_of
from tidegate.gate.visitors import GateVisitor, VisitorTokens

__all__ = [
    "INVARIANTS",
    "MAX_MESSAGE",
    "AccountNeeded",
    "Counts",
    "Draw",
    "DrawAnswer",
    "DrawIsOver",
    "Engine",
    "EntriesGone",
    "ForeignRoom",
    "Gate",
    "GateVisitor",
    "GoodsReport",
    "Inside",
    "JoinWish",
    "Joined",
    "JoinedTooOften",
    "KeyRing",
    "LiveRoom",
    "LobbyNotOpen",
    "Outcome",
    "Pass",
    "PassDesk",
    "PassExpired",
    "PassForeign",
    "PassRequired",
    "PassSpent",
    "Phase",
    "Place",
    "PlaceQuestion",
    "PlaceState",
    "PlaceUnknown",
    "PollAnswer",
    "Receipt",
    "Room",
    "RoomClock",
    "RoomClosed",
    "RoomExists",
    "RoomMode",
    "RoomSoldOut",
    "RoomUnknown",
    "RoomView",
    "Round",
    "ShopKey",
    "ShopKeyNotGood",
    "Spend",
    "StatusAnswer",
    "TicketNotGood",
    "ValueTooEarly",
    "VisitorTokens",
    "add_foreign_room",
    "begin_round",
    "clear_places",
    "close_room",
    "create_room",
    "draw_answer",
    "draw_key",
    "draw_rooms_once",
    "end_round",
    "fetch_beacon",
    "find_foreign_rooms",
    "find_room",
    "foreign_spends",
    "leave",
    "leave_all_rooms",
    "limit_speed",
    "live_rooms",
    "load_keys",
    "make_key",
    "make_shop_key",
    "next_poll_s",
    "open_gate",
    "open_rooms_once",
    "pass_of",
    "pause_room",
    "read_visitor",
    "receipt_text",
    "report_goods",
    "reschedule",
    "retire_key",
    "set_beacon",
    "settle_joins",
    "take_over_places",
    "tell_waiting",
    "ticket_of",
    "view_room",
]

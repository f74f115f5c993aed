"""A client of a shop's JSON API for programs: its waiting rooms, for now. It imports nothing of the server.

async with Shop("https://shop.example", token=TOKEN) as shop:
    room = WaitingRoom(shop, "boots")
    turn = await room.wait_for_turn()
    ...  # buy, with the header `Tidegate-Pass: {turn.admission}`
"""

from tidegate.client.contracts import Joined, Phase, Place, PlaceState, Poll, Status, Turn
from tidegate.client.errors import (
    AccountNeeded,
    JoinedTooOften,
    LobbyNotOpen,
    NotSignedIn,
    PlaceOver,
    PlaceUnknown,
    RoomClosed,
    RoomSoldOut,
    RoomUnknown,
    ShopBusy,
    ShopError,
    ShopProblem,
    ShopUnreachable,
    TicketNotGood,
    TooManyRequests,
    UnexpectedAnswer,
    WrongCredentials,
)
from tidegate.client.room import WaitingRoom
from tidegate.client.rules import next_poll_s, retry_s
from tidegate.client.shop import Pace, Shop

__all__ = [
    "AccountNeeded",
    "Joined",
    "JoinedTooOften",
    "LobbyNotOpen",
    "NotSignedIn",
    "Pace",
    "Phase",
    "Place",
    "PlaceOver",
    "PlaceState",
    "PlaceUnknown",
    "Poll",
    "RoomClosed",
    "RoomSoldOut",
    "RoomUnknown",
    "Shop",
    "ShopBusy",
    "ShopError",
    "ShopProblem",
    "ShopUnreachable",
    "Status",
    "TicketNotGood",
    "TooManyRequests",
    "Turn",
    "UnexpectedAnswer",
    "WaitingRoom",
    "WrongCredentials",
    "next_poll_s",
    "retry_s",
]

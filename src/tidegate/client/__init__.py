"""A client of a shop's JSON API for programs: its waiting rooms, and messages. It imports nothing of the server.

async with Shop("https://shop.example", token=TOKEN) as shop:
    room = WaitingRoom(shop, "boots")
    turn = await room.wait_for_turn()
    ...  # buy, with the header `Tidegate-Pass: {turn.admission}`

async with Notify("https://notify.example", key=KEY) as notify:
    await notify.write([Recipient("17", "ann@post.example")])
    told = await notify.tell(["17"], title="Your code", body="It is 42.")
"""

from tidegate.client.contracts import Drawn, Joined, Phase, Place, PlaceState, Poll, Status, Turn
from tidegate.client.errors import (
    AccountNeeded,
    ClassMandatory,
    InvalidRequest,
    JoinedTooOften,
    KeyReused,
    LobbyNotOpen,
    NotAllowed,
    NotFound,
    NotReplayable,
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
from tidegate.client.notify import Notify
from tidegate.client.notify_contracts import (
    ClassChoice,
    DeadLetter,
    Delivery,
    Device,
    Followers,
    Inbox,
    Message,
    OpenedLetter,
    Outcome,
    Preferences,
    Recipient,
    Send,
    Told,
    Topic,
    TopicChoice,
    Webhook,
    WebhookSecret,
    Written,
)
from tidegate.client.room import WaitingRoom
from tidegate.client.rules import next_poll_s, retry_s
from tidegate.client.shop import Pace, Shop

__all__ = [
    "AccountNeeded",
    "ClassChoice",
    "ClassMandatory",
    "DeadLetter",
    "Delivery",
    "Device",
    "Drawn",
    "Followers",
    "Inbox",
    "InvalidRequest",
    "Joined",
    "JoinedTooOften",
    "KeyReused",
    "LobbyNotOpen",
    "Message",
    "NotAllowed",
    "NotFound",
    "NotReplayable",
    "NotSignedIn",
    "Notify",
    "OpenedLetter",
    "Outcome",
    "Pace",
    "Phase",
    "Place",
    "PlaceOver",
    "PlaceState",
    "PlaceUnknown",
    "Poll",
    "Preferences",
    "Recipient",
    "RoomClosed",
    "RoomSoldOut",
    "RoomUnknown",
    "Send",
    "Shop",
    "ShopBusy",
    "ShopError",
    "ShopProblem",
    "ShopUnreachable",
    "Status",
    "TicketNotGood",
    "Told",
    "TooManyRequests",
    "Topic",
    "TopicChoice",
    "Turn",
    "UnexpectedAnswer",
    "WaitingRoom",
    "Webhook",
    "WebhookSecret",
    "Written",
    "WrongCredentials",
    "next_poll_s",
    "retry_s",
]

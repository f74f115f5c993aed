"""What others may know of messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tidegate.platform.ids import EventId


class Channel(StrEnum):
    """How a message reaches somebody."""

    EMAIL = "email"
    INBOX = "inbox"


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """A message in somebody's inbox. `link` is empty or an address of this shop; times in UTC."""

    event_id: EventId
    subject: str
    body: str
    link: str
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """A mail that the mail catcher took. `text` and `html` are empty where the mail has no such part."""

    id: str
    at: datetime
    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    html: str
    message_id: str

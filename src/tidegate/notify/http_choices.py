"""What people choose, as JSON: of classes of messages, of topics, and their quiet hours."""

from __future__ import annotations

from datetime import time
from typing import Annotated

from pydantic import BaseModel, Field

from tidegate.notify.contracts import Channel, TopicKind
from tidegate.notify.fields import wrong_fields
from tidegate.notify.preferences import Preferences, QuietHours
from tidegate.platform.texts import text as _

Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["22:00"])]
Unwanted = Annotated[list[Channel], Field(max_length=len(Channel), description="Channels that they do not want.")]
Ways = Annotated[
    list[Channel],
    Field(min_length=1, max_length=len(Channel), description="To be told by none is to stop following."),
]


class QuietChoice(BaseModel):
    """Quiet hours of a clock on somebody's wall: mails that nobody waits for wait until they end."""

    time_zone: Annotated[str, Field(max_length=64, description="An IANA name; empty: that of the settings.")] = ""
    quiet_from: Clock | None = None
    quiet_until: Clock | None = None

    @property
    def quiet(self) -> QuietHours | None:
        """What it says. Raises: InvalidRequest for half of quiet hours."""
        if (self.quiet_from is None) != (self.quiet_until is None):
            missing = "quiet_from" if self.quiet_from is None else "quiet_until"
            raise wrong_fields([(missing, _("Fill in both times, or none for no quiet hours."))])
        if self.quiet_from is None or self.quiet_until is None:
            return None
        return QuietHours(time.fromisoformat(self.quiet_from), time.fromisoformat(self.quiet_until))


class ClassChoice(BaseModel):
    """What somebody does not want of a class of messages. A mandatory one is always sent."""

    name: str
    mandatory: bool
    unwanted: Unwanted


class ClassChoices(BaseModel):
    """All classes."""

    items: list[ClassChoice]


class ClassBody(BaseModel):
    """By which channels nothing of a class is wanted."""

    unwanted: Unwanted


class TopicChoiceBody(BaseModel):
    """By which channels somebody is told of a topic; null: as of its class."""

    channels: Ways | None


def unwanted_of(preferences: Preferences, kind: TopicKind) -> list[Channel]:
    """By which channels nothing of a kind is wanted."""
    return sorted(channel for each, channel in preferences.unwanted if each is kind)


def quiet_fields(preferences: Preferences) -> dict[str, str | None]:
    """The fields of a `QuietChoice`."""
    quiet = preferences.quiet
    return {
        "time_zone": preferences.time_zone,
        "quiet_from": None if quiet is None else quiet.starts.isoformat("minutes"),
        "quiet_until": None if quiet is None else quiet.ends.isoformat("minutes"),
    }

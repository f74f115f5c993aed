"""What people want to be told, by which way, and when they want quiet.

Preferences are a recipient's (`notify.recipients`): an account's by its person's id, or those of a confirmed address
without one, which are forgotten with it. They hold for what nobody ordered. Mails about orders and links to sign in are
always sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import time
from functools import lru_cache
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from tidegate.notify.addresses import fingerprint
from tidegate.notify.contracts import Channel, ClassMandatory, Follow, TopicKind
from tidegate.notify.follows import account_recipient, followed
from tidegate.notify.rules import MAX_QUIET, quiet_length
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _

MANDATORY: Final = "transactional"
"""The class of what somebody waits for: orders, links, answers to what they did. It is always sent."""

OWN_FOLLOWS: Final = """
SELECT t.topic_id, t.kind, t.key, t.title, t.path, f.since, f.channels
FROM notify.follows AS f JOIN notify.topics AS t USING (topic_id)
WHERE f.recipient_id = %(recipient)s AND f.told_at IS NULL
"""

AREAS: Final = frozenset(
    ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
)
"""Where the zones are that people choose from; the rest are old names and offsets."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `starts` until before `ends`, on a clock on the wall; over midnight where `ends` is the earlier one."""

    starts: time
    ends: time


@dataclass(frozen=True, slots=True)
class Preferences:
    """What somebody does not want, by kind and channel, and their quiet hours in their time zone.

    All that is not unwanted is wanted. `time_zone` is an IANA name; empty: the shop's.
    """

    unwanted: frozenset[tuple[TopicKind, Channel]] = field(default_factory=frozenset)
    time_zone: str = ""
    quiet: QuietHours | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody whom the shop may write to. `has_inbox` says that it is an account."""

    recipient_id: UUID
    has_inbox: bool


async def find_recipient(
    conn: Connection, *, person_id: PersonId | None = None, email_fingerprint: bytes | None = None
) -> Recipient | None:
    """The recipient of an account, or else of an address."""
    row = await (
        await conn.execute(
            """
            SELECT recipient_id, has_inbox FROM notify.recipients
            WHERE recipient_id = %(person)s OR email_fingerprint = %(fingerprint)s
            ORDER BY recipient_id = %(person)s DESC NULLS LAST LIMIT 1
            """,
            {"person": person_id, "fingerprint": email_fingerprint},
        )
    ).fetchone()
    return None if row is None else Recipient(row[0], row[1])


async def find_account(conn: Connection, *, person_id: PersonId, email: str) -> Recipient | None:
    """The recipient that an account is or becomes: also what its address followed before there was an account."""
    return await find_recipient(conn, person_id=person_id, email_fingerprint=fingerprint(email))


async def ensure_recipient(conn: Connection, *, person_id: PersonId, email: str, locale: str) -> UUID:
    """The recipient of an account, known from now on, in the caller's transaction. Both must be known to be theirs."""
    return await account_recipient(conn, person_id, email, locale)


async def find_preferences(conn: Connection, *, recipient_id: UUID) -> Preferences:
    """What a recipient has chosen; somebody unknown has chosen nothing yet."""
    row = await (
        await conn.execute(
            """
            SELECT unwanted, time_zone, quiet_from, quiet_until FROM notify.recipients WHERE recipient_id = %s
            """,
            (recipient_id,),
        )
    ).fetchone()
    if row is None:
        return Preferences()
    words, time_zone, starts, ends = row
    known = {unwanted_word(kind, channel): (kind, channel) for kind in TopicKind for channel in Channel}
    return Preferences(
        unwanted=frozenset(known[word] for word in words if word in known),
        time_zone=time_zone,
        quiet=None if starts is None else QuietHours(starts, ends),
    )


async def set_preferences(conn: Connection, *, recipient_id: UUID, preferences: Preferences) -> None:
    """Replace what a recipient has chosen, in the caller's transaction. It holds for what is sent from now on.

    Raises: InvalidRequest for a time zone or hours that cannot be; NotFound when there is no such recipient.
    """
    check_preferences(preferences)
    quiet = preferences.quiet
    done = await conn.execute(
        """
        UPDATE notify.recipients SET unwanted = %s, time_zone = %s, quiet_from = %s, quiet_until = %s
        WHERE recipient_id = %s
        """,
        (
            sorted(unwanted_word(kind, channel) for kind, channel in preferences.unwanted),
            preferences.time_zone,
            None if quiet is None else quiet.starts,
            None if quiet is None else quiet.ends,
            recipient_id,
        ),
    )
    if not done.rowcount:
        raise NotFound()


async def set_unwanted(
    conn: Connection, *, recipient_id: UUID, kind: TopicKind | None, channels: Sequence[Channel]
) -> None:
    """Say by which ways a recipient wants nothing of a kind, in the caller's transaction; others stay as they are.

    No kind stands for what is mandatory. Raises: ClassMandatory where that is unwanted; NotFound when there is no such
    recipient.
    """
    if kind is None and channels:
        raise ClassMandatory(_("What somebody waits for is always sent: this class cannot be switched off."))
    done = await conn.execute(
        """
        UPDATE notify.recipients SET unwanted = ARRAY(
            SELECT word FROM unnest(unwanted) AS w (word)
            WHERE %(kind)s::text IS NULL OR NOT starts_with(word, %(kind)s)
            UNION SELECT unnest(%(words)s::text[]) ORDER BY 1
        ) WHERE recipient_id = %(recipient)s
        """,
        {
            "kind": None if kind is None else f"{kind.value}.",
            "words": [] if kind is None else [unwanted_word(kind, channel) for channel in channels],
            "recipient": recipient_id,
        },
    )
    if not done.rowcount:
        raise NotFound()


async def find_language(conn: Connection, *, recipient_id: UUID) -> str:
    """The locale in which a recipient is told of what they follow; empty: the shop's own, as for somebody unknown."""
    found = await conn.execute("SELECT locale FROM notify.recipients WHERE recipient_id = %s", (recipient_id,))
    row = await found.fetchone()
    return "" if row is None else str(row[0])


async def set_language(conn: Connection, *, recipient_id: UUID, locale: str) -> None:
    """Tell a recipient in this locale of what they follow, from now on, in the caller's transaction."""
    await conn.execute(
        "UPDATE notify.recipients SET locale = %s WHERE recipient_id = %s AND locale <> %s",
        (locale, recipient_id, locale),
    )


async def set_follow_channels(
    conn: Connection, *, recipient_id: UUID, topic_id: UUID, channels: Sequence[Channel] | None
) -> None:
    """Say how a recipient is told of something they follow, in the caller's transaction; None: as of all of its kind.

    Raises: InvalidRequest for no channel at all, which is to stop following; NotFound when they do not follow it.
    """
    if channels is not None and not channels:
        raise InvalidRequest(_("Choose at least one way, or stop following it."), field="channels")
    done = await conn.execute(
        "UPDATE notify.follows SET channels = %s WHERE topic_id = %s AND recipient_id = %s",
        (None if channels is None else sorted({channel.value for channel in channels}), topic_id, recipient_id),
    )
    if not done.rowcount:
        raise NotFound()


async def list_own_follows(
    conn: Connection, *, recipient_id: UUID, limit: int, after: UUID | None = None
) -> Sequence[Follow]:
    """What a recipient waits for or follows, the newest topics first, at most `limit`, behind the topic `after`."""
    rows = await conn.execute(
        f"{OWN_FOLLOWS} AND (%(after)s::uuid IS NULL OR t.topic_id < %(after)s)"
        " ORDER BY t.topic_id DESC LIMIT %(limit)s",
        {"recipient": recipient_id, "after": after, "limit": limit},
    )
    return [followed(row) for row in await rows.fetchall()]


async def find_followed_topic(conn: Connection, *, recipient_id: UUID, kind: TopicKind, key: str) -> Follow:
    """A recipient's follow of one topic. Raises: NotFound when they do not follow it."""
    rows = await conn.execute(
        f"{OWN_FOLLOWS} AND t.kind = %(kind)s AND t.key = %(key)s",
        {"recipient": recipient_id, "kind": kind.value, "key": key.replace("\0", "")},
    )
    row = await rows.fetchone()
    if row is None:
        raise NotFound()
    return followed(row)


def check_preferences(preferences: Preferences) -> None:
    """Raises: InvalidRequest for a time zone or quiet hours that cannot be."""
    if preferences.time_zone and preferences.time_zone not in known_zones():
        raise InvalidRequest(_("There is no such time zone. Choose one from the list."), field="time_zone")
    quiet = preferences.quiet
    if quiet is None:
        return
    if quiet.starts.tzinfo or quiet.ends.tzinfo:
        raise InvalidRequest(_("Write the times without an offset; the time zone says it."), field="quiet")
    if quiet_length(quiet.starts, quiet.ends) > MAX_QUIET:
        raise InvalidRequest(_("Quiet hours can be 18 hours a day at most."), field="quiet")


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """All time zones by their IANA names."""
    return frozenset(available_timezones())


@lru_cache(maxsize=1)
def offered_zones() -> tuple[str, ...]:
    """Time zones to choose from, in order."""
    return ("UTC", *sorted(zone for zone in known_zones() if zone.partition("/")[0] in AREAS))


def zone_of(name: str, default: str) -> ZoneInfo:
    """The time zone of this name, else the shop's; UTC where even that is unknown here."""
    known = known_zones()
    return ZoneInfo(next((each for each in (name, default) if each in known), "UTC"))


def unwanted_word(kind: TopicKind, channel: Channel) -> str:
    """How the database says that a kind is not wanted by this channel."""
    return f"{kind.value}.{channel.value}"

"""What people want to be told, by which way and when: chosen, kept, and followed by every send."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate import notify
from tidegate.notify import Channel, Preferences, QuietHours, TopicKind
from tidegate.notify.preferences import offered_zones
from tidegate.notify.rules import MAX_QUIET, quiet_end, quiet_length
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import InvalidRequest, NotFound

pytestmark = pytest.mark.anyio

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(7))
CLOCK = st.times().map(lambda at: at.replace(second=0, microsecond=0))


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-07-01T23:30+02:00", "2026-07-02T07:00+02:00"),
        ("2026-07-01T03:00+02:00", "2026-07-01T07:00+02:00"),
        ("2026-07-01T07:00+02:00", None),
        ("2026-07-01T21:59+02:00", None),
        ("2026-03-28T23:00+01:00", "2026-03-29T07:00+02:00"),
        ("2026-10-24T23:00+02:00", "2026-10-25T07:00+01:00"),
    ],
)
def test_quiet_hours_last_over_midnight_and_over_a_change_of_the_clock(now: str, end: str | None) -> None:
    found = quiet_end(datetime.fromisoformat(now), zone=BERLIN, starts=NIGHT.starts, ends=NIGHT.ends)
    assert found == (None if end is None else datetime.fromisoformat(end))


def test_an_end_that_the_clock_leaves_out_or_shows_twice_still_comes() -> None:
    late = {"zone": BERLIN, "starts": time(22), "ends": time(2, 30)}
    left_out = quiet_end(datetime(2026, 3, 28, 22, tzinfo=UTC), **late)  # type: ignore[arg-type]
    assert left_out == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    again = quiet_end(datetime(2026, 10, 25, 1, 15, tzinfo=UTC), **late)  # type: ignore[arg-type]
    assert again == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@given(
    now=st.integers(1_577_836_800, 2_082_758_400).map(lambda second: datetime.fromtimestamp(second, UTC)),
    zone=st.sampled_from(offered_zones()).map(ZoneInfo),
    starts=CLOCK,
    ends=CLOCK,
)
@example(datetime(2026, 3, 29, 0, 59, tzinfo=UTC), BERLIN, time(1), time(2, 30))
@example(datetime(2026, 10, 25, 0, 45, tzinfo=UTC), BERLIN, time(22), time(2, 30))
@example(datetime(2026, 4, 4, 15, 15, tzinfo=UTC), ZoneInfo("Australia/Lord_Howe"), time(22), time(1, 45))
def test_whoever_waits_is_told_soon_and_not_in_quiet_hours(
    now: datetime, zone: ZoneInfo, starts: time, ends: time
) -> None:
    if quiet_length(starts, ends) > MAX_QUIET:
        return
    clock = now.astimezone(zone).time()
    quiet = starts <= clock < ends if starts <= ends else clock >= starts or clock < ends
    end = quiet_end(now, zone=zone, starts=starts, ends=ends)
    assert (end is not None) == quiet
    if end is not None:
        assert now < end <= now + quiet_length(starts, ends) + timedelta(hours=1)
        assert quiet_end(end, zone=zone, starts=starts, ends=ends) is None


async def test_what_was_chosen_is_kept_and_nothing_chosen_is_everything_wanted(database: Database) -> None:
    person = PersonId(new_id())
    chosen = Preferences(frozenset({(TopicKind.DROP, Channel.EMAIL)}), "Europe/Berlin", NIGHT)
    async with database.transaction() as conn:
        recipient = await notify.ensure_recipient(conn, person_id=person, email="ada@example.com", locale="en")
        assert await notify.find_preferences(conn, recipient_id=recipient) == Preferences()
        await notify.set_preferences(conn, recipient_id=recipient, preferences=chosen)
    async with database.connection() as conn:
        assert await notify.find_preferences(conn, recipient_id=recipient) == chosen
        assert await notify.find_preferences(conn, recipient_id=new_id()) == Preferences()
        found = await notify.find_account(conn, person_id=person, email="ADA@example.com")
        assert found == notify.Recipient(person, has_inbox=True)
        with pytest.raises(NotFound):
            await notify.set_preferences(conn, recipient_id=new_id(), preferences=chosen)


@pytest.mark.parametrize(
    "wrong",
    [
        Preferences(time_zone="Europe/Atlantis"),
        Preferences(quiet=QuietHours(time(8), time(8))),
        Preferences(quiet=QuietHours(time(6), time(3))),
        Preferences(quiet=QuietHours(time(22, tzinfo=UTC), time(7))),
    ],
)
async def test_what_cannot_be_is_refused(database: Database, wrong: Preferences) -> None:
    async with database.connection() as conn:
        with pytest.raises(InvalidRequest):
            await notify.set_preferences(conn, recipient_id=new_id(), preferences=wrong)


async def test_a_followed_thing_has_ways_of_its_own(database: Database) -> None:
    person, topic = PersonId(new_id()), notify.Topic(TopicKind.COLLECTION, "lamps", "Lamps", "/collections/lamps")
    async with database.transaction() as conn:
        await notify.follow(conn, topic=topic, email="ada@example.com", locale="en", most=5, person_id=person)
        (found,) = await notify.list_follows(conn, person_id=person, email="ada@example.com", limit=5)
        assert found.channels is None
        await notify.set_follow_channels(conn, recipient_id=person, topic_id=found.topic_id, channels=[Channel.INBOX])
        (found,) = await notify.list_follows(conn, person_id=person, email="ada@example.com", limit=5)
        assert found.channels == (Channel.INBOX,)
        with pytest.raises(InvalidRequest):
            await notify.set_follow_channels(conn, recipient_id=person, topic_id=found.topic_id, channels=[])
        with pytest.raises(NotFound):
            await notify.set_follow_channels(conn, recipient_id=new_id(), topic_id=found.topic_id, channels=None)


def test_the_database_knows_what_cannot_be(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO notify.recipients (recipient_id, address_sealed, email_fingerprint, has_inbox)"
            " VALUES (gen_random_uuid(), '', sha256(''), false)"
        )
        for change in (
            "quiet_from = '22:00'",
            "quiet_from = '22:00', quiet_until = '22:00'",
            "quiet_from = '06:00', quiet_until = '03:00'",
            "unwanted = '{drop}'",
            "unwanted = ARRAY[NULL]",
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                conn.execute(f"UPDATE notify.recipients SET {change}")

"""Those who ask all the time, and the rule for those who do not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.gate.conftest import somebody
from tidegate.gate import PollAnswer, next_poll_s
from tidegate.gate.pace import FollowersPace, Pace


def test_who_asks_too_often_waits_and_nobody_else_does() -> None:
    pace, eager, calm = Pace(60), somebody(), somebody()
    answered = sum(pace.wait_s(eager, now_s=turn / 100) == 0 for turn in range(1_000))
    assert 60 <= answered <= 70, "sixty at once, then one a second"
    assert pace.wait_s(eager, now_s=10.0) == 1
    assert pace.wait_s(calm, now_s=10.0) == 0
    assert pace.wait_s(eager, now_s=11.5) == 0, "after the wait it goes on"


def test_memory_is_bounded() -> None:
    pace, first = Pace(1, max_people=10), somebody()
    assert pace.wait_s(first, now_s=0) == 0
    assert pace.wait_s(first, now_s=0) == 60
    for _ in range(10):
        pace.wait_s(somebody(), now_s=0)
    assert pace.wait_s(first, now_s=0) == 0, "forgotten"


def test_a_network_has_room_for_many_and_this_machine_is_nobody() -> None:
    pace = FollowersPace(per_minute=2, per_minute_per_network=6)

    def refused(address: str, sessions: list[str | None]) -> int:
        return sum(pace.wait_s(address=address, session=session, now_s=0) > 0 for session in sessions)

    assert refused("192.0.2.1", ["one"] * 5) == 3
    assert refused("192.0.2.2", ["one"]) == 1, "a session is the same from everywhere"
    assert refused("192.0.2.3", [f"made up {turn}" for turn in range(10)]) == 4, "made-up sessions do not help"
    assert refused("2001:db8::1", [None] * 6) + refused("2001:db8::2", [None]) == 1, "one network of IPv6"
    assert refused("127.0.0.1", [None] * 100) == 0
    assert refused("", [None] * 100) == 0


POLL = PollAnswer(near_s=1, far_s=60, per_s=40.0, jitter=0.3)


@given(st.one_of(st.none(), st.integers(1, 10**6)), st.integers(1, 10**6), st.floats(0, 10**5), st.floats(0, 1))
def test_the_next_question_is_never_too_soon_nor_too_late(
    number: int | None, serving: int, opens_in_s: float, draw: float
) -> None:
    pause = next_poll_s(POLL, number=number, serving=serving, opens_in_s=opens_in_s, draw=draw)
    assert 0.7 <= pause <= 78.0001


def test_who_is_near_asks_often() -> None:
    def pause(number: int | None, opens_in_s: float = 0) -> float:
        return next_poll_s(POLL, number=number, serving=100, opens_in_s=opens_in_s, draw=0.5)

    assert [pause(number) for number in (99, 100, 140, 500, 4_100)] == [1, 1, 1, 10, 60]
    assert [pause(None, opens_in_s) for opens_in_s in (0, 5, 100, 3_600)] == [1, 1, 10, 60]

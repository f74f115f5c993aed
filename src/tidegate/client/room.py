"""A waiting room as one person's program waits in it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from tidegate.client.contracts import Joined, Phase, Place, PlaceState, Status, Turn
from tidegate.client.draw import number_of
from tidegate.client.errors import (
    LobbyNotOpen,
    PlaceOver,
    PlaceUnknown,
    RoomClosed,
    RoomSoldOut,
    TicketNotGood,
    UnexpectedAnswer,
)
from tidegate.client.rules import fresh_s, next_poll_s
from tidegate.client.shop import Shop, read

TICKET = "Tidegate-Ticket"
OVER = (PlaceState.SPENT, PlaceState.EXPIRED, PlaceState.LEFT)


class WaitingRoom:
    """The room of the drop `slug`, for the person whose session `shop` has.

    `joined` is what an earlier `join` gave: with it a program that was started anew goes on where it was. Without it
    nothing is lost either: joining again gives the same place. A place of an earlier room of the drop is given up for
    one in the room that there is now.
    """

    def __init__(self, shop: Shop, slug: str, *, joined: Joined | None = None) -> None:
        self.joined = joined
        self._shop = shop
        self._path = f"/api/v1/drops/{slug}"
        self._status: Status | None = None
        self._etag = ""
        self._told_s = 0.0
        self._stale_s = 0.0

    async def join(self) -> Joined:
        """Take a place, or get the one that there is. Keep what this gives.

        Raises: LobbyNotOpen, RoomClosed, RoomSoldOut, RoomUnknown, AccountNeeded, JoinedTooOften, NotSignedIn.
        """
        answer = await self._shop.insist(lambda: self._shop.ask("POST", f"{self._path}/places"))
        self.joined = read(answer, Joined)
        return self.joined

    async def status(self) -> Status:
        """The room as everybody may know it; not asked for again while the last answer may be used.

        Ask again after `pause_s()`. Raises: RoomUnknown.
        """
        if self._status is None or self._shop.pace.now_s() >= self._stale_s:
            self._take(await self._shop.insist(self._ask_status))
        assert self._status is not None, "a status was just read"
        return self._status

    async def place(self) -> Place:
        """This person's place; to be asked for near the front only, which `wait_for_turn` does.

        Joins anew when the shop does not know it. Raises: as `join`, PlaceUnknown.
        """
        joined = self.joined or await self.join()
        try:
            return await self._ask_place(joined)
        except (TicketNotGood, PlaceUnknown):
            # its key was retired, somebody signed in meanwhile, or the drop was opened anew in another room
            return await self._ask_place(await self.join())

    async def leave(self) -> None:
        """Give the place up. Whoever comes back after the room has opened goes to the end of the line."""
        joined = self.joined or await self.join()
        await self._shop.insist(lambda: self._shop.ask("DELETE", self._place_path(joined), headers=_ticket(joined)))
        self.joined = None

    def pause_s(self, number: int | None, *, until: datetime | None = None) -> float:
        """Seconds until the status may be asked for again, as the room wants it; call it once after each `status`.

        `until` is what somebody without a number waits for; the opening of the room unless told.
        """
        status = self._status
        assert status is not None, "the pause follows from a status"
        passed_s = self._shop.pace.now_s() - self._told_s
        opens_in_s = ((until or status.opens_at) - status.at).total_seconds() - passed_s
        wait_s = next_poll_s(
            status.poll, number=number, serving=status.serving, opens_in_s=opens_in_s, draw=self._shop.pace.draw()
        )
        return max(wait_s, self._stale_s - self._shop.pace.now_s())

    async def watch(self) -> AsyncIterator[tuple[Status, Place | None]]:
        """The room, and this person's place once it has a number, each time that something may have changed; for ever.

        Joins as soon as the lobby is open. It asks as seldom as the room wants; in between it sleeps.
        Raises: as `join` and `place`.
        """
        place: Place | None = None
        while True:
            status = await self.status()
            until = None
            if self.joined is None or not _is_here(self.joined, status):
                self.joined = place = None
                until = await self._join_when_open(status)
            numbered = status.drawn or status.mode != "draw"
            if self.joined is not None and numbered and _is_here(self.joined, status):
                place = await self._look(status, self.joined, place)
            number = None if self.joined is None else (place.number if place is not None else self.joined.number)
            yield status, place
            await self._shop.pace.sleep(self.pause_s(number, until=until))

    async def wait_for_turn(self, *, stay: bool = False) -> Turn:
        """Wait until it is this person's turn. With `stay` also while all is sold: what is given back goes on sale.

        Raises: RoomSoldOut, RoomClosed; PlaceOver when the place is spent, expired or left; as `join` and `place`.
        """
        async for status, place in self.watch():
            if place is not None and place.state is PlaceState.ADMITTED and place.admission is not None:
                return Turn(place, place.admission, _end_of(place.admission))
            if place is not None and place.state in OVER:
                raise PlaceOver(place.state)
            if status.phase is Phase.CLOSED:
                raise RoomClosed("room-closed", 409, "This waiting room is closed.", extra={})
            if status.phase is Phase.SOLD_OUT and not stay:
                raise RoomSoldOut("room-sold-out", 409, "Everything is sold.", extra={})
        raise AssertionError("watching does not end by itself")

    async def _look(self, status: Status, joined: Joined, known: Place | None) -> Place:
        """The place as it follows from the status; asked for near the front, and where the number does not follow."""
        number = known.number if known is not None else joined.number
        if number is None and status.draw is not None:
            number = number_of(status.draw, joined.index)
        if number is None or number < status.serving:
            return await self.place()
        return known or Place(id=joined.id, number=number, state=PlaceState.WAITING)

    async def _join_when_open(self, status: Status) -> datetime | None:
        """Join unless the lobby is still closed; then when it opens."""
        if status.phase is not Phase.SCHEDULED:
            try:
                await self.join()
            except LobbyNotOpen:  # the status was a moment ahead, or comes from a cache
                return status.lobby_opens_at
            return None
        return status.lobby_opens_at

    async def _ask_status(self) -> httpx.Response:
        headers = {"if-none-match": self._etag} if self._etag and self._status is not None else {}
        return await self._shop.ask("GET", f"{self._path}/status", headers=headers)

    def _take(self, answer: httpx.Response) -> None:
        now_s = self._shop.pace.now_s()
        if answer.status_code != httpx.codes.NOT_MODIFIED:
            self._status = read(answer, Status)
            self._told_s = now_s
        self._etag = answer.headers.get("etag", "")
        self._stale_s = now_s + fresh_s(answer.headers)

    async def _ask_place(self, joined: Joined) -> Place:
        path, headers = self._place_path(joined), _ticket(joined)
        return read(await self._shop.insist(lambda: self._shop.ask("GET", path, headers=headers)), Place)

    def _place_path(self, joined: Joined) -> str:
        return f"{self._path}/places/{joined.id}"


def _is_here(joined: Joined, status: Status) -> bool:
    """Whether a place is in the room that the status is of, and not in another one of the same drop."""
    return status.room is None or joined.room in (None, status.room)


def _ticket(joined: Joined) -> dict[str, str]:
    return {TICKET: joined.ticket}


def _end_of(admission: str) -> datetime:
    """When a pass ends, as it says itself (RFC 7519, `exp`). Raises: UnexpectedAnswer for what is no pass."""
    try:
        payload = admission.split(".")[1]
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise UnexpectedAnswer("the shop gave something else than a pass") from error

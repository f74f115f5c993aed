"""JSON routes by which staff lead a room."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from tidegate.gate.contracts import Phase, RoomMode, RoomUnknown
from tidegate.gate.rooms import close_room, pause_room
from tidegate.gate.staffing import MAX_MESSAGE, MAX_PER_MIN, RoomView, limit_speed, tell_waiting, view_room
from tidegate.platform.database import Connection, Database
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.problems import InvalidRequest, NotFound, NotSignedIn
from tidegate.platform.settings import Settings
from tidegate.web import Visitor, require_staff

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/admin/rooms", tags=["rooms"])

Staff = Annotated[Visitor, Depends(require_staff)]
Slug = Annotated[str, Path(description="The drop's address.", max_length=200)]
PROBLEMS = problems_by_status((NotSignedIn, NotFound, RoomUnknown, InvalidRequest))


class LiveRoomAnswer(BaseModel):
    """A room as it stands; counts are people since it opened, `held`, `sold` and `left` items, rates shares of 1."""

    slug: str
    mode: RoomMode
    guests: bool = Field(description="Whether people without an account may have a place.")
    phase: Phase
    paused: bool
    opens_at: datetime
    waiting: int
    admitted: int
    inside: int
    spent: int
    no_shows: int
    held: int
    sold: int
    left: int | None
    reach: int | None = Field(description="How many more than those inside will probably get something.")
    no_show_rate: float
    completion_rate: float
    finish_s: float = Field(description="How long people take from being let in until they hold something.")
    pace_per_s: float = Field(description="People let in per second of late.")
    speed_limit_per_min: int | None
    message: str

    @classmethod
    def of(cls, view: RoomView) -> LiveRoomAnswer:
        """The shape of a room."""
        room = view.room
        return cls(
            slug=room.slug,
            mode=room.mode,
            guests=room.guests,
            phase=room.phase,
            paused=room.paused,
            opens_at=room.opens_at,
            waiting=view.waiting,
            admitted=view.admitted,
            inside=view.inside,
            spent=view.spent,
            no_shows=view.absent,
            held=view.held,
            sold=view.sold,
            left=room.stock_left,
            reach=view.reach,
            no_show_rate=view.no_show_rate,
            completion_rate=view.completion_rate,
            finish_s=view.finish_s,
            pace_per_s=room.pace_per_s,
            speed_limit_per_min=view.speed_limit_per_min,
            message=room.message,
        )


class RoomChange(BaseModel):
    """What to change; what is left out stays. A speed limit of null lets the loop decide."""

    paused: bool | None = None
    speed_limit_per_min: int | None = Field(None, ge=1, le=MAX_PER_MIN)
    message: str | None = Field(None, max_length=MAX_MESSAGE)


@router.get("/{slug}", responses=PROBLEMS)
async def get_admin_room(request: Request, person: Staff, slug: Slug) -> LiveRoomAnswer:
    """How a room stands, for staff."""
    async with _database(request).connection() as conn:
        return await _answer(request, conn, slug)


@router.patch("/{slug}", responses=PROBLEMS)
async def patch_admin_room(request: Request, person: Staff, slug: Slug, body: RoomChange) -> LiveRoomAnswer:
    """Pause a room or go on, limit its speed, say something to all who wait. Repeating it changes nothing more."""
    async with _database(request).transaction() as conn:
        await _answer(request, conn, slug)
        if "speed_limit_per_min" in body.model_fields_set:
            await limit_speed(conn, slug=slug, per_min=body.speed_limit_per_min)
        if body.paused is not None:
            await pause_room(conn, slug=slug, paused=body.paused)
        if body.message is not None:
            await tell_waiting(conn, slug=slug, message=body.message)
        answer = await _answer(request, conn, slug)
    log.info("room changed", drop=slug, by=str(person.id), what=sorted(body.model_fields_set))
    return answer


@router.post("/{slug}/close", responses=PROBLEMS)
async def post_admin_room_close(request: Request, person: Staff, slug: Slug) -> LiveRoomAnswer:
    """End a room for good: nobody is let in any more. Closing it twice changes nothing more."""
    async with _database(request).transaction() as conn:
        await _answer(request, conn, slug)
        await close_room(conn, slug=slug)
        answer = await _answer(request, conn, slug)
    log.info("room closed", drop=slug, by=str(person.id))
    return answer


async def _answer(request: Request, conn: Connection, slug: str) -> LiveRoomAnswer:
    """Raises: RoomUnknown."""
    settings: Settings = request.app.state.settings
    view = await view_room(conn, slug=slug.replace("\0", ""), settings=settings.admission)
    if view is None:
        raise RoomUnknown()
    return LiveRoomAnswer.of(view)


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database

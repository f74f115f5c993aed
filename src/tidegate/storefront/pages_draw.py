"""A draw's page: what it was made of, and a check of one's own receipt by the reader's browser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import gate
from tidegate.gate import DrawAnswer, Gate, PlaceQuestion
from tidegate.platform.problems import NotFound
from tidegate.platform.settings import Settings
from tidegate.storefront.room_drops import RoomTitle
from tidegate.web import NOT_KEPT, current_person, render, see_other

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class DrawContext:
    """Context of `storefront/draw.html`."""

    slug: str
    title: str
    draw: DrawAnswer
    opens_at: datetime
    drawn_at: datetime | None
    over: bool
    """Whether there is a draw to be checked."""
    address: str
    """What `tidegate verify-draw` is told."""
    receipt: str
    """The visitor's own; empty for those without a place."""
    number: int | None
    """The visitor's own."""


@router.get("/drops/{slug}/draw")
async def show_draw(request: Request, slug: str) -> Response:
    """What a draw was made of; before, what is public of it. Of a drop without a room it leads to the drop."""
    rooms: Gate = request.app.state.gate
    settings: Settings = request.app.state.settings
    title_of: RoomTitle = request.app.state.room_title
    if slug not in rooms.statuses:
        return see_other(request, f"/drops/{slug}")
    title = await title_of(slug)
    if title is None:
        raise NotFound()
    room = rooms.kept(slug).room
    person = await current_person(request)
    joined = await rooms.find(PlaceQuestion(room.id, person.id)) if person else None
    room = joined.room if joined else room
    draw = gate.draw_answer(room)
    context = DrawContext(
        slug=slug,
        title=title,
        draw=draw,
        opens_at=room.opens_at,
        drawn_at=room.drawn_at,
        over=draw.assurance != "pending",
        address=f"{settings.base_url}/drops/{slug}",
        receipt=gate.receipt_text(rooms.ring, joined.receipt) if joined else "",
        number=joined.place.number if joined else None,
    )
    return render(request, "storefront/draw.html", context, headers=NOT_KEPT)

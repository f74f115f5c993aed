"""The staff's drops: the list, making and changing one, and the room from which a running one is led."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import catalog, inventory, ops
from tidegate.admin.drop_forms import FORM_FIELDS, DropForm, read_drop_form, refusal
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.catalog import Drop, DropExists, DropRuns, Room, UnknownVariant, VariantInDrop
from tidegate.checkout import Shop, takes_guests
from tidegate.ops import DropSample
from tidegate.platform.charts import Chart, Series, draw_chart
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, read_form, render, see_other

router = staff_router("/drops")
log = structlog.get_logger(__name__)

SHOWN = 100
LIVE_S = 5
CHART_S = 3_600
SAMPLE_GAP_S = 35.0
"""Two samples further apart are not joined."""

REFUSED = (InvalidRequest, DropExists, DropRuns, UnknownVariant, VariantInDrop)


@dataclass(frozen=True, slots=True)
class DropView:
    """A drop and how it stands. `phase`: scheduled, open, sold_out or closed. Items, all of them.

    `guests`: whether people without an account take part.
    """

    drop: Drop
    phase: str
    guests: bool
    skus: tuple[str, ...]
    quantity: int
    held: int
    paid: int
    left: int


@dataclass(frozen=True, slots=True)
class DropsContext:
    """Context of `admin/drops.html`: the drops, each with its phase and how many items it offers."""

    rows: tuple[tuple[Drop, str, int], ...]


@dataclass(frozen=True, slots=True)
class DropFormContext:
    """Context of `admin/drop_form.html`; `slug` is empty for a new drop. `room`: who waits there is settled."""

    slug: str
    room: bool
    typed: dict[str, str]
    errors: dict[str, str]
    error: str


@dataclass(frozen=True, slots=True)
class LiveDropContext:
    """Context of `admin/drop.html`."""

    view: DropView
    now: datetime
    charts: tuple[Chart, ...]
    live_s: int
    changed: bool


@dataclass(frozen=True, slots=True)
class ConfirmContext:
    """Context of `admin/drop_confirm.html`; `action`: close or reopen."""

    view: DropView
    action: str
    typed: dict[str, str]
    error: str
    errors: dict[str, str]


@router.get("")
async def list_drops(request: Request) -> Response:
    """All drops, live ones first."""
    shop = _shop(request)
    async with shop.database.connection() as conn:
        now = await database_now(conn)
        drops = await catalog.list_drops(conn, limit=SHOWN)
        levels = await inventory.stock_levels(
            conn, variant_ids=[item.variant_id for drop in drops for item in drop.items]
        )
    rows = tuple(
        (
            drop,
            _phase(drop, now, sum(levels[i.variant_id].available for i in drop.items if i.variant_id in levels)),
            sum(item.quantity for item in drop.items),
        )
        for drop in drops
    )
    return render(request, "admin/drops.html", DropsContext(rows), headers=NOT_KEPT)


@router.get("/new")
async def show_new(request: Request, sku: str = "") -> Response:
    """The form of a new drop."""
    typed = dict.fromkeys(FORM_FIELDS, "") | {"per_buyer": "1", "sku": sku.replace("\0", "")[:100]}
    return _form(request, "", typed)


@router.post("/new")
async def create(request: Request) -> Response:
    """Make a drop."""
    shop, form, person = _shop(request), read_drop_form(await read_form(request)), await staff_member(request)
    if form.errors:
        return _form(request, "", form.typed, errors=form.errors)
    try:
        async with shop.database.transaction() as conn:
            await ops.start_drop(
                conn,
                slug=form.slug,
                title=form.title,
                sku=form.sku,
                quantity=form.quantity,
                opens_at=form.opens_at,
                per_buyer=form.per_buyer,
                room=form.room,
                guests=form.guests,
                by=PersonId(person.id),
            )
    except REFUSED as problem:
        return _refused(request, "", form, problem)
    log.info("drop created", drop=form.slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{form.slug}?changed=1")


@router.get("/{slug}")
async def show_drop(request: Request, slug: str, changed: str = "") -> Response:
    """The room of a drop."""
    shop = _shop(request)
    async with shop.database.connection() as conn:
        view = await _view(conn, slug)
        now = await database_now(conn)
    samples = await ops.read_drop_samples(shop.settings, drop_id=view.drop.id)
    charts = _charts(samples, end=time.time())
    context = LiveDropContext(view, now, charts, LIVE_S, changed == "1")
    return render(request, "admin/drop.html", context, headers=NOT_KEPT)


@router.get("/{slug}/edit")
async def show_edit(request: Request, slug: str) -> Response:
    """The form of a drop that has not opened yet."""
    async with _shop(request).database.connection() as conn:
        view = await _view(conn, slug)
    if view.phase != "scheduled":
        return see_other(request, f"/admin/drops/{view.drop.slug}")
    drop = view.drop
    typed = {
        "title": drop.title,
        "slug": drop.slug,
        "sku": ", ".join(view.skus),
        "quantity": str(view.quantity),
        "per_buyer": str(drop.per_buyer),
        "opens_at": drop.opens_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M"),
        "guests": "1" if drop.guests else "",
    }
    return _form(request, drop.slug, typed, room=drop.room is not Room.NONE)


@router.post("/{slug}/edit")
async def edit(request: Request, slug: str) -> Response:
    """Change a drop that has not opened yet."""
    shop, posted, person = _shop(request), await read_form(request), await staff_member(request)
    async with shop.database.connection() as conn:
        view = await _view(conn, slug)
    kept = PostedForm((*posted.fields, ("slug", view.drop.slug), ("sku", ", ".join(view.skus))))
    form, room = read_drop_form(kept), view.drop.room is not Room.NONE
    if form.errors:
        return _form(request, view.drop.slug, form.typed, room=room, errors=form.errors)
    try:
        async with shop.database.transaction() as conn:
            await ops.change_drop(
                conn,
                slug=view.drop.slug,
                title=form.title,
                quantity=form.quantity,
                opens_at=form.opens_at,
                per_buyer=form.per_buyer,
                guests=view.guests if room else form.guests,
                by=PersonId(person.id),
            )
    except REFUSED as problem:
        return _refused(request, view.drop.slug, form, problem, room=room)
    return see_other(request, f"/admin/drops/{view.drop.slug}?changed=1")


@router.get("/{slug}/close")
async def ask_close(request: Request, slug: str) -> Response:
    """What closing means, and whether to."""
    return await _confirm(request, slug, "close")


@router.post("/{slug}/close")
async def close(request: Request, slug: str) -> Response:
    """End the drop."""
    await read_form(request)
    shop, person = _shop(request), await staff_member(request)
    async with shop.database.transaction() as conn:
        drop = (await _view(conn, slug)).drop
        await catalog.close_drop(conn, slug=drop.slug)
    log.info("drop closed", drop=drop.slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{drop.slug}?changed=1")


@router.get("/{slug}/reopen")
async def ask_reopen(request: Request, slug: str) -> Response:
    """What opening again means, and whether to."""
    return await _confirm(request, slug, "reopen")


@router.post("/{slug}/reopen")
async def reopen(request: Request, slug: str) -> Response:
    """Open a closed drop again, with all of its items."""
    form, shop, person = await read_form(request), _shop(request), await staff_member(request)
    try:
        async with shop.database.transaction() as conn:
            view = await _view(conn, slug)
            if view.phase != "closed":
                raise DropRuns(_("This drop is not closed. Nothing was changed."))
            opens_at = catalog.parse_moment(form.get("opens_at") or "now", now=await database_now(conn))
            await ops.replay_drop(conn, slug=view.drop.slug, opens_at=opens_at, by=PersonId(person.id))
    except REFUSED as problem:
        typed = {"opens_at": form.get("opens_at")}
        return await _confirm(request, slug, "reopen", typed=typed, problem=problem)
    log.info("drop opened again", drop=view.drop.slug, by=str(person.id))
    return see_other(request, f"/admin/drops/{view.drop.slug}?changed=1")


async def _confirm(
    request: Request, slug: str, action: str, *, typed: dict[str, str] | None = None, problem: Problem | None = None
) -> Response:
    async with _shop(request).database.connection() as conn:
        view = await _view(conn, slug)
    told = refusal(problem)[1] if problem else ""
    wrong = {"opens_at": told} if isinstance(problem, InvalidRequest) else {}
    context = ConfirmContext(view, action, typed or {"opens_at": ""}, "" if wrong else told, wrong)
    status = problem.status if problem else 200
    return render(request, "admin/drop_confirm.html", context, status=status, headers=NOT_KEPT)


async def _view(conn: Connection, slug: str) -> DropView:
    """Raises: NotFound."""
    drop = await catalog.find_drop(conn, slug=slug)
    if drop is None:
        raise NotFound()
    levels = await inventory.stock_levels(conn, variant_ids=[item.variant_id for item in drop.items])
    taken = await inventory.taken_in_drop(conn, drop_id=drop.id)
    live = drop.closed_at is None
    held = min(taken, sum(level.held for level in levels.values())) if live else 0
    left = sum(level.available for level in levels.values())
    return DropView(
        drop=drop,
        phase=_phase(drop, await database_now(conn), left),
        guests=await takes_guests(conn, drop),
        skus=tuple(item.sku for item in drop.items),
        quantity=sum(item.quantity for item in drop.items),
        held=held,
        paid=taken - held,
        left=left,
    )


def _phase(drop: Drop, now: datetime, left: int) -> str:
    if drop.closed_at is not None:
        return "closed"
    if drop.opens_at > now:
        return "scheduled"
    return "open" if left else "sold_out"


def _charts(samples: tuple[DropSample, ...], *, end: float) -> tuple[Chart, ...]:
    last = min(end, samples[-1].at) if samples else end
    start = max(last - CHART_S, samples[0].at if samples else last - CHART_S)
    items = (
        Series(_("Paid"), tuple((each.at, float(each.paid)) for each in samples)),
        Series(_("Held"), tuple((each.at, float(each.held)) for each in samples)),
        Series(_("Left"), tuple((each.at, None if each.left is None else float(each.left)) for each in samples)),
    )
    pairs = pairwise(samples)
    rate = tuple(
        (now.at, max(0.0, (now.paid - before.paid) * 60 / (now.at - before.at)))
        for before, now in pairs
        if 0 < now.at - before.at <= SAMPLE_GAP_S
    )
    spread = {"start": start, "end": max(last, start + 60), "gap_s": SAMPLE_GAP_S}
    return (
        draw_chart(_("Items over time"), _("items"), items, **spread),
        draw_chart(_("Sales"), _("items a minute"), (Series(_("Paid"), rate),), **spread),
    )


def _form(
    request: Request,
    slug: str,
    typed: dict[str, str],
    *,
    room: bool = False,
    errors: dict[str, str] | None = None,
    error: str = "",
    status: int = 422,
) -> Response:
    context = DropFormContext(slug, room, typed, errors or {}, error)
    return render(request, "admin/drop_form.html", context, status=status if errors or error else 200, headers=NOT_KEPT)


def _refused(request: Request, slug: str, form: DropForm, problem: Problem, *, room: bool = False) -> Response:
    field, words = refusal(problem)
    if field:
        return _form(request, slug, form.typed, room=room, errors={field: words}, status=problem.status)
    return _form(request, slug, form.typed, room=room, error=words, status=problem.status)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

"""The staff's stock: how many there are of everything, its history, and correcting it with a reason."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from tidegate import accounts, catalog, inventory
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.catalog import VariantName
from tidegate.checkout import Shop
from tidegate.inventory import MoveCause, StockChanged, StockLevel, StockMovement, StockTaken
from tidegate.platform.database import Connection
from tidegate.platform.ids import ANYONE, PersonId, VariantId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other

router = staff_router("/stock")

SHOWN = 50
LOW = 5
"""At most so many free items are few."""

MAX_ID = 2**63 - 1
REFUSED = (InvalidRequest, StockChanged, StockTaken)

CAUSES = {
    MoveCause.CORRECTION: _("Corrected"),
    MoveCause.IMPORT: _("First stock"),
    MoveCause.DROP: _("Drop"),
    MoveCause.COMMAND: _("Command line"),
    MoveCause.SET: _("Set"),
}


@dataclass(frozen=True, slots=True)
class StockRow:
    """A variant and its stock."""

    name: VariantName
    level: StockLevel


@dataclass(frozen=True, slots=True)
class StockContext:
    """Context of `admin/stock.html`. Sums are over the shown rows; `next_after` is the SKU that the page ends with."""

    rows: tuple[StockRow, ...]
    query: str
    low: bool
    few: int
    total: StockLevel
    next_after: str
    error: str


@dataclass(frozen=True, slots=True)
class MovementRow:
    """A movement, what caused it in words, and who."""

    movement: StockMovement
    cause: str
    who: str


@dataclass(frozen=True, slots=True)
class ShelfContext:
    """Context of `admin/stock_item.html`."""

    row: StockRow
    history: tuple[MovementRow, ...]
    next_before: int | None
    typed: dict[str, str]
    error: str
    saved: bool
    few: int


@router.get("")
async def list_stock(request: Request, q: str = "", low: str = "", after: str = "") -> Response:
    """Stock of all variants, by SKU."""
    shop: Shop = request.app.state.shop
    query, error = q.replace("\0", "").strip()[:1_000], ""
    async with shop.database.connection() as conn:
        only = await inventory.low_stock(conn, at_most=LOW) if low else None
        try:
            names = await catalog.list_variants(conn, query=query, after=after[:100], only=only, limit=SHOWN + 1)
        except InvalidRequest as problem:
            names, error = (), problem.detail
        rows = await _with_levels(conn, names[:SHOWN])
    total = StockLevel(
        VariantId(ANYONE),
        on_hand=sum(row.level.on_hand for row in rows),
        held=sum(row.level.held for row in rows),
        sold=sum(row.level.sold for row in rows),
    )
    next_after = names[SHOWN - 1].sku if len(names) > SHOWN else ""
    context = StockContext(rows, query, bool(low), LOW, total, next_after, error)
    return render(request, "admin/stock.html", context, status=422 if error else 200, headers=NOT_KEPT)


@router.get("/{variant_id}")
async def show_stock(request: Request, variant_id: str, before: str = "", saved: str = "") -> Response:
    """One variant: its stock, a form to correct it, and its history."""
    older = int(before) if before.isascii() and before.isdigit() and len(before) < len(str(MAX_ID)) else None
    return await _page(request, _variant_id(variant_id), before=older, saved=saved == "1")


@router.post("/{variant_id}")
async def correct(request: Request, variant_id: str) -> Response:
    """Correct how many there are."""
    shop: Shop = request.app.state.shop
    wanted, form = _variant_id(variant_id), await read_form(request)
    person = await staff_member(request)
    typed = {name: form.get(name) for name in ("on_hand", "seen", "note")}
    try:
        async with shop.database.transaction() as conn:
            await _name(conn, wanted)
            await inventory.correct_stock(
                conn,
                variant_id=wanted,
                on_hand=_items(typed["on_hand"]),
                seen=_items(typed["seen"]),
                by=PersonId(person.id),
                note=typed["note"],
            )
    except REFUSED as problem:
        return await _page(request, wanted, typed=typed, problem=problem)
    return see_other(request, f"/admin/stock/{wanted}?saved=1")


async def _page(
    request: Request,
    variant_id: VariantId,
    *,
    before: int | None = None,
    typed: dict[str, str] | None = None,
    problem: Problem | None = None,
    saved: bool = False,
) -> Response:
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        row = (await _with_levels(conn, (await _name(conn, variant_id),)))[0]
        moves = await inventory.list_movements(conn, variant_id=variant_id, before=before, limit=SHOWN + 1)
        people = {move.person_id for move in moves if move.person_id is not None}
        addresses = await accounts.addresses_of(conn, people=people)
    history = tuple(
        MovementRow(move, CAUSES[move.cause], addresses.get(move.person_id, "") if move.person_id else "")
        for move in moves[:SHOWN]
    )
    context = ShelfContext(
        row=row,
        history=history,
        next_before=history[-1].movement.id if len(moves) > SHOWN else None,
        typed={"on_hand": str(row.level.on_hand), "note": ""} | (typed or {}),
        error=problem.detail if problem else "",
        saved=saved,
        few=LOW,
    )
    status = problem.status if problem else 200
    return render(request, "admin/stock_item.html", context, status=status, headers=NOT_KEPT)


async def _name(conn: Connection, variant_id: VariantId) -> VariantName:
    found = await catalog.list_variants(conn, only=[variant_id], limit=1)
    if not found:
        raise NotFound()
    return found[0]


async def _with_levels(conn: Connection, names: tuple[VariantName, ...]) -> tuple[StockRow, ...]:
    levels = await inventory.stock_levels(conn, variant_ids=[name.variant_id for name in names])
    return tuple(
        StockRow(name, levels.get(name.variant_id) or StockLevel(name.variant_id, on_hand=0, held=0, sold=0))
        for name in names
    )


def _items(text: str) -> int:
    """A number of items as staff type it. Raises: InvalidRequest."""
    plain = text.replace(",", "").replace(" ", "")
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 10):
        raise InvalidRequest(_("Stock is a whole number from 0 to 1,000,000,000. Nothing was changed."))
    return int(plain)


def _variant_id(text: str) -> VariantId:
    wanted = parse_id(text)
    if wanted is None:
        raise NotFound()
    return VariantId(wanted)

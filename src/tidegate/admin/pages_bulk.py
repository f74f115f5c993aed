"""Changing many products at once: choose, say what, look at what comes of it, then do it.

The products are those that were picked, or all that fit the list's search. A preview names the state of them, and the
change is made only while they are still in it: so it is not made twice, and not to others than were seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from tidegate import catalog
from tidegate.admin.pages_lists import MAX_TYPED
from tidegate.admin.pages_product_form import split_tags
from tidegate.admin.pages_products import FILTERS, read_filter
from tidegate.admin.pages_shell import staff_router
from tidegate.catalog import BulkChange, BulkPreview, Choice, ChoiceChanged, CollectionRow, Status, UnknownCollection
from tidegate.checkout import Shop
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, parse_id
from tidegate.platform.money import MoneyError, parse_amount
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other

router = staff_router("/products/bulk")

SAMPLES = 20
"""Products that a preview shows before and after."""
FIELDS = ("prices", "by", "status_to", "add_tags", "remove_tags", "add_to", "remove_from")
NOT_CHOSEN = _("Pick products in the list first, or search for those that you mean and change all that fit.")


@dataclass(frozen=True, slots=True)
class BulkContext:
    """Context of `admin/bulk.html`. `typed` are the filter's fields and the change's; `seen` is the previewed state."""

    typed: dict[str, str]
    picked: tuple[str, ...]
    filters: tuple[str, ...]
    fields: tuple[str, ...]
    count: int
    collections: tuple[CollectionRow, ...]
    preview: BulkPreview | None
    seen: str
    errors: dict[str, str]
    problem: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request says: the choice, and the change as it was typed."""

    typed: dict[str, str]
    picked: tuple[str, ...]

    async def choose(self, conn: Connection, *, keep: bool = False) -> Choice:
        """The products that are meant. Raises: InvalidRequest."""
        if self.typed["all"]:
            wanted = await read_filter(conn, self.typed)
            return await catalog.choose(conn, wanted=wanted, limit=catalog.MAX_BULK, keep=keep)
        ids = [ProductId(found) for each in self.picked if (found := parse_id(each))]
        return await catalog.choose(conn, product_ids=ids, limit=catalog.MAX_BULK, keep=keep)


@router.get("")
async def show_bulk(request: Request) -> Response:
    """What shall be done to the chosen products?"""
    query = request.query_params
    asked = _asked(dict(query), query.getlist("pick"))
    return await _show(request, asked)


@router.post("")
async def post_bulk(request: Request) -> Response:
    """Show what the change would do, or make it."""
    shop: Shop = request.app.state.shop
    form = await read_form(request)
    asked = _asked(dict(form.fields), form.all("pick"))
    change, errors = parse_change(asked.typed, currency=shop.settings.currency)
    if errors:
        return await _show(request, asked, errors=errors)
    if form.get("action") != "apply":
        return await _show(request, asked, change=change)
    try:
        async with shop.database.transaction() as conn:
            choice = await asked.choose(conn, keep=True)
            if choice.seen != form.get("seen"):
                raise ChoiceChanged()
            await catalog.bulk_edit(conn, change=_of(change, choice))
    except ChoiceChanged as changed:
        return await _show(request, asked, change=change, problem=changed.detail, status=changed.status)
    except InvalidRequest as wrong:
        return await _show(request, asked, problem=wrong.detail, status=wrong.status)
    return see_other(request, "/admin/products?done=changed")


def parse_change(typed: Mapping[str, str], *, currency: str) -> tuple[BulkChange, dict[str, str]]:
    """The change that was typed, of no products yet, and what is wrong with it."""
    errors: dict[str, str] = {}
    percent, amount = _price_change(typed, currency, errors)
    change = BulkChange(
        product_ids=(),
        percent=percent,
        amount=amount,
        currency=currency,
        status=next((status for status in Status if status == typed["status_to"]), None),
        add_tags=split_tags(typed["add_tags"]),
        remove_tags=split_tags(typed["remove_tags"]),
        add_to=typed["add_to"],
        remove_from=typed["remove_from"],
    )
    if not errors and change == BulkChange((), currency=currency):
        errors["prices"] = _("Say what shall change: prices, status, tags or collections.")
    if change.add_to and change.add_to == change.remove_from:
        errors["remove_from"] = _("Choose another collection to take products out of than to put them into.")
    return change, errors


def _price_change(typed: Mapping[str, str], currency: str, errors: dict[str, str]) -> tuple[int, int]:
    """Percent and minor units by which prices change."""
    way, by = typed["prices"], typed["by"]
    if not way:
        if by:
            errors["prices"] = _("Choose whether prices go up or down, or leave the number empty.")
        return 0, 0
    sign = -1 if way.endswith("down") else 1
    if way.startswith("percent"):
        most = 99 if sign < 0 else 1_000
        if not (by.isascii() and by.isdigit() and len(by) <= 4 and 1 <= int(by) <= most):
            errors["by"] = _("Write a whole number of percent: 1 to 99 down, 1 to 1000 up.")
            return 0, 0
        return sign * int(by), 0
    try:
        minor = parse_amount(by, currency)
    except MoneyError:
        minor = 0
    if minor == 0:
        errors["by"] = _("Write the sum as a number such as 12.50.")
    return 0, sign * minor


async def _show(
    request: Request,
    asked: _Asked,
    *,
    change: BulkChange | None = None,
    errors: dict[str, str] | None = None,
    problem: str = "",
    status: int = 422,
) -> Response:
    shop: Shop = request.app.state.shop
    preview, choice = None, Choice((), "")
    async with shop.database.transaction() as conn:
        collections = await catalog.list_all_collections(conn)
        try:
            choice = await asked.choose(conn, keep=change is not None)
            if change is not None and choice.product_ids:
                preview = await catalog.preview_bulk_edit(
                    conn, change=_of(change, choice), currency=shop.settings.currency, samples=SAMPLES
                )
        except (InvalidRequest, UnknownCollection) as wrong:
            problem = problem or wrong.detail
    if not choice.product_ids and request.method == "POST":
        problem = problem or NOT_CHOSEN
    context = BulkContext(
        typed=asked.typed,
        picked=asked.picked,
        filters=FILTERS,
        fields=FIELDS,
        count=len(choice.product_ids),
        collections=collections,
        preview=preview,
        seen=choice.seen,
        errors=errors or {},
        problem=problem,
    )
    return render(request, "admin/bulk.html", context, status=status if problem or errors else 200, headers=NOT_KEPT)


def _of(change: BulkChange, choice: Choice) -> BulkChange:
    return BulkChange(
        product_ids=choice.product_ids,
        percent=change.percent,
        amount=change.amount,
        currency=change.currency,
        status=change.status,
        add_tags=change.add_tags,
        remove_tags=change.remove_tags,
        add_to=change.add_to,
        remove_from=change.remove_from,
    )


def _asked(sent: Mapping[str, str], picked: list[str]) -> _Asked:
    names = (*FILTERS, *FIELDS, "all")
    texts = {name: sent.get(name, "").replace("\0", "").strip() for name in names}
    typed = {name: text[: 10_000 if "tags" in name else MAX_TYPED] for name, text in texts.items()}
    known = tuple(dict.fromkeys(str(found) for each in picked if (found := parse_id(each))))
    return _Asked({name: text.encode("utf-8", "ignore").decode() for name, text in typed.items()}, known)

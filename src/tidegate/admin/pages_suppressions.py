"""The staff's room for addresses that are not written to: why, stopping one, and writing to one again.

An address is only ever in the body of a request: pages' own addresses are kept in logs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import notify
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.checkout import Shop
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, blamed, read_form, render

router = staff_router("/suppressions")
log = structlog.get_logger(__name__)

SHOWN: Final = 20
"""Most changes of an address that are shown."""
MAX_EMAIL: Final = 254


@dataclass(frozen=True, slots=True)
class SuppressionsContext:
    """Context of `admin/suppressions.html`. `email` is the address that was asked for, empty before."""

    email: str = ""
    found: tuple[notify.Suppression, ...] = ()
    changes: tuple[notify.SuppressionChange, ...] = ()
    why: str = ""
    max_why: int = notify.MAX_WHY
    done: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@router.get("")
async def show_suppressions(request: Request) -> Response:
    """The form that asks for an address."""
    return render(request, "admin/suppressions.html", SuppressionsContext(), headers=NOT_KEPT)


@router.post("")
async def post_search(request: Request) -> Response:
    """Whether an address is written to, and if not, why."""
    form = await read_form(request)
    email = form.get("email").strip()[:MAX_EMAIL]
    try:
        notify.check_address(email, field="email")
    except InvalidRequest as problem:
        return await _show(request, email, errors=blamed(problem))
    return await _show(request, email)


@router.post("/{wish}")
async def post_change(request: Request, wish: str) -> Response:
    """Stop an address (`add`), or write to it again (`lift`), with a reason that is kept."""
    form, person = await read_form(request), await staff_member(request)
    email, why = form.get("email").strip()[:MAX_EMAIL], form.get("why")[: notify.MAX_WHY + 1]
    if wish not in DONE:
        raise NotFound()
    try:
        async with _shop(request).database.transaction() as conn:
            if wish == "add":
                await notify.stop_address(conn, email=email, why=why, by=person.id)
            else:
                await notify.lift_suppressions(conn, email=email, why=why, by=person.id)
    except InvalidRequest as problem:
        return await _show(request, email, why=why, errors=blamed(problem))
    log.info("suppression changed", wish=wish, by=str(person.id))
    return await _show(request, email, done=DONE[wish])


DONE: Final = {
    "add": _("This address is not written to any more, but for links that somebody asks for."),
    "lift": _("This address is written to again. What was held back meanwhile stays unsent."),
}


async def _show(
    request: Request, email: str, *, why: str = "", done: str = "", errors: dict[str, str] | None = None
) -> Response:
    blame = errors or {}
    if "email" in blame:
        context = SuppressionsContext(email=email, errors=blame)
        return render(request, "admin/suppressions.html", context, status=422, headers=NOT_KEPT)
    async with _shop(request).database.connection() as conn:
        found = await notify.find_suppressions(conn, email=email)
        changes = await notify.list_suppression_changes(conn, email=email, limit=SHOWN)
    context = SuppressionsContext(
        email=email, found=tuple(found), changes=tuple(changes), why=why, done=done, errors=blame
    )
    status = 422 if blame else 200
    return render(request, "admin/suppressions.html", context, status=status, headers=NOT_KEPT)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

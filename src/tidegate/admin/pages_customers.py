"""The staff's room for customers: people with an account and guests who ordered, what they bought, their sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from fastapi import Request
from starlette.responses import Response

from tidegate import accounts, checkout, notify
from tidegate.accounts import Desk, PersonAccount
from tidegate.admin.pages_shell import ADMINS, SEE_ADDRESSES, staff_member, staff_router
from tidegate.checkout import Address, BuyerSums, OrderFilter, OrderPage, Shop
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, parse_id
from tidegate.platform.problems import NotFound
from tidegate.web import NOT_KEPT, read_form, render, see_other

router = staff_router("/customers")
admin_router = staff_router("/customers", roles=ADMINS)

HOME = "/admin/customers"
MAX_TYPED = 254
MESSAGES = 20
"""Most messages on a customer's page, the newest."""


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer in the list. `account` is None for a guest, or for whoever had their account deleted."""

    id: PersonId
    email: str
    since: datetime
    account: PersonAccount | None
    sums: BuyerSums | None


@dataclass(frozen=True, slots=True)
class CustomersContext:
    """Context of `admin/customers.html`. `typed` is the address that was searched for."""

    customers: tuple[CustomerRow, ...]
    next_before: PersonId | None
    typed: str


@dataclass(frozen=True, slots=True)
class CustomerContext:
    """Context of `admin/customer.html`. `addresses` is None for roles that may not see them.

    `messages` are the newest that were written to them; `kinds` are titles by a message's template.
    """

    customer: CustomerRow
    page: OrderPage
    first_page: bool
    addresses: tuple[Address, ...] | None
    messages: tuple[notify.Found, ...]
    kinds: dict[str, str]
    sessions: int
    may_sign_out: bool
    signed_out: bool


@router.get("")
async def list_customers(request: Request) -> Response:
    """Customers, the newest first, or those who are or ordered with an e-mail address."""
    desk = _desk(request)
    typed = request.query_params.get("email", "").replace("\0", "").strip()[:MAX_TYPED]
    before = parse_id(request.query_params.get("before", ""))
    limit = desk.settings.accounts.people_page
    async with desk.database.connection() as conn:
        people = await accounts.list_people(conn, limit=limit + 1, before=before, email=typed)
        buyers = await checkout.list_buyers(conn, limit=limit + 1, before=before, email=typed)
        found = sorted({*(each.id for each in people.people), *buyers}, reverse=True)
        rows = await _rows(conn, found[:limit])
    context = CustomersContext(rows, found[limit - 1] if len(found) > limit else None, typed)
    return render(request, "admin/customers.html", context, headers=NOT_KEPT)


@router.get("/{person_id}")
async def show_customer(request: Request, person_id: str, signed_out: str = "") -> Response:
    """One customer: orders, what they come to, addresses for whom they concern, sessions."""
    desk, wanted, actor = _desk(request), _person_id(person_id), await staff_member(request)
    shop: Shop = request.app.state.shop
    before = parse_id(request.query_params.get("before", ""))
    async with desk.database.connection() as conn:
        customer = next(iter(await _rows(conn, [wanted])), None)
        if customer is None:
            raise NotFound()
        page = await checkout.list_orders(
            conn, limit=shop.settings.orders.page_size, before=before, wanted=OrderFilter(buyers=[wanted])
        )
        addresses = await checkout.addresses_of_buyer(conn, buyer=wanted) if actor.role in SEE_ADDRESSES else None
        told = notify.Wanted(application_id=None, recipient_id=wanted)
        messages = await notify.search_deliveries(conn, wanted=told, limit=MESSAGES)
        sessions = await accounts.list_sessions(conn, person_id=wanted, token=None) if customer.account else []
    context = CustomerContext(
        customer=customer,
        page=page,
        first_page=before is None,
        addresses=addresses,
        messages=tuple(messages),
        kinds={kind.name: kind.title for kind in notify.KINDS.values()},
        sessions=len(sessions),
        may_sign_out=actor.role in ADMINS,
        signed_out=bool(signed_out),
    )
    return render(request, "admin/customer.html", context, headers=NOT_KEPT)


@admin_router.post("/{person_id}/sign-out")
async def post_sign_out(request: Request, person_id: str) -> Response:
    """End every session of an account."""
    await read_form(request)
    wanted, actor = _person_id(person_id), await staff_member(request)
    await accounts.sign_out_everywhere(_desk(request), actor=PersonId(actor.id), person_id=wanted)
    return see_other(request, "/login" if wanted == actor.id else f"{HOME}/{wanted}?signed_out=1")


async def _rows(conn: Connection, people: list[PersonId]) -> tuple[CustomerRow, ...]:
    """These people as customers; who has neither an account nor an order is none."""
    known = await accounts.find_accounts(conn, people=people)
    sums = await checkout.sum_buyers(conn, buyers=people)
    guests = [person for person in people if person not in known and person in sums]
    emails = await checkout.last_emails(conn, buyers=guests)
    return tuple(
        CustomerRow(
            id=person,
            email=known[person].email if person in known else emails[person],
            since=known[person].created_at if person in known else sums[person].first_at.astimezone(UTC),
            account=known.get(person),
            sums=sums.get(person),
        )
        for person in people
        if person in known or person in emails
    )


def _person_id(text: str) -> PersonId:
    wanted: UUID | None = parse_id(text)
    if wanted is None:
        raise NotFound()
    return PersonId(wanted)


def _desk(request: Request) -> Desk:
    state = request.app.state
    return Desk(state.database, state.settings, state.sessions, state.take_over)

"""The address book of an account."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import checkout
from tidegate.checkout import Address, AddressBookFull, SavedAddress, Shop
from tidegate.platform.ids import PersonId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.storefront.pages_checkout import countries
from tidegate.web import NOT_KEPT, PostedForm, SignInFirst, current_person, read_form, render, request_locale, see_other

router = APIRouter(include_in_schema=False)

HOME = "/account/addresses"
FIELDS = ("name", "line1", "city", "postal_code", "country")


@dataclass(frozen=True, slots=True)
class AddressesContext:
    """Context of `storefront/addresses.html`. `change` is the address that the form is for; None: a new one."""

    addresses: tuple[SavedAddress, ...]
    countries: tuple[tuple[str, str], ...]
    change: UUID | None
    typed: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@router.get("/account/addresses")
async def show_addresses(request: Request) -> Response:
    """The addresses of the account, and the form for a new one."""
    return await _page(request, await _owner(request), change=None)


@router.get("/account/addresses/{address_id}")
async def show_address(request: Request, address_id: str) -> Response:
    """The form that changes an address."""
    owner = await _owner(request)
    return await _page(request, owner, change=_id(address_id))


@router.post("/account/addresses")
async def post_address(request: Request) -> Response:
    """Put an address into the book."""
    return await _write(request, await _owner(request), change=None)


@router.post("/account/addresses/{address_id}")
async def post_change(request: Request, address_id: str) -> Response:
    """Change an address."""
    return await _write(request, await _owner(request), change=_id(address_id))


@router.post("/account/addresses/{address_id}/remove")
async def post_remove(request: Request, address_id: str) -> Response:
    """Take an address out of the book."""
    owner = await _owner(request)
    await read_form(request)
    async with _shop(request).database.transaction() as conn:
        await checkout.remove_address(conn, person_id=owner, address_id=_id(address_id))
    return see_other(request, HOME)


async def _write(request: Request, owner: PersonId, *, change: UUID | None) -> Response:
    typed = _typed(await read_form(request))
    address = Address(**typed)
    try:
        async with _shop(request).database.transaction() as conn:
            if change is None:
                await checkout.save_address(conn, person_id=owner, address=address)
            else:
                await checkout.change_address(conn, person_id=owner, address_id=change, address=address)
    except InvalidRequest as problem:
        errors = {each["field"]: each["message"] for each in problem.extra.get("errors", [])}
        return await _page(request, owner, change=change, typed=typed, errors=errors, status=422)
    except AddressBookFull as problem:
        return await _page(request, owner, change=change, typed=typed, problem=problem.detail, status=409)
    return see_other(request, HOME)


async def _page(
    request: Request,
    owner: PersonId,
    *,
    change: UUID | None,
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    async with _shop(request).database.connection() as conn:
        addresses = await checkout.list_addresses(conn, person_id=owner)
    known = next((each.address for each in addresses if each.id == change), None)
    if change is not None and known is None:
        raise NotFound()
    shown = {name: getattr(known, name) if known else "" for name in FIELDS} if typed is None else typed
    context = AddressesContext(addresses, countries(request_locale(request)), change, shown, errors or {}, problem)
    return render(request, "storefront/addresses.html", context, status=status, headers=NOT_KEPT)


def _typed(form: PostedForm) -> dict[str, str]:
    return {name: form.get(name) for name in FIELDS}


async def _owner(request: Request) -> PersonId:
    """Whose account it is. Raises: SignInFirst for strangers and guests."""
    person = await current_person(request)
    if person is None or person.role == "guest":
        raise SignInFirst(then=HOME)
    return person.id


def _id(text: str) -> UUID:
    found = parse_id(text)
    if found is None:
        raise NotFound()
    return found


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

"""The cart's pages. Every form works without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import checkout
from tidegate.checkout import (
    CartEmpty,
    CartProblem,
    CartShort,
    CartView,
    CodeNotValid,
    CodeUnknown,
    CodeUsedUp,
    LimitReached,
    Shop,
    UnknownSku,
)
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import InvalidRequest, Problem, TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.storefront.chosen import chosen_in
from tidegate.storefront.offers import pictures_of
from tidegate.storefront.pages_cart_count import with_count
from tidegate.web import (
    NOT_KEPT,
    PostedForm,
    client_address,
    current_person,
    ensure_buyer,
    is_guest,
    read_form,
    render,
    see_other,
    session_token,
    set_session,
    words_of,
)

router = APIRouter(include_in_schema=False)

MAX_TYPED = 100
"""Longest text of a field that is looked at, in characters."""


@dataclass(frozen=True, slots=True)
class Slip:
    """What was wrong with a form of the cart, and what was typed into it."""

    where: str
    """A line's SKU, `code`, or empty for the whole cart."""
    message: str
    typed: str = ""
    drop: str = ""
    """Address of the drop that sells it."""


NO_SLIP = Slip("", "")


@dataclass(frozen=True, slots=True)
class CartContext:
    """Context of `storefront/cart.html`."""

    cart: CartView
    pictures: dict[str, str] = field(default_factory=dict)
    """Address of the picture by the product's slug."""
    slip: Slip = NO_SLIP


@router.get("/cart")
async def show_cart(request: Request) -> Response:
    """What is in the cart, at today's prices."""
    return await _page(request)


@router.post("/cart/add")
async def post_add(request: Request) -> Response:
    """Put what was chosen into the cart. A stranger becomes a guest here."""
    form = await read_form(request)
    chosen = await chosen_in(_shop(request), form)
    if chosen.way:
        return see_other(request, chosen.way)
    person, token = await ensure_buyer(request)
    slip = await _add(request, form, chosen.sku, person.id)
    if slip is None:
        cart = await checkout.view_cart(_shop(request), person_id=person.id)
        response = with_count(request, see_other(request, "/cart"), cart.items)
    else:
        response = await _page(request, slip, status=422)
    if token is not None:
        set_session(request, response, token)
    return response


async def _add(request: Request, form: PostedForm, chosen: str, person_id: PersonId) -> Slip | None:
    """Add what a buy form says, and keep its code; what was wrong, if something was."""
    sku, code = chosen[:MAX_TYPED], form.get("code")[:MAX_TYPED]
    try:
        if not sku:
            raise InvalidRequest(_("Choose what you want first. Your cart is as it was."))
        await checkout.add_to_cart(_shop(request), person_id=person_id, sku=sku, quantity=_quantity(form))
    except (CartProblem, UnknownSku, InvalidRequest) as problem:
        return Slip("", words_of(problem), drop=str(problem.extra.get("drop", "")))
    try:
        if code:
            await _keep_code(request, person_id, code)
    except (CodeUnknown, CodeNotValid, TooManyRequests) as problem:
        return Slip("code", words_of(problem), code)
    return None


@router.post("/cart/lines")
async def post_line(request: Request) -> Response:
    """Have another quantity of a line, or take it out."""
    form = await read_form(request)
    person = await current_person(request)
    if person is None:
        return see_other(request, "/cart")
    sku = form.get("sku")[:MAX_TYPED]
    try:
        quantity = 0 if form.get("remove") else _quantity(form)
        cart = await checkout.set_line(_shop(request), person_id=person.id, sku=sku, quantity=quantity)
    except (CartProblem, UnknownSku, InvalidRequest) as problem:
        return await _page(request, Slip(sku, words_of(problem), form.get("quantity")[:MAX_TYPED]), status=422)
    return with_count(request, see_other(request, "/cart"), cart.items)


@router.post("/cart/code")
async def post_code(request: Request) -> Response:
    """Keep a code, or none."""
    form = await read_form(request)
    person = await current_person(request)
    if person is None:
        return see_other(request, "/cart")
    code = "" if form.get("remove") else form.get("code")[:MAX_TYPED]
    try:
        await _keep_code(request, person.id, code)
    except (CodeUnknown, CodeNotValid, TooManyRequests) as problem:
        return await _page(request, Slip("code", words_of(problem), code), status=problem.status)
    return see_other(request, "/cart")


async def _keep_code(request: Request, person_id: PersonId, code: str) -> None:
    """Keep a code, or none; guessing is limited. Raises: CodeUnknown, CodeNotValid, TooManyRequests."""
    shop = _shop(request)
    guess = checkout.guess_of(shop, code, session=session_token(request) or "", address=client_address(request))
    await shop.codes.admit(guess)
    await checkout.keep_code(shop, person_id=person_id, code=code or None)


@router.post("/cart/checkout")
async def post_checkout(request: Request) -> Response:
    """Hold everything in the cart, and go on to its checkout."""
    await read_form(request)
    person = await current_person(request)
    if person is None:
        return see_other(request, "/cart")
    try:
        hold = await checkout.check_out(_shop(request), person_id=person.id, guest=is_guest(person))
    except CartEmpty:
        return see_other(request, "/cart")
    except (CartShort, LimitReached, CodeUnknown, CodeNotValid, CodeUsedUp) as problem:
        return await _page(request, _slip_of(problem), status=problem.status)
    return see_other(request, f"/checkout/{hold.id}")


def _slip_of(problem: Problem) -> Slip:
    match problem:
        case CodeUsedUp():
            return Slip("code", _("This code has been used as often as it may be. Take it out and order without it."))
        case CodeUnknown() | CodeNotValid():
            return Slip("code", _("This code cannot be used now, or not for these goods. Order without it."))
        case LimitReached():
            words = _("You are keeping too much already. Pay for it or give it up, then order this. Your cart is kept.")
            return Slip("", words)
        case _:
            return Slip("", words_of(problem))


def _quantity(form: PostedForm) -> int:
    """The quantity of a form. Raises: InvalidRequest."""
    quantity = form.get("quantity", "1")
    if not (quantity.isascii() and quantity.isdigit() and len(quantity) <= 6):
        raise InvalidRequest(_("The quantity must be a whole number. Your cart is as it was."))
    return max(int(quantity), 0)


async def _page(request: Request, slip: Slip = NO_SLIP, *, status: int = 200) -> Response:
    shop = _shop(request)
    person = await current_person(request)
    cart = await checkout.view_cart(shop, person_id=person.id) if person else checkout.empty_view(shop)
    async with shop.database.connection() as conn:
        slugs = [line.product_slug for line in cart.lines]
        pictures = await pictures_of(conn, slugs)
    context = CartContext(cart, pictures, slip)
    response = render(request, "storefront/cart.html", context, status=status, headers=NOT_KEPT)
    return with_count(request, response, cart.items)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

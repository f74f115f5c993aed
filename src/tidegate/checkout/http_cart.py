"""JSON routes of the cart: what somebody means to buy, at today's prices."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from tidegate.checkout.cart import empty_cart, keep_code, set_line, view_cart
from tidegate.checkout.cart_contracts import CartLine, CartLineState, CartProblem, CartView
from tidegate.checkout.contracts import CodeNotValid, CodeUnknown, UnknownSku
from tidegate.checkout.guessing import guess_of
from tidegate.checkout.shop import Shop
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.money import Money
from tidegate.platform.problems import NotSignedIn, TooManyRequests
from tidegate.web import client_address, require_person, session_token

router = APIRouter(prefix="/api/v1", tags=["cart"])


class PriceAnswer(BaseModel):
    """Money in minor units."""

    amount: int
    currency: str

    @classmethod
    def of(cls, money: Money) -> PriceAnswer:
        """The shape of money."""
        return cls(amount=money.amount, currency=money.currency)


class CartLineAnswer(BaseModel):
    """A line at today's price; `previous_unit_price` is what was shown before, where it has changed.

    `state`: `ready`; `short` (only `left` are free), `sold_out`, `in_drop` (sold on its drop's page), `gone` (no
    longer sold). `left` is free now: nothing keeps it until a hold does.
    """

    sku: str
    title: str
    quantity: int
    unit_price: PriceAnswer
    previous_unit_price: PriceAnswer | None
    total: PriceAnswer
    left: int
    state: CartLineState

    @classmethod
    def of(cls, line: CartLine) -> CartLineAnswer:
        """The shape of a line."""
        return cls(
            sku=line.sku,
            title=line.title,
            quantity=line.quantity,
            unit_price=PriceAnswer.of(line.unit),
            previous_unit_price=PriceAnswer.of(line.before) if line.before else None,
            total=PriceAnswer.of(line.total),
            left=min(line.left, line.quantity),
            state=line.state,
        )


class CartAnswer(BaseModel):
    """A cart. `code_problem` says why `code` takes nothing off now; `total` is before shipping and taxes."""

    lines: list[CartLineAnswer]
    items: int
    goods: PriceAnswer
    code: str | None
    code_problem: str | None
    discount: PriceAnswer
    total: PriceAnswer
    ready: bool

    @classmethod
    def of(cls, cart: CartView) -> CartAnswer:
        """The shape of a cart."""
        return cls(
            lines=[CartLineAnswer.of(line) for line in cart.lines],
            items=cart.items,
            goods=PriceAnswer.of(cart.goods),
            code=cart.code or None,
            code_problem=cart.code_problem or None,
            discount=PriceAnswer.of(cart.discount),
            total=PriceAnswer.of(cart.total),
            ready=cart.ready,
        )


class CartLineBody(BaseModel):
    """Have exactly `quantity` of a SKU in the cart; 0 takes it out."""

    sku: str = Field(min_length=1, max_length=100)
    quantity: int = Field(ge=0, le=1_000_000, strict=True)


class CartCodeBody(BaseModel):
    """A voucher's code, in any case; null for none."""

    code: str | None = Field(min_length=1, max_length=64)


@router.get("/cart", responses=problems_by_status((NotSignedIn,)))
async def get_cart(request: Request) -> CartAnswer:
    """Your cart, at today's prices and stock."""
    person = await require_person(request)
    return CartAnswer.of(await view_cart(_shop(request), person_id=person.id))


@router.put("/cart/lines", responses=problems_by_status((NotSignedIn, UnknownSku, CartProblem)))
async def put_cart_line(request: Request, body: CartLineBody) -> CartAnswer:
    """Have this many of something in your cart. No stock is taken; repeating it changes nothing."""
    person = await require_person(request)
    cart = await set_line(_shop(request), person_id=person.id, sku=body.sku, quantity=body.quantity)
    return CartAnswer.of(cart)


@router.put("/cart/code", responses=problems_by_status((NotSignedIn, CodeUnknown, CodeNotValid, TooManyRequests)))
async def put_cart_code(request: Request, body: CartCodeBody) -> CartAnswer:
    """Keep a code for the checkout, or none."""
    person = await require_person(request)
    shop = _shop(request)
    guess = guess_of(shop, body.code, session=session_token(request) or "", address=client_address(request))
    await shop.codes.admit(guess)
    cart = await keep_code(shop, person_id=person.id, code=body.code)
    return CartAnswer.of(cart)


@router.delete("/cart", status_code=204, responses=problems_by_status((NotSignedIn,)))
async def delete_cart(request: Request) -> Response:
    """Empty your cart; its code goes, too."""
    person = await require_person(request)
    await empty_cart(_shop(request), person_id=person.id)
    return Response(status_code=204)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

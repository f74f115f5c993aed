"""Pages for buying: hold, checkout, order, payment. Every one works without JavaScript."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from babel import Locale
from fastapi import APIRouter, Request
from msgspec import structs
from starlette.responses import Response

from tidegate import catalog, inventory
from tidegate.checkout import (
    ADDRESS_FIELDS,
    BILLING,
    Address,
    AddressBookFull,
    AlreadyOrdered,
    CodeNotValid,
    CodeUnknown,
    CodeUsedUp,
    DropNeedsAccount,
    HoldExpired,
    HoldView,
    LimitReached,
    Line,
    NotOpen,
    NotPayable,
    NotShippedThere,
    OrderForm,
    OrderState,
    OrderView,
    SavedAddress,
    ShippingUnknown,
    Shop,
    SoldOut,
    find_hold,
    find_order,
    give_up,
    guess_of,
    list_addresses,
    may_cancel,
    open_hold,
    pay_again,
    place_order,
    quote,
    save_address,
    see_aftermath,
    view_cart,
)
from tidegate.gate.contracts import PassExpired, PassForeign, PassRequired, PassSpent
from tidegate.inventory.contracts import HoldState
from tidegate.platform.countries import countries, country_name
from tidegate.platform.ids import ANYONE, NO_DROP, NO_VOUCHER, HoldId, OrderId, PersonId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound, TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.storefront.chosen import chosen_in
from tidegate.storefront.contexts import (
    WAYS,
    CheckoutContext,
    CheckoutOwn,
    DeadEnd,
    DeadEndContext,
    OrderContext,
    WayToPay,
)
from tidegate.storefront.offers import pictures_of
from tidegate.storefront.pages_cart_count import COUNT_COOKIE, with_count
from tidegate.web import (
    NOT_KEPT,
    PostedForm,
    client_address,
    current_person,
    ensure_buyer,
    is_guest,
    iso,
    read_form,
    render,
    render_moulded,
    request_locale,
    see_other,
    session_token,
    set_session,
    words_of,
)

router = APIRouter(include_in_schema=False)

CHECKOUT: Final = "storefront/checkout.html"
SOME_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)

FIELDS = ("email", *ADDRESS_FIELDS)
BILLING_FIELDS = tuple(f"{BILLING}{field}" for field in ADDRESS_FIELDS)
CHOICES = ("provider", "shipping_method", "keep", "billing_other")
METHOD = "hosted"
"""Pages lead to the provider's own page; no card is typed here."""

LOOK_AGAIN_S = 3
"""How often an order's page looks whether it was paid, at first."""
QUICK_LOOKS = 20
SLOW_LOOK_AGAIN_S = 15
MOST_LOOKS = 60
"""Then the page stops looking by itself and offers a link."""

MAX_TYPED_CODE = 100
"""Longest text that is looked up as a code, in characters."""

PASS_PROBLEMS = (PassRequired, PassForeign, PassExpired, PassSpent)

Refusal = (
    SoldOut
    | LimitReached
    | NotOpen
    | CodeUnknown
    | CodeNotValid
    | CodeUsedUp
    | TooManyRequests
    | PassRequired
    | PassForeign
    | PassExpired
    | PassSpent
)
"""Why nothing was held, where a page says so in words of its own."""


@router.post("/holds")
async def post_hold(request: Request) -> Response:
    """Hold what was chosen, and go on to its checkout. A stranger becomes a guest here."""
    form = await read_form(request)
    shop = _shop(request)
    chosen = await chosen_in(shop, form)
    if chosen.way:
        return see_other(request, chosen.way)
    line, code = _line(form, chosen.sku), form.get("code")[:MAX_TYPED_CODE] or None
    person, token = await ensure_buyer(request)
    known = await _same_hold(shop, person.id, line, code) if token is None else None  # who is new holds nothing yet
    if known is not None:
        return see_other(request, f"/checkout/{known}", session_token=token)
    try:
        session = token or session_token(request) or ""
        await shop.codes.admit(guess_of(shop, code, session=session, address=client_address(request)))
        hold = await open_hold(shop, buyer_id=person.id, lines=[line], code=code, guest=is_guest(person))
    except DropNeedsAccount as problem:
        response = see_other(request, f"/login?next=/drops/{problem.extra['drop']}")
    except LimitReached as problem:
        if "hold_id" in problem.extra:
            response = see_other(request, f"/checkout/{problem.extra['hold_id']}")
        else:
            response = await _refused(request, line, problem)
    except (SoldOut, NotOpen, CodeUnknown, CodeNotValid, CodeUsedUp, TooManyRequests, *PASS_PROBLEMS) as problem:
        response = await _refused(request, line, problem)
    else:
        response = see_other(request, f"/checkout/{hold.id}")
    return _with_session(request, response, token)


@router.get("/checkout/{hold_id}")
async def show_checkout(request: Request, hold_id: str, address: str = "") -> Response:
    """What is held, for how long, and the form that orders it; `address` is one of the book to fill it in with."""
    hold = await _own_hold(request, hold_id)
    known = await _address_book(request)
    chosen = next((each for each in known if str(each.id) == address), next(iter(known), None))
    typed = {field: getattr(chosen.address, field) for field in ADDRESS_FIELDS} if chosen else {}
    return await _checkout_page(request, hold, typed=typed, errors={})


@router.post("/checkout/{hold_id}")
async def post_order(request: Request, hold_id: str) -> Response:
    """Order what is held, and go on to pay."""
    form = await read_form(request)
    hold = await _own_hold(request, hold_id)
    typed = {field: form.get(field) for field in (*FIELDS, *BILLING_FIELDS, *CHOICES)}
    if form.get("action") == "look":
        return await _checkout_page(request, hold, typed=typed, errors={})
    quoted = await quote(_shop(request), hold=hold, country=typed["country"], method=typed["shipping_method"] or None)
    chosen = quoted.charges.shipping
    other_way = bool(typed["shipping_method"]) and (chosen is None or chosen.code != typed["shipping_method"])
    if quoted.reachable and (other_way or form.get("quoted", str(quoted.total.amount)) != str(quoted.total.amount)):
        return await _checkout_page(request, hold, typed=typed, errors={}, changed=True)
    wish = OrderForm(
        hold_id=hold.id,
        email=typed["email"],
        address=Address(*(typed[field] for field in ADDRESS_FIELDS)),
        provider=_way(request, form),
        method=METHOD,
        shipping_method=chosen.code if chosen else None,
        billing=Address(*(typed[field] for field in BILLING_FIELDS)) if typed["billing_other"] else None,
    )
    try:
        order = await place_order(_shop(request), buyer_id=hold.buyer_id, form=wish)
    except HoldExpired:
        return _hold_over(request, hold)
    except AlreadyOrdered:
        return see_other(request, f"/checkout/{hold.id}")
    except NotShippedThere:
        wrong = {"country": _("We do not send to this country. Choose another one.")}
        return await _checkout_page(request, hold, typed=typed, errors=wrong)
    except ShippingUnknown:
        return await _checkout_page(request, hold, typed=typed, errors={}, changed=True)
    except InvalidRequest as problem:
        errors = {each["field"]: each["message"] for each in problem.extra.get("errors", [])}
        if not errors:
            raise
        return await _checkout_page(request, hold, typed=typed, errors=errors)
    if typed["keep"]:
        await _keep_address(request, wish.address)
    assert isinstance(order, OrderView), "a form has no key, so it gets no stored answer"
    response = see_other(request, _way_to_pay(request, order) or f"/orders/{order.id}")
    if COUNT_COOKIE in request.cookies:
        response = with_count(request, response, (await view_cart(_shop(request), person_id=order.buyer_id)).items)
    return response


@router.post("/checkout/{hold_id}/give-up")
async def post_give_up(request: Request, hold_id: str) -> Response:
    """Give back what is held, at once."""
    await read_form(request)
    hold = await _own_hold(request, hold_id)
    with suppress(AlreadyOrdered):  # then its page leads to the order
        await give_up(_shop(request), buyer_id=hold.buyer_id, hold_id=hold.id)
    return see_other(request, f"/checkout/{hold.id}")


@router.get("/orders/{order_id}")
async def show_order(request: Request, order_id: str, returned: str = "", look: int = 0) -> Response:
    """An order and what happens next. Back from the pay page, the provider is asked what happened there."""
    shop, buyer_id = _shop(request), await _buyer(request)
    order = await find_order(shop, buyer_id=buyer_id, order_id=_order_id(order_id), ask=bool(returned))
    after = await see_aftermath(shop, order)
    look = min(max(look, 0), MOST_LOOKS)
    waits = order.state == OrderState.AWAITING_PAYMENT and look < MOST_LOOKS
    context = OrderContext(
        order=order,
        pay_address=_way_to_pay(request, order),
        ways=_ways(_shop(request)),
        look_again=f"/orders/{order.id}?look={look + 1}" if waits else "",
        look_again_in_s=LOOK_AGAIN_S if look < QUICK_LOOKS else SLOW_LOOK_AGAIN_S,
        after=after,
        may_cancel=may_cancel(order, after, paid_too=shop.settings.orders.buyer_cancels_paid),
    )
    return render(request, "storefront/order.html", context, headers=NOT_KEPT)


@router.post("/orders/{order_id}/pay")
async def post_payment(request: Request, order_id: str) -> Response:
    """Try another card for an order that is not paid yet."""
    way = _way(request, await read_form(request))
    buyer_id = await _buyer(request)
    wanted = _order_id(order_id)
    try:
        order = await pay_again(_shop(request), buyer_id=buyer_id, order_id=wanted, provider=way, method=METHOD)
    except NotPayable:
        return see_other(request, f"/orders/{wanted}")
    return see_other(request, _way_to_pay(request, order) or f"/orders/{order.id}")


def _ways(shop: Shop) -> tuple[WayToPay, ...]:
    return tuple(WAYS[name] for name in shop.providers if name in WAYS)


def _way(request: Request, form: PostedForm) -> str:
    """The provider that was chosen, or the shop's first; what is none of them is refused where it is used."""
    return form.get("provider") or next(iter(_shop(request).providers), "")


def _line(form: PostedForm, sku: str) -> Line:
    """The wish of a buy form. Raises: InvalidRequest."""
    quantity = form.get("quantity", "1")
    if not sku:
        raise InvalidRequest(_("Choose what you want first. Nothing was held."))
    if not (quantity.isascii() and quantity.isdigit() and len(quantity) <= 4):
        raise InvalidRequest(_("The quantity must be a whole number. Nothing was held."))
    return Line(sku[:200], int(quantity))


async def _same_hold(shop: Shop, buyer_id: PersonId, line: Line, code: str | None) -> HoldId | None:
    """A live hold of exactly this already: a form that was sent twice must not take twice."""
    async with shop.database.connection() as conn:
        holds = await inventory.live_holds(conn, buyer_id=buyer_id)
        if not holds:
            return None
        variants = await catalog.find_variants(conn, skus=[line.sku])
        voucher = await catalog.find_voucher(conn, code=code) if code else None
    if code and voucher is None:
        return None
    wanted = [(variants.get(line.sku), line.quantity)]
    voucher_id = voucher.id if voucher else NO_VOUCHER
    for hold in holds:
        same = [(each.variant_id, each.quantity) for each in hold.lines] == wanted and hold.voucher_id == voucher_id
        if hold.state == HoldState.HELD and same:
            return hold.id
    return None


async def _refused(request: Request, line: Line, problem: Refusal) -> Response:
    """The page that says plainly why nothing was held."""
    shop = _shop(request)
    async with shop.database.connection() as conn:
        terms = await catalog.purchase_terms(conn, skus=[line.sku], currency=shop.settings.currency)
        if line.sku not in terms:
            raise problem
        levels = await inventory.stock_levels(conn, variant_ids=[terms[line.sku].variant_id])
    found = terms[line.sku]
    left = int(problem.extra.get("left", 0))
    match problem:
        case SoldOut():
            kind = DeadEnd.FEWER_LEFT if left > 0 else DeadEnd.SOLD_OUT
        case NotOpen():
            kind = DeadEnd.NOT_OPEN
        case CodeUnknown():
            kind = DeadEnd.CODE_UNKNOWN
        case CodeNotValid():
            kind = DeadEnd.CODE_NOT_VALID
        case TooManyRequests():
            kind = DeadEnd.TOO_MANY_CODES
        case CodeUsedUp():
            kind = DeadEnd.CODE_USED_UP
        case PassSpent():
            kind = DeadEnd.TURN_USED
        case PassRequired() | PassForeign() | PassExpired():
            kind = DeadEnd.NOT_YOUR_TURN
        case _:
            kind = DeadEnd.LIMIT_REACHED if found.drop else DeadEnd.TOO_MANY_HOLDS
    way = f"/drops/{found.drop.slug}" if found.drop else f"/products/{found.product_slug}"
    context = DeadEndContext(
        kind,
        found.title,
        way,
        in_drop=found.drop is not None,
        left=left,
        message=words_of(problem),
        may_return=kind == DeadEnd.SOLD_OUT and any(level.held for level in levels.values()),
    )
    return render(request, "storefront/dead_end.html", context, status=problem.status, headers=NOT_KEPT)


async def _checkout_page(
    request: Request, hold: HoldView, *, typed: dict[str, str], errors: Mapping[str, str], changed: bool = False
) -> Response:
    if hold.order_id is not None:
        return see_other(request, f"/orders/{hold.order_id}")
    if hold.seconds_left == 0:
        return _hold_over(request, hold)
    shop = _shop(request)
    locale = request_locale(request)
    country = _country(typed, locale)
    own = CheckoutOwn(str(hold.id), iso(hold.expires_at))
    page = CheckoutContext(
        hold=hold,
        own=own,
        minutes=(hold.seconds_left + 30) // 60 or 1,
        pictures=await _pictures(shop, hold),
        countries=countries(locale),
        typed=_all_fields(country) | typed | {"country": country},
        errors=dict(errors),
        ways=_ways(shop),
        way=typed.get("provider", ""),
        quote=await quote(shop, hold=hold, country=country, method=typed.get("shipping_method") or None),
        country_name=country_name(country, locale),
        changed=changed,
        addresses=await _address_book(request),
        has_account=await _has_account(request),
        phone_required=shop.settings.orders.phone_required,
    )
    if not (typed or errors or changed or page.addresses):
        page = replace(page, hold=_hold_alike(hold))
        return render_moulded(
            request,
            CHECKOUT,
            same=_all_but_own(page),
            make=lambda own: replace(page, own=own),
            own=own,
            headers=NOT_KEPT,
        )
    status = 422 if errors else 409 if changed else 200
    return render(request, CHECKOUT, page, status=status, headers=NOT_KEPT)


def _hold_alike(hold: HoldView) -> HoldView:
    """The hold without what is one buyer's own."""
    return structs.replace(hold, id=HoldId(NO_DROP), buyer_id=ANYONE, expires_at=SOME_TIME, seconds_left=0)


def _all_but_own(page: CheckoutContext) -> Hashable:
    """What a page shows of a hold that is like others, before anybody has typed anything: no personal data."""
    shared = (page.hold, page.minutes, page.ways, page.quote, page.country_name, page.has_account, page.phone_required)
    return (*shared, *page.pictures.items(), *page.typed.items())


def _all_fields(country: str) -> dict[str, str]:
    """Every field of the form as it is before anything was typed."""
    return dict.fromkeys((*FIELDS, *BILLING_FIELDS, *CHOICES), "") | {f"{BILLING}country": country}


async def _has_account(request: Request) -> bool:
    person = await current_person(request)
    return person is not None and person.role != "guest"


async def _address_book(request: Request) -> tuple[SavedAddress, ...]:
    person = await current_person(request)
    if person is None or person.role == "guest":
        return ()
    async with _shop(request).database.connection() as conn:
        return await list_addresses(conn, person_id=person.id)


async def _keep_address(request: Request, address: Address) -> None:
    """Put the address of an order into the book of an account that has room for it."""
    person = await current_person(request)
    if person is not None and person.role != "guest":
        with suppress(AddressBookFull):
            async with _shop(request).database.transaction() as conn:
                await save_address(conn, person_id=person.id, address=address)


def _hold_over(request: Request, hold: HoldView) -> Response:
    kind = DeadEnd.GIVEN_UP if hold.state == HoldState.RELEASED else DeadEnd.HOLD_OVER
    way = f"/drops/{hold.drop}" if hold.drop else f"/products/{hold.lines[0].product_slug}"
    context = DeadEndContext(kind, hold.lines[0].title, way, in_drop=hold.drop is not None)
    return render(request, "storefront/dead_end.html", context, status=410, headers=NOT_KEPT)


async def _pictures(shop: Shop, hold: HoldView) -> dict[str, str]:
    async with shop.database.connection() as conn:
        return await pictures_of(conn, [line.product_slug for line in hold.lines])


def _country(typed: dict[str, str], locale: str) -> str:
    return typed.get("country") or Locale.parse(locale).territory or ""


def _way_to_pay(request: Request, order: OrderView) -> str:
    """Where to pay; as a path where it is ours, so that a shop reached by two names keeps the one in use."""
    if order.next_action is None:
        return ""
    path = order.next_action.url.removeprefix(_shop(request).settings.base_url)
    return path if path.startswith("/") and not path.startswith("//") else order.next_action.url


def _with_session(request: Request, response: Response, token: str | None) -> Response:
    if token is not None:
        set_session(request, response, token)
    return response


async def _own_hold(request: Request, hold_id: str) -> HoldView:
    wanted = parse_id(hold_id)
    if wanted is None:
        raise NotFound()
    return await find_hold(_shop(request), buyer_id=await _buyer(request), hold_id=HoldId(wanted))


async def _buyer(request: Request) -> PersonId:
    """Who is asking; without a session nothing here exists. Raises: NotFound."""
    person = await current_person(request)
    if person is None:
        raise NotFound()
    return person.id


def _order_id(text: str) -> OrderId:
    wanted = parse_id(text)
    if wanted is None:
        raise NotFound()
    return OrderId(wanted)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

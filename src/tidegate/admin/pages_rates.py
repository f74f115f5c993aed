"""The staff's rooms for what is added to goods: ways to send by zone and value, and taxes by country and class."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from babel import Locale
from babel.numbers import get_currency_precision
from fastapi import Request
from starlette.responses import Response

from tidegate import catalog
from tidegate.admin.pages_shell import staff_router
from tidegate.catalog import Rates, ShippingMethod, ShippingZone
from tidegate.checkout import Shop
from tidegate.platform.database import Connection
from tidegate.platform.ids import parse_id
from tidegate.platform.money import Money, MoneyError, parse_amount
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, read_form, render, request_locale, see_other

router = staff_router()

MAX_TYPED = 2_000
"""Longest list of countries or steps that is read, in characters."""


@dataclass(frozen=True, slots=True)
class Step:
    """From a value of the goods on, delivery costs so much."""

    start: Money
    price: Money


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A way to send, in the list."""

    method: ShippingMethod
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ZoneRow:
    """A zone with its ways to send."""

    zone: ShippingZone
    countries: str
    methods: tuple[MethodRow, ...]


@dataclass(frozen=True, slots=True)
class ShippingContext:
    """Context of `admin/shipping.html`. `form` names the form that `problem` is about; what was typed is kept."""

    zones: tuple[ZoneRow, ...]
    currency: str
    saved: bool
    form: str = ""
    problem: str = ""
    typed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaxRow:
    """A tax, in the list."""

    country: str
    country_name: str
    tax_class: str
    name: str
    percent: str


@dataclass(frozen=True, slots=True)
class TaxesContext:
    """Context of `admin/taxes.html`. `products` are slug, title and class of those that are not standard."""

    taxes: tuple[TaxRow, ...]
    prices_include_tax: bool
    classes: tuple[str, ...]
    countries: tuple[tuple[str, str], ...]
    products: tuple[tuple[str, str, str], ...]
    saved: bool
    form: str = ""
    problem: str = ""
    typed: dict[str, str] = field(default_factory=dict)


@router.get("/shipping")
async def show_shipping(request: Request, saved: str = "") -> Response:
    """Zones and ways to send."""
    return await _shipping(request, saved=saved == "1")


@router.post("/shipping/zones")
async def post_zone(request: Request) -> Response:
    """Make a zone."""
    form = await read_form(request)
    typed = _typed(form, "name", "countries")
    countries = typed["countries"].upper().replace(",", " ").split()

    async def work(conn: Connection) -> None:
        await catalog.create_zone(conn, name=typed["name"], countries=countries)

    return await _done(request, "/admin/shipping", work) or await _shipping(request, "zone", typed)


@router.post("/shipping/zones/{zone_id}/remove")
async def post_remove_zone(request: Request, zone_id: str) -> Response:
    """Remove a zone with its ways to send."""
    await read_form(request)
    async with _shop(request).database.transaction() as conn:
        await catalog.remove_zone(conn, zone_id=_zone_id(zone_id))
    return see_other(request, "/admin/shipping?saved=1")


@router.post("/shipping/zones/{zone_id}/methods")
async def post_method(request: Request, zone_id: str) -> Response:
    """Make a way to send into a zone."""
    form = await read_form(request)
    typed = _typed(form, "code", "name", "steps")
    wanted, currency = _zone_id(zone_id), _shop(request).settings.currency

    async def work(conn: Connection) -> None:
        tiers = _steps(typed["steps"], currency)
        await catalog.create_method(
            conn, zone_id=wanted, code=typed["code"], name=typed["name"], currency=currency, tiers=tiers
        )

    return await _done(request, "/admin/shipping", work) or await _shipping(request, str(wanted), typed)


@router.post("/shipping/methods/{code}/remove")
async def post_remove_method(request: Request, code: str) -> Response:
    """Remove a way to send."""
    await read_form(request)
    async with _shop(request).database.transaction() as conn:
        await catalog.remove_method(conn, code=code)
    return see_other(request, "/admin/shipping?saved=1")


@router.get("/taxes")
async def show_taxes(request: Request, saved: str = "") -> Response:
    """Taxes, and the classes of products."""
    return await _taxes(request, saved=saved == "1")


@router.post("/taxes")
async def post_tax(request: Request) -> Response:
    """Set what a country takes of a class."""
    form = await read_form(request)
    typed = _typed(form, "country", "tax_class", "name", "percent")

    async def work(conn: Connection) -> None:
        rate = _basis_points(typed["percent"])
        await catalog.set_tax(
            conn, country=typed["country"], tax_class=typed["tax_class"], name=typed["name"], rate_bp=rate
        )

    return await _done(request, "/admin/taxes", work) or await _taxes(request, "tax", typed)


@router.post("/taxes/{country}/{tax_class}/remove")
async def post_remove_tax(request: Request, country: str, tax_class: str) -> Response:
    """Remove a tax."""
    await read_form(request)
    async with _shop(request).database.transaction() as conn:
        await catalog.remove_tax(conn, country=country, tax_class=tax_class)
    return see_other(request, "/admin/taxes?saved=1")


@router.post("/taxes/prices")
async def post_prices(request: Request) -> Response:
    """Say whether prices contain the taxes."""
    form = await read_form(request)
    async with _shop(request).database.transaction() as conn:
        await catalog.set_prices_include_tax(conn, include=form.get("include") == "1")
    return see_other(request, "/admin/taxes?saved=1")


@router.post("/taxes/classes")
async def post_class(request: Request) -> Response:
    """Put a product into a class."""
    form = await read_form(request)
    typed = _typed(form, "slug", "tax_class")

    async def work(conn: Connection) -> None:
        slug = typed["slug"].strip().rsplit("/", 1)[-1]
        await catalog.set_tax_class(conn, slug=slug, tax_class=typed["tax_class"])

    return await _done(request, "/admin/taxes", work) or await _taxes(request, "class", typed)


async def _done(request: Request, back: str, work: Callable[[Connection], Awaitable[None]]) -> Response | None:
    """Do it and lead back; None, with the problem kept for the page, when something typed is wrong."""
    try:
        async with _shop(request).database.transaction() as conn:
            await work(conn)
    except Problem as problem:
        if isinstance(problem, NotFound) and not isinstance(problem, catalog.UnknownProduct):
            raise
        request.state.problem = problem
        return None
    return see_other(request, f"{back}?saved=1")


async def _shipping(
    request: Request, form: str = "", typed: dict[str, str] | None = None, *, saved: bool = False
) -> Response:
    shop = _shop(request)
    async with shop.database.connection() as conn:
        rates = await catalog.load_rates(conn)
    problem = _problem(request, form)
    context = ShippingContext(
        zones=_zone_rows(rates, request_locale(request)),
        currency=shop.settings.currency,
        saved=saved,
        form=form,
        problem=problem.detail if problem else "",
        typed=typed or {},
    )
    return render(request, "admin/shipping.html", context, status=problem.status if problem else 200, headers=NOT_KEPT)


async def _taxes(
    request: Request, form: str = "", typed: dict[str, str] | None = None, *, saved: bool = False
) -> Response:
    async with _shop(request).database.connection() as conn:
        rates = await catalog.load_rates(conn)
        products = await catalog.unusual_tax_classes(conn)
    names = Locale.parse(request_locale(request)).territories
    problem = _problem(request, form)
    context = TaxesContext(
        taxes=tuple(
            TaxRow(
                each.country, names.get(each.country, each.country), each.tax_class, each.name, _percent(each.rate_bp)
            )
            for each in rates.taxes
        ),
        prices_include_tax=rates.prices_include_tax,
        classes=catalog.TAX_CLASSES,
        countries=tuple(
            sorted(((code, name) for code, name in names.items() if len(code) == 2 and code.isalpha()), key=_by_name)
        ),
        products=products,
        saved=saved,
        form=form,
        problem=problem.detail if problem else "",
        typed=typed or {},
    )
    return render(request, "admin/taxes.html", context, status=problem.status if problem else 200, headers=NOT_KEPT)


def _zone_rows(rates: Rates, locale: str) -> tuple[ZoneRow, ...]:
    names = Locale.parse(locale).territories
    return tuple(
        ZoneRow(
            zone,
            ", ".join(sorted(names.get(code, code) for code in zone.countries)),
            tuple(
                MethodRow(each, tuple(Step(Money(a, each.currency), Money(b, each.currency)) for a, b in each.tiers))
                for each in rates.methods
                if each.zone_id == zone.id
            ),
        )
        for zone in rates.zones
    )


def _steps(text: str, currency: str) -> list[tuple[int, int]]:
    """Steps from lines such as `4.00` or `50: 0`. Raises: InvalidRequest naming the line."""
    steps = []
    for number, line in enumerate((each for each in text.splitlines() if each.strip()), 1):
        start, colon, price = line.partition(":")
        if not colon:
            start, price = "0", line
        try:
            steps.append((parse_amount(start, currency), parse_amount(price, currency)))
        except MoneyError:
            example = "4.00" if get_currency_precision(currency) else "400"
            raise InvalidRequest(
                _("Line %(number)s is no price: type such as %(example)s, or 50: 0.", number=number, example=example)
            ) from None
    return steps


def _basis_points(percent: str) -> int:
    """Basis points from a percentage such as `19` or `5,5`. Raises: InvalidRequest."""
    whole, _point, part = percent.strip().removesuffix("%").strip().replace(",", ".").partition(".")
    if (
        not (whole.isascii() and whole.isdigit() and len(whole) <= 3)
        or len(part) > 2
        or (part and not part.isdecimal())
    ):
        raise InvalidRequest(_("Type the percentage with at most two decimals, such as 19 or 5.5."))
    return int(whole) * 100 + int(part.ljust(2, "0"))


def _percent(rate_bp: int) -> str:
    return f"{rate_bp / 100:g}"


def _by_name(pair: tuple[str, str]) -> str:
    return pair[1]


def _typed(form: PostedForm, *names: str) -> dict[str, str]:
    return {name: form.get(name)[:MAX_TYPED] for name in names}


def _problem(request: Request, form: str) -> Problem | None:
    problem: Problem | None = request.state.problem if form else None
    return problem


def _zone_id(text: str) -> UUID:
    wanted = parse_id(text)
    if wanted is None:
        raise NotFound()
    return wanted


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop

"""Delivery and taxes: zones, ways to send, tax rates, and the tax class of products."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation

from tidegate.catalog.contracts import RateExists, Rates, ShippingMethod, ShippingZone, TaxRate, UnknownProduct
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.money import MAX_AMOUNT
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _

TAX_CLASSES = ("standard", "reduced", "zero")
MAX_TIERS = 10
MAX_ZONES = 50
MAX_METHODS = 200
MAX_RATE_BP = 10_000
MAX_LISTED_PRODUCTS = 500
COUNTRY = re.compile("[A-Z]{2}")
METHOD_CODE = re.compile("[a-z0-9][a-z0-9-]{0,39}")

_RATES = """
SELECT (SELECT prices_include_tax FROM catalog.tax_settings),
    (SELECT array_agg(ARRAY[z.id::text, z.name, z.rest::text, (
        SELECT coalesce(string_agg(c.country, ' ' ORDER BY c.country), '')
        FROM catalog.shipping_zone_countries AS c WHERE c.zone_id = z.id
    )] ORDER BY z.rest, z.name) FROM catalog.shipping_zones AS z),
    (SELECT array_agg(ARRAY[t.country, t.tax_class, t.name, t.rate_bp::text] ORDER BY t.country, t.tax_class)
     FROM catalog.tax_rates AS t),
    EXISTS (SELECT FROM catalog.shipping_methods)
"""


async def load_rates(conn: Connection) -> Rates:
    """All zones, ways to send and taxes of the shop."""
    row = await (await conn.execute(_RATES)).fetchone()
    assert row is not None
    include, zones, taxes, has_methods = row
    methods: tuple[ShippingMethod, ...] = ()
    if has_methods:
        found = await conn.execute(
            "SELECT id, zone_id, code, name, currency, tier_from, tier_amount FROM catalog.shipping_methods"
            " ORDER BY zone_id, code"
        )
        methods = tuple(_method(each) for each in await found.fetchall())
    return Rates(
        zones=tuple(ShippingZone(UUID(z[0]), z[1], frozenset(z[3].split()), z[2] == "true") for z in zones or ()),
        methods=methods,
        taxes=tuple(TaxRate(t[0], t[1], t[2], int(t[3])) for t in taxes or ()),
        prices_include_tax=bool(include),
    )


async def create_zone(conn: Connection, *, name: str, countries: Sequence[str]) -> UUID:
    """Make a zone of countries; without countries it stands for the rest of the world.

    Raises: InvalidRequest, RateExists for a name or country that another zone has, or a second rest of the world.
    """
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidRequest(_("A zone has a name of 1 to 80 letters."), field="name")
    wrong = [each for each in countries if not COUNTRY.fullmatch(each)]
    if wrong:
        raise InvalidRequest(
            _("%(code)s is no country: use the two letters of a country, such as GB.", code=wrong[0][:20]),
            field="countries",
        )
    counted = await (await conn.execute("SELECT count(*) FROM catalog.shipping_zones")).fetchone()
    if counted is not None and counted[0] >= MAX_ZONES:
        raise InvalidRequest(_("A shop has at most %(most)s zones.", most=MAX_ZONES))
    zone_id = new_id()
    try:
        async with conn.transaction():
            await conn.execute(
                "INSERT INTO catalog.shipping_zones (id, name, rest) VALUES (%s, %s, %s)",
                (zone_id, name, not countries),
            )
            await conn.execute(
                "INSERT INTO catalog.shipping_zone_countries (country, zone_id) SELECT unnest(%s::text[]), %s",
                (sorted(set(countries)), zone_id),
            )
    except UniqueViolation as violation:
        told = _TAKEN.get(violation.diag.constraint_name or "", _("There is such a zone already."))
        raise RateExists(
            told, field="name" if "name" in (violation.diag.constraint_name or "") else "countries"
        ) from None
    return zone_id


async def remove_zone(conn: Connection, *, zone_id: UUID) -> None:
    """Remove a zone with its ways to send; orders keep what they were sent with. Raises: NotFound."""
    done = await conn.execute("DELETE FROM catalog.shipping_zones WHERE id = %s", (zone_id,))
    if not done.rowcount:
        raise NotFound("there is no such zone")


async def create_method(
    conn: Connection, *, zone_id: UUID, code: str, name: str, currency: str, tiers: Sequence[tuple[int, int]]
) -> None:
    """Make a way to send goods into a zone; `tiers` as in `ShippingMethod`. Raises: InvalidRequest, RateExists."""
    code, name = code.strip().lower(), name.strip()
    if not METHOD_CODE.fullmatch(code):
        raise InvalidRequest(_("Use up to 40 letters, digits and hyphens for the short name."), field="code")
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidRequest(_("A way to send has a name of 1 to 80 letters."), field="name")
    starts = [start for start, _ in tiers]
    if not 1 <= len(tiers) <= MAX_TIERS or starts[0] != 0 or starts != sorted(set(starts)):
        raise InvalidRequest(
            _("Give 1 to %(most)s steps; the first is from 0, and each is from more than the last.", most=MAX_TIERS),
            field="steps",
        )
    if any(not 0 <= amount <= MAX_AMOUNT or start > MAX_AMOUNT for start, amount in tiers):
        raise InvalidRequest(_("A price of delivery is nothing or more."), field="steps")
    counted = await (await conn.execute("SELECT count(*) FROM catalog.shipping_methods")).fetchone()
    if counted is not None and counted[0] >= MAX_METHODS:
        raise InvalidRequest(_("A shop has at most %(most)s ways to send.", most=MAX_METHODS))
    try:
        async with conn.transaction():
            done = await conn.execute(
                "INSERT INTO catalog.shipping_methods (id, zone_id, code, name, currency, tier_from, tier_amount)"
                " SELECT %s, id, %s, %s, %s, %s, %s FROM catalog.shipping_zones WHERE id = %s",
                (new_id(), code, name, currency, starts, [amount for _, amount in tiers], zone_id),
            )
    except UniqueViolation:
        told = _("There is a way to send %(code)s already; choose another short name.", code=code)
        raise RateExists(told, field="code") from None
    if not done.rowcount:
        raise NotFound("there is no such zone")


async def remove_method(conn: Connection, *, code: str) -> None:
    """Remove a way to send; orders keep it. Raises: NotFound."""
    done = await conn.execute("DELETE FROM catalog.shipping_methods WHERE code = %s", (code,))
    if not done.rowcount:
        raise NotFound("there is no such way to send")


async def set_tax(conn: Connection, *, country: str, tax_class: str, name: str, rate_bp: int) -> None:
    """Set what a country takes of a class; the rate that was there is replaced. Raises: InvalidRequest."""
    name = name.strip()
    if not COUNTRY.fullmatch(country) or tax_class not in TAX_CLASSES:
        raise InvalidRequest(_("Choose a country and a class."), field="country")
    if not 1 <= len(name) <= 40 or not name.isprintable():
        raise InvalidRequest(_("A tax has a name of 1 to 40 letters, such as VAT."), field="name")
    if not 0 <= rate_bp <= MAX_RATE_BP:
        raise InvalidRequest(_("A tax is 0 to 100 percent."), field="percent")
    await conn.execute(
        "INSERT INTO catalog.tax_rates (country, tax_class, name, rate_bp) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (country, tax_class) DO UPDATE SET name = excluded.name, rate_bp = excluded.rate_bp",
        (country, tax_class, name, rate_bp),
    )


async def remove_tax(conn: Connection, *, country: str, tax_class: str) -> None:
    """Remove a tax. Raises: NotFound."""
    done = await conn.execute(
        "DELETE FROM catalog.tax_rates WHERE country = %s AND tax_class = %s", (country, tax_class)
    )
    if not done.rowcount:
        raise NotFound("there is no such tax")


async def set_prices_include_tax(conn: Connection, *, include: bool) -> None:
    """Say whether the prices of the shop contain the taxes. Orders keep what they were placed with."""
    await conn.execute("UPDATE catalog.tax_settings SET prices_include_tax = %s", (include,))


async def set_tax_class(conn: Connection, *, slug: str, tax_class: str) -> None:
    """Put a product into a tax class. Raises: InvalidRequest, UnknownProduct."""
    if tax_class not in TAX_CLASSES:
        raise InvalidRequest(_("Choose a class."))
    done = await conn.execute("UPDATE catalog.products SET tax_class = %s WHERE slug = %s", (tax_class, slug))
    if not done.rowcount:
        raise UnknownProduct(_("There is no product at %(slug)s.", slug=slug[:80]), field="slug")


async def unusual_tax_classes(conn: Connection) -> tuple[tuple[str, str, str], ...]:
    """Products that are not of the standard class: slug, title, class; at most `MAX_LISTED_PRODUCTS`."""
    rows = await conn.execute(
        "SELECT slug, title, tax_class FROM catalog.products WHERE tax_class <> 'standard' ORDER BY slug LIMIT %s",
        (MAX_LISTED_PRODUCTS,),
    )
    return tuple((row[0], row[1], row[2]) for row in await rows.fetchall())


_TAKEN = {
    "shipping_zone_name": _("There is a zone of this name already."),
    "shipping_zone_rest": _("There is a zone for the rest of the world already: name the countries of this one."),
    "shipping_zone_countries_pkey": _("One of these countries is in another zone already."),
}


def _method(row: tuple[Any, ...]) -> ShippingMethod:
    return ShippingMethod(row[0], row[1], row[2], row[3], row[4], tuple(zip(row[5], row[6], strict=True)))

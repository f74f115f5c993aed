"""Standard rates of value added tax as a start: those of the EU, the United Kingdom, Switzerland and Norway.

They are data of a day (`standard_vat.json`), not advice: what a shop owes where is for its owner to find out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files

from tidegate.catalog.contracts import TaxRate
from tidegate.platform.database import Connection

STANDARD = "standard"


@dataclass(frozen=True, slots=True)
class StandardVat:
    """Standard rates as they were on a day, by country."""

    as_of: date
    rates: tuple[TaxRate, ...]


@lru_cache(maxsize=1)
def standard_vat() -> StandardVat:
    """The rates that come with this program."""
    found = json.loads(files("tidegate.catalog").joinpath("standard_vat.json").read_text(encoding="utf-8"))
    rates = tuple(TaxRate(each["country"], STANDARD, each["name"], each["rate_bp"]) for each in found["rates"])
    return StandardVat(date.fromisoformat(found["as_of"]), rates)


async def apply_standard_vat(conn: Connection) -> int:
    """Set the rates of all countries that have no standard rate yet; returns of how many.

    What is set stays as it is. In a shop without any rate the prices include the taxes from now on; in others what
    was chosen for them stays.
    """
    rates = standard_vat().rates
    await conn.execute("SELECT FROM catalog.tax_settings FOR UPDATE")
    known = await (await conn.execute("SELECT EXISTS (SELECT FROM catalog.tax_rates)")).fetchone()
    done = await conn.execute(
        "INSERT INTO catalog.tax_rates (country, tax_class, name, rate_bp)"
        " SELECT country, %s, name, rate_bp FROM unnest(%s::text[], %s::text[], %s::integer[])"
        " AS rate (country, name, rate_bp) ON CONFLICT (country, tax_class) DO NOTHING",
        (STANDARD, [each.country for each in rates], [each.name for each in rates], [each.rate_bp for each in rates]),
    )
    if known == (False,):
        await conn.execute("UPDATE catalog.tax_settings SET prices_include_tax = true")
    return done.rowcount

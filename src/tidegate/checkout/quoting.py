"""What a hold would cost: delivery and taxes, before anything is ordered."""

from __future__ import annotations

from tidegate.checkout.charge_rules import charges_of, offered_methods
from tidegate.checkout.contracts import NO_CHARGES, HoldView, NotShippedThere, Quote, ShippingUnknown
from tidegate.checkout.rules import to_pay
from tidegate.checkout.shop import Shop


async def quote(shop: Shop, *, hold: HoldView, country: str, method: str | None = None) -> Quote:
    """What `hold` would cost in `country`, sent by `method`; where that is not offered, by the cheapest.

    Nothing is promised by it: an order reckons anew.
    """
    async with shop.database.connection() as conn:
        rates = await shop.desk.snapshot.rates(conn)
    goods = hold.total  # the lines less the discount
    methods = offered_methods(rates, country=country, goods=goods)
    reachable = True
    try:
        try:
            charges = charges_of(hold.lines, hold.discount, rates, country=country, method=method)
        except ShippingUnknown:
            charges = charges_of(hold.lines, hold.discount, rates, country=country, method=None)
    except NotShippedThere:
        charges, reachable = NO_CHARGES, False
    total = to_pay(hold.lines, hold.discount, charges)
    return Quote(methods, charges, total, by_place=not rates.empty, reachable=reachable)

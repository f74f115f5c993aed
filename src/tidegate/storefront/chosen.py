"""What a buy form chose: a SKU, or options of a product that lead to one."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from tidegate.checkout import Shop
from tidegate.storefront.offers import find_offer
from tidegate.storefront.options import asked_options, find_variant, option_names, options_query
from tidegate.web import PostedForm


@dataclass(frozen=True, slots=True)
class Chosen:
    """A SKU, empty when nothing was chosen; or `way`, the path of the page that says why the choice cannot be had."""

    sku: str = ""
    way: str = ""


async def chosen_in(shop: Shop, form: PostedForm) -> Chosen:
    """What a buy form chose."""
    sku, slug = form.get("sku"), form.get("product")
    if sku or not slug:
        return Chosen(sku)
    async with shop.database.connection() as conn:
        offer = await find_offer(conn, slug=slug, currency=shop.settings.currency)
    loose = [each for each in offer.variants if each.drop is None] if offer else []
    names = option_names(loose)
    asked = asked_options(form.get, names)
    found = find_variant(loose, asked) if names and all(asked) else None
    if found is None and not any(asked):
        return Chosen()
    if found is not None and found.left > 0:
        return Chosen(found.variant.sku)
    quantity = form.get("quantity")
    more = {"quantity": quantity} if quantity.isascii() and quantity.isdigit() and quantity != "1" else {}
    return Chosen(way=f"/products/{slug}?{urlencode(options_query(asked) | more)}#buy")

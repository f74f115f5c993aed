"""From the cart to a hold of all that is in it."""

from __future__ import annotations

import asyncio
from typing import Final

from tidegate import catalog, inventory
from tidegate.checkout.cart import begin_turn, end_turn, lock_cart, view_cart
from tidegate.checkout.cart_contracts import CartEmpty, CartShort
from tidegate.checkout.contracts import DropNeedsAccount, HoldView, Line, SoldOut, UnknownSku
from tidegate.checkout.holding import open_hold, view_hold
from tidegate.checkout.shop import Shop
from tidegate.inventory.contracts import Hold
from tidegate.platform.database import Connection
from tidegate.platform.ids import NO_VOUCHER, PersonId, VariantId
from tidegate.platform.texts import text as _

TURN_S: Final = 5.0
"""How long a checkout keeps others of the same cart waiting at most: a process that dies in it blocks no longer."""
AGAIN_S: Final = 0.05
"""How often, in seconds, a checkout that waits asks whether it is its turn."""


async def check_out(shop: Shop, *, person_id: PersonId, guest: bool) -> HoldView:
    """Hold everything in the cart, or nothing. The hold that an earlier checkout made is used again if it still fits.

    The cart stays until its hold is ordered. A person's checkouts at the same moment take turns, so that the later
    one finds what the earlier one held. Raises: CartEmpty; CartShort, whose lines `view_cart` tells; and as
    `open_hold` for the cart's code and the buyer's limits.
    """
    cart = await view_cart(shop, person_id=person_id)
    if not cart.lines:
        raise CartEmpty(_("There is nothing in your cart yet."))
    wanted = {line.variant_id: line.quantity for line in cart.lines}
    earlier = await _take_turn(shop, person_id, wanted, cart.code)
    if earlier is not None:
        return earlier
    hold = None
    try:
        if not cart.ready:
            raise _short()
        lines = [Line(line.sku, line.quantity) for line in cart.lines]
        hold = await open_hold(shop, buyer_id=person_id, lines=lines, code=cart.code or None, guest=guest)
    except (SoldOut, UnknownSku, DropNeedsAccount):
        raise _short() from None
    finally:
        async with shop.database.transaction() as conn:
            # Whoever waited longer than a turn has held the cart meanwhile: one hold is enough.
            other = await _earlier_hold(conn, person_id, wanted, cart.code) if hold is not None else None
            if hold is not None and other is not None:
                await inventory.release_unordered(conn, [hold.id])
            await end_turn(conn, person_id=person_id, hold=hold if other is None else None)
            if other is not None:
                hold = await view_hold(conn, shop, other)
    return hold


async def _take_turn(shop: Shop, person_id: PersonId, wanted: dict[VariantId, int], code: str) -> HoldView | None:
    """Wait until no other checkout of the cart is on its way, and begin this one; unless its hold exists already."""
    while True:
        async with shop.database.transaction() as conn:
            earlier = await _earlier_hold(conn, person_id, wanted, code)
            if earlier is not None:
                return await view_hold(conn, shop, earlier)
            if await begin_turn(conn, person_id=person_id, at_most_s=TURN_S):
                return None
        await asyncio.sleep(AGAIN_S)


def _short() -> CartShort:
    return CartShort(_("Some of your cart cannot be had as it stands. Nothing was held, and your cart is kept."))


async def _earlier_hold(conn: Connection, person_id: PersonId, wanted: dict[VariantId, int], code: str) -> Hold | None:
    """The cart's live hold if it keeps just this; one that keeps something else is given back."""
    hold_id = await lock_cart(conn, person_id=person_id)
    hold = (await inventory.load_holds(conn, [hold_id])).get(hold_id) if hold_id else None
    if hold is None or hold.buyer_id != person_id:
        return None
    voucher = await catalog.find_voucher(conn, code=code) if code else None
    same_code = hold.voucher_id == (voucher.id if voucher else NO_VOUCHER)
    same_lines = {line.variant_id: line.quantity for line in hold.lines} == wanted
    if same_lines and same_code and hold.seconds_left > 0:
        return hold
    await inventory.release_unordered(conn, [hold.id])
    return None

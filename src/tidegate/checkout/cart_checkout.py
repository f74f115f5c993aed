"""From the cart to a hold of all that is in it."""

from __future__ import annotations

from tidegate import catalog, inventory
from tidegate.checkout.cart import lock_cart, note_hold, view_cart
from tidegate.checkout.cart_contracts import CartEmpty, CartShort
from tidegate.checkout.contracts import HoldView, Line, SoldOut, UnknownSku
from tidegate.checkout.holding import open_hold, view_hold
from tidegate.checkout.shop import Shop
from tidegate.inventory.contracts import Hold
from tidegate.platform.database import Connection
from tidegate.platform.ids import NO_VOUCHER, PersonId, VariantId
from tidegate.platform.texts import text as _


async def check_out(shop: Shop, *, person_id: PersonId) -> HoldView:
    """Hold everything in the cart, or nothing. The hold that an earlier checkout made is used again if it still fits.

    The cart stays until its hold is ordered. Raises: CartEmpty; CartShort, whose lines `view_cart` tells; and as
    `open_hold` for the cart's code and the buyer's limits.
    """
    cart = await view_cart(shop, person_id=person_id)
    if not cart.lines:
        raise CartEmpty(_("There is nothing in your cart yet."))
    wanted = {line.variant_id: line.quantity for line in cart.lines}
    async with shop.database.transaction() as conn:
        earlier = await _earlier_hold(conn, person_id, wanted, cart.code)
        if earlier is not None:
            return await view_hold(conn, shop, earlier)
    if not cart.ready:
        raise _short()
    lines = [Line(line.sku, line.quantity) for line in cart.lines]
    try:
        hold = await open_hold(shop, buyer_id=person_id, lines=lines, code=cart.code or None)
    except (SoldOut, UnknownSku):
        hold = None  # unless a twin of this request was faster
    async with shop.database.transaction() as conn:
        twin = await _earlier_hold(conn, person_id, wanted, cart.code)
        if twin is not None:
            await inventory.release_unordered(conn, [hold.id] if hold else [])
            return await view_hold(conn, shop, twin)
        if hold is None:
            raise _short()
        await note_hold(conn, person_id=person_id, hold=hold)
    return hold


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

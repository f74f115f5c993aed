"""Decisions about carts: how two become one, what a change makes of one, how a line stands. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.catalog.contracts import Terms
from tidegate.checkout.cart_contracts import CartLine, CartLineState, CartProblem, KeptLine
from tidegate.platform.ids import VariantId
from tidegate.platform.texts import text as _


def merged(
    mine: Sequence[KeptLine], theirs: Sequence[KeptLine], *, max_lines: int, max_quantity: int
) -> list[KeptLine]:
    """Both carts' lines in one: quantities of a variant summed up to `max_quantity`, at most `max_lines` lines.

    `mine` come first, in their order. A line of both keeps the price that the other cart showed: it is the newer one.
    """
    lines = {line.variant_id: line for line in mine}
    for line in theirs:
        before = lines.get(line.variant_id)
        if before is None and len(lines) >= max_lines:
            continue
        quantity = min(max_quantity, line.quantity + (before.quantity if before else 0))
        lines[line.variant_id] = KeptLine(line.variant_id, quantity, line.seen)
    return list(lines.values())


def without(lines: Sequence[KeptLine], taken: Mapping[VariantId, int]) -> list[KeptLine]:
    """The lines less what was ordered of them."""
    left = [KeptLine(line.variant_id, line.quantity - taken.get(line.variant_id, 0), line.seen) for line in lines]
    return [line for line in left if line.quantity > 0]


def check_change(*, lines: int, is_new: bool, quantity: int, max_lines: int, max_quantity: int) -> None:
    """Refuse what no cart takes. Raises: CartProblem."""
    if not 1 <= quantity <= max_quantity:
        words = _("The quantity must be a whole number from 1 to %(most)s. Your cart is as it was.", most=max_quantity)
        raise CartProblem(words, most=max_quantity)
    if is_new and lines >= max_lines:
        words = _("Your cart is full: it has room for %(most)s different things. Order these first.", most=max_lines)
        raise CartProblem(words, most=max_lines)


def line_as_it_stands(kept: KeptLine, terms: Terms, *, title: str, on_sale: bool, left: int) -> CartLine:
    """A line at today's price, with what is in its way."""
    if not on_sale:
        state = CartLineState.GONE
    elif terms.drop is not None:
        state = CartLineState.IN_DROP
    elif left <= 0:
        state = CartLineState.SOLD_OUT
    elif left < kept.quantity:
        state = CartLineState.SHORT
    else:
        state = CartLineState.READY
    same = kept.seen == terms.price
    return CartLine(
        variant_id=kept.variant_id,
        sku=terms.sku,
        title=title,
        product_slug=terms.product_slug,
        quantity=kept.quantity,
        unit=terms.price,
        before=None if same else kept.seen,
        left=max(0, left),
        state=state,
    )

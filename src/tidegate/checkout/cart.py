"""The cart: what somebody means to buy. It takes no stock and promises no price; both are looked up at each view."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate import catalog, inventory
from tidegate.catalog import clean_code
from tidegate.catalog.contracts import Terms
from tidegate.checkout.cart_contracts import CartLineState, CartProblem, CartView, KeptLine
from tidegate.checkout.cart_rules import check_change, line_as_it_stands, merged, without
from tidegate.checkout.contracts import CodeNotValid, CodeUnknown, HoldView, UnknownSku
from tidegate.checkout.rules import discount_of
from tidegate.checkout.shop import Shop
from tidegate.checkout.wishes import title_of
from tidegate.inventory.contracts import HoldState
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import HoldId, PersonId, VariantId
from tidegate.platform.money import Money, total
from tidegate.platform.problems import Problem
from tidegate.platform.settings import current_settings
from tidegate.platform.texts import text as _


async def view_cart(shop: Shop, *, person_id: PersonId) -> CartView:
    """The cart as it stands: today's prices and stock, and what its code takes off."""
    async with shop.database.transaction() as conn:
        row = await (
            await conn.execute("SELECT hold_id FROM checkout.carts WHERE person_id = %s", (person_id,))
        ).fetchone()
        if row is not None and row[0] is not None:
            await lock_cart(conn, person_id=person_id)
        return await _view(conn, shop, person_id)


def empty_view(shop: Shop) -> CartView:
    """The cart of somebody who has none."""
    nothing = Money(0, shop.settings.currency)
    return CartView((), nothing, "", nothing, "")


async def add_to_cart(shop: Shop, *, person_id: PersonId, sku: str, quantity: int) -> CartView:
    """Put more of something into the cart. Raises: UnknownSku, CartProblem for a drop's goods or beyond the bounds."""
    return await _change(shop, person_id, sku, quantity, add=True)


async def set_line(shop: Shop, *, person_id: PersonId, sku: str, quantity: int) -> CartView:
    """Have exactly `quantity` of something in the cart; 0 takes it out, also when the shop no longer sells it.

    Raises: UnknownSku, CartProblem for a drop's goods or beyond the bounds.
    """
    return await _change(shop, person_id, sku, quantity, add=False)


async def empty_cart(shop: Shop, *, person_id: PersonId) -> None:
    """Take everything out, the code too."""
    async with shop.database.transaction() as conn:
        await conn.execute("DELETE FROM checkout.carts WHERE person_id = %s", (person_id,))


async def keep_code(shop: Shop, *, person_id: PersonId, code: str | None) -> CartView:
    """Keep a code for the checkout, or none. Raises: CodeUnknown, CodeNotValid; the one before is then kept."""
    async with shop.database.transaction() as conn:
        await lock_cart(conn, person_id=person_id)
        cleaned = clean_code(code) if code else None
        if cleaned:
            await _voucher_off(conn, cleaned, None)
        await conn.execute("UPDATE checkout.carts SET code = %s WHERE person_id = %s", (cleaned or None, person_id))
        return await _view(conn, shop, person_id)


async def take_over_cart(conn: Connection, guest: PersonId, person: PersonId) -> None:
    """Make a guest's cart a person's: quantities of the same thing are summed up, within a cart's bounds."""
    if guest == person:
        return
    row = await (await conn.execute("SELECT 1 FROM checkout.carts WHERE person_id = %s", (guest,))).fetchone()
    if row is None:
        return
    for each in sorted((guest, person)):
        await lock_cart(conn, person_id=each)
    holds = current_settings().holds
    mine, theirs = await _lines(conn, person), await _lines(conn, guest)
    lines = merged(mine, theirs, max_lines=holds.max_lines, max_quantity=holds.max_quantity)
    await _write(conn, person, lines)
    await conn.execute(
        """
        UPDATE checkout.carts AS mine SET code = coalesce(mine.code, theirs.code),
            hold_id = coalesce(theirs.hold_id, mine.hold_id)
        FROM checkout.carts AS theirs WHERE mine.person_id = %s AND theirs.person_id = %s
        """,
        (person, guest),
    )
    await conn.execute("DELETE FROM checkout.carts WHERE person_id = %s", (guest,))


async def delete_old_carts(conn: Connection, *, keep_days: int, limit: int) -> int:
    """Remove up to `limit` carts that nobody has touched for `keep_days` days; returns how many."""
    done = await conn.execute(
        """
        DELETE FROM checkout.carts WHERE person_id IN (
            SELECT person_id FROM checkout.carts WHERE updated_at < clock_timestamp() - make_interval(days => %s)
            ORDER BY updated_at LIMIT %s FOR UPDATE SKIP LOCKED
        )
        """,
        (keep_days, limit),
    )
    return done.rowcount


async def lock_cart(conn: Connection, *, person_id: PersonId) -> HoldId | None:
    """Lock a person's cart, made where there is none; what was ordered of it leaves it. Its live hold, if any."""
    row = await (
        await conn.execute(
            """
            INSERT INTO checkout.carts (person_id) VALUES (%s)
            ON CONFLICT (person_id) DO UPDATE SET updated_at = clock_timestamp() RETURNING hold_id
            """,
            (person_id,),
        )
    ).fetchone()
    assert row is not None, "an upsert returns its row"
    if row[0] is None:
        return None
    hold = (await inventory.load_holds(conn, [row[0]])).get(row[0])
    if hold is not None and hold.state is HoldState.HELD:
        return hold.id
    if hold is not None and hold.order_id is not None:
        lines = without(await _lines(conn, person_id), {line.variant_id: line.quantity for line in hold.lines})
        await _write(conn, person_id, lines)
        await conn.execute("UPDATE checkout.carts SET code = NULL WHERE person_id = %s", (person_id,))
    await conn.execute("UPDATE checkout.carts SET hold_id = NULL WHERE person_id = %s", (person_id,))
    return None


async def begin_turn(conn: Connection, *, person_id: PersonId, at_most_s: float) -> bool:
    """Begin a checkout of a locked cart; false while another one is on its way."""
    row = await conn.execute(
        """
        UPDATE checkout.carts SET checking_out_until = clock_timestamp() + make_interval(secs => %s)
        WHERE person_id = %s AND coalesce(checking_out_until <= clock_timestamp(), true)
        """,
        (at_most_s, person_id),
    )
    return row.rowcount == 1


async def end_turn(conn: Connection, *, person_id: PersonId, hold: HoldView | None) -> None:
    """End a checkout; its hold, if it made one, is the cart's."""
    await conn.execute(
        """
        UPDATE checkout.carts SET checking_out_until = NULL, hold_id = coalesce(%s, hold_id) WHERE person_id = %s
        """,
        (hold.id if hold else None, person_id),
    )


async def _change(shop: Shop, person_id: PersonId, sku: str, quantity: int, *, add: bool) -> CartView:
    holds = shop.settings.holds
    async with shop.database.transaction() as conn:
        await lock_cart(conn, person_id=person_id)
        kept = {line.variant_id: line for line in await _lines(conn, person_id)}
        if quantity == 0 and not add:
            variants = await catalog.find_variants(conn, skus=[sku])
            await conn.execute(
                "DELETE FROM checkout.cart_lines WHERE person_id = %s AND variant_id = ANY (%s)",
                (person_id, list(variants.values())),
            )
            return await _view(conn, shop, person_id)
        terms = await _terms_for_cart(conn, sku, shop.settings.currency)
        before = kept.get(terms.variant_id)
        if add and before is not None and quantity > 0:
            quantity += before.quantity
        check_change(
            lines=len(kept),
            is_new=before is None,
            quantity=quantity,
            max_lines=holds.max_lines,
            max_quantity=holds.max_quantity,
        )
        await _put(conn, person_id, KeptLine(terms.variant_id, quantity, terms.price))
        return await _view(conn, shop, person_id)


async def _terms_for_cart(conn: Connection, sku: str, currency: str) -> Terms:
    terms = (await catalog.purchase_terms(conn, skus=[sku], currency=currency)).get(sku)
    if terms is None:
        raise UnknownSku(_("The shop does not sell this. Your cart is as it was."), sku=sku[:100])
    if terms.drop is not None:
        words = _("This is sold in a drop: buy it on the drop's page. Your cart is as it was.")
        raise CartProblem(words, drop=terms.drop.slug)
    return terms


async def _view(conn: Connection, shop: Shop, person_id: PersonId) -> CartView:
    currency = shop.settings.currency
    kept = await _lines(conn, person_id)
    ids = [line.variant_id for line in kept]
    known = await catalog.variant_terms(conn, variant_ids=ids, currency=currency)
    sold = await catalog.purchase_terms(conn, skus=[terms.sku for terms in known.values()], currency=currency)
    row = await (
        await conn.execute("SELECT code, hold_id FROM checkout.carts WHERE person_id = %s", (person_id,))
    ).fetchone()
    code, hold_id = row if row is not None else ("", None)
    left = await _left_for(conn, person_id, ids, hold_id)
    lines = tuple(
        line_as_it_stands(
            line,
            known[line.variant_id],
            title=title_of(known[line.variant_id]),
            on_sale=known[line.variant_id].sku in sold,
            left=left[line.variant_id],
        )
        for line in kept
        if line.variant_id in known
    )
    goods = total((line.total for line in lines if line.state is not CartLineState.GONE), currency)
    discount, words = Money(0, currency), ""
    if code and goods.amount:
        try:
            discount = await _voucher_off(conn, code, goods) or discount
        except Problem as problem:
            words = problem.detail
    return CartView(lines, goods, code or "", discount, words)


async def _left_for(
    conn: Connection, person_id: PersonId, ids: Sequence[VariantId], hold_id: HoldId | None
) -> dict[VariantId, int]:
    """Items that this person may have: those that are free, and those that the cart's own hold keeps."""
    left = await inventory.available(conn, variant_ids=ids)
    hold = (await inventory.load_holds(conn, [hold_id])).get(hold_id) if hold_id else None
    if hold is not None and hold.state is HoldState.HELD and hold.buyer_id == person_id:
        for line in hold.lines:
            if line.variant_id in left:
                left[line.variant_id] += line.quantity
    return left


async def _voucher_off(conn: Connection, code: str, goods: Money | None) -> Money | None:
    """What a code takes off `goods` now. Raises: CodeUnknown, CodeNotValid."""
    found = await catalog.find_voucher(conn, code=code)
    if found is None:
        raise CodeUnknown(_("This shop has no such code. Look at its letters again, or order without it."))
    now = await database_now(conn)
    over = found.closed_at is not None or (found.ends_at is not None and now >= found.ends_at)
    if over or now < found.starts_at:
        raise CodeNotValid(_("This code cannot be used now."))
    return None if goods is None else discount_of(goods, found)


async def _lines(conn: Connection, person_id: PersonId) -> list[KeptLine]:
    rows = await conn.execute(
        """
        SELECT variant_id, quantity, seen_amount, seen_currency FROM checkout.cart_lines
        WHERE person_id = %s ORDER BY added_at, variant_id
        """,
        (person_id,),
    )
    return [KeptLine(VariantId(row[0]), row[1], Money(row[2], row[3])) for row in await rows.fetchall()]


async def _put(conn: Connection, person_id: PersonId, line: KeptLine) -> None:
    await conn.execute(
        """
        INSERT INTO checkout.cart_lines (person_id, variant_id, quantity, seen_amount, seen_currency)
        VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (person_id, variant_id) DO UPDATE SET quantity = excluded.quantity,
            seen_amount = excluded.seen_amount, seen_currency = excluded.seen_currency
        """,
        (person_id, line.variant_id, line.quantity, line.seen.amount, line.seen.currency),
    )


async def _write(conn: Connection, person_id: PersonId, lines: Sequence[KeptLine]) -> None:
    """Make these a cart's lines."""
    await conn.execute(
        "DELETE FROM checkout.cart_lines WHERE person_id = %s AND variant_id <> ALL (%s)",
        (person_id, [line.variant_id for line in lines]),
    )
    for line in lines:
        await _put(conn, person_id, line)

"""Decisions of buying: states, sums, wishes and order numbers. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from uuid import UUID

from msgspec import UnsetType

from tidegate.catalog.contracts import DropTerms, Room, Terms, VoucherTerms
from tidegate.checkout.address_rules import BILLING, check_address, clean_address
from tidegate.checkout.contracts import (
    NO_CHARGES,
    Aftermath,
    BoughtLine,
    Charges,
    CodeNotValid,
    CodeUnknown,
    CurrencyMismatch,
    DropNeedsAccount,
    Line,
    LinePart,
    MixedDrops,
    NoLines,
    NotInDrop,
    OrderForm,
    OrderState,
    OrderView,
    QuantityOutOfRange,
    TooManyLines,
    UnknownSku,
)
from tidegate.gate.contracts import Pass, PassForeign, PassRequired
from tidegate.inventory.contracts import HoldLine, PassRule, summed
from tidegate.platform.ids import PersonId
from tidegate.platform.money import Money, total
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.AWAITING_PAYMENT: frozenset(
        {OrderState.PAID, OrderState.PAYMENT_FAILED, OrderState.CANCELLED, OrderState.REFUNDED}
    ),
    OrderState.PAYMENT_FAILED: frozenset(
        {OrderState.AWAITING_PAYMENT, OrderState.PAID, OrderState.CANCELLED, OrderState.REFUNDED}
    ),
    OrderState.CANCELLED: frozenset({OrderState.PAID, OrderState.REFUNDED}),  # paid after all: late money
    OrderState.PAID: frozenset({OrderState.FULFILLED, OrderState.REFUNDED}),
    OrderState.FULFILLED: frozenset({OrderState.PAID, OrderState.REFUNDED}),  # a parcel was marked by mistake
    OrderState.REFUNDED: frozenset(),
}
"""Every move that an order may make; anything else is a bug or a message out of order, and is left alone."""

PAYABLE = frozenset({OrderState.AWAITING_PAYMENT, OrderState.PAYMENT_FAILED})

NUMBER_BITS = 40
NUMBER_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = tuple(first + second for first in NUMBER_ALPHABET for second in NUMBER_ALPHABET)
"""Two letters for ten bits."""
HALF_BITS = NUMBER_BITS // 2
HALF_MASK = (1 << HALF_BITS) - 1
FEISTEL_ROUNDS = 8
MAX_EMAIL = 254
MAX_SHOWN_CODE = 64
EMAIL = re.compile(r"[^@\s,;:<>()\[\]\\\"\x00-\x1f\x7f]+@[^@\s,;:<>()\[\]\\\"\x00-\x1f\x7f]+\.[^@\s.,;:<>()\[\]\\\"]+")


def may_move(old: OrderState, new: OrderState) -> bool:
    """Whether an order may go from `old` to `new`."""
    return new in TRANSITIONS[old]


def order_number(sequence: int, *, key: UUID) -> str:
    """The number of the order that is `sequence`-th: eight letters and digits, such as `7K2M-Q0XD`.

    A keyed permutation of 40 bits (a balanced Feistel network with keyed BLAKE2b rounds, after Luby and Rackoff, 1988):
    different sequences give different numbers, and without the key one number tells nothing of the next.
    """
    assert 0 <= sequence < 1 << NUMBER_BITS
    left, right = sequence >> HALF_BITS, sequence & HALF_MASK
    for begun in _rounds(key.bytes):
        keyed = begun.copy()
        keyed.update(right.to_bytes(4, "big"))
        left, right = right, left ^ (int.from_bytes(keyed.digest(), "big") & HALF_MASK)
    return f"{PAIRS[left >> 10]}{PAIRS[left & 1023]}-{PAIRS[right >> 10]}{PAIRS[right & 1023]}"


@lru_cache(maxsize=4)
def _rounds(secret: bytes) -> tuple[blake2b, ...]:
    """The hash of each round, fed with the key and the round's own number: half of its work, the same for all."""
    return tuple(blake2b(bytes([turn]), key=secret, digest_size=4) for turn in range(FEISTEL_ROUNDS))


def check_lines(lines: Sequence[Line], *, max_lines: int, max_quantity: int) -> None:
    """Refuse wishes that no shop can mean. Raises: NoLines, TooManyLines, QuantityOutOfRange naming the line."""
    if not lines:
        raise NoLines("the list of lines is empty: name at least one SKU and its quantity")
    if len(lines) > max_lines:
        raise TooManyLines(f"{len(lines)} lines are too many: at most {max_lines} in one hold")
    for number, line in enumerate(lines, 1):
        if not 1 <= line.quantity <= max_quantity:
            words = _("Line %(line)s: the quantity must be from 1 to %(most)s.", line=number, most=max_quantity)
            raise QuantityOutOfRange(words)


def check_currency(named: str | UnsetType | None, currency: str) -> None:
    """Refuse a wish that reckons in another currency than the shop's. Raises: CurrencyMismatch."""
    if isinstance(named, str) and named != currency:
        raise CurrencyMismatch(f"this shop sells in {currency}; nothing was held and nothing was charged")


def priced(lines: Sequence[Line], terms: Mapping[str, Terms]) -> tuple[HoldLine, ...]:
    """Lines with their variants and prices, those of one variant summed. Raises: UnknownSku."""
    for line in lines:
        if line.sku not in terms:
            raise UnknownSku(_("This shop does not sell %(sku)s.", sku=repr(line.sku[:100])), sku=line.sku[:100])
    return summed([HoldLine(terms[line.sku].variant_id, line.quantity, terms[line.sku].price) for line in lines])


def drop_of(lines: Sequence[Line], terms: Mapping[str, Terms], *, named: str | None) -> DropTerms | None:
    """The drop that sells these lines, if one does; a basket belongs to one drop or to none.

    Raises: MixedDrops; NotInDrop when the lines and the drop's name do not fit.
    """
    drops = {terms[line.sku].drop for line in lines}
    if len(drops) > 1:
        raise MixedDrops("these lines belong to different sales: hold them one by one")
    (drop,) = drops
    if named is not None and (drop is None or drop.slug != named):
        raise NotInDrop(f"the drop {named[:100]!r} does not sell these lines")
    return drop


def has_room(drop: DropTerms | None) -> bool:
    """Whether only those buy whom a waiting room let in."""
    return drop is not None and drop.room is not Room.NONE


def check_buyer(drop: DropTerms | None, *, guest: bool) -> None:
    """Refuse guests where a limit per buyer is to bind people; a room says by itself who may wait.

    Raises: DropNeedsAccount.
    """
    if guest and drop is not None and not drop.guests and not has_room(drop):
        raise DropNeedsAccount(
            f"the drop {drop.slug} sells {drop.per_buyer} to each person, so it is for people with an account:"
            " sign in, then buy; nothing was held",
            drop=drop.slug,
        )


def admitted(drop: DropTerms, buyer_id: PersonId, *, sent: str | None, held: Pass | None) -> PassRule:
    """What a pass demands of a hold in a drop with a room. `sent` is the text that came, `held` what it says if signed.

    Whether it has ended and was spent is judged under the locks. Raises: PassRequired, PassForeign.
    """
    if not sent:
        raise PassRequired(
            f"whoever buys in the drop {drop.slug} waits in its room first: join it, and send the pass that you get"
            " when it is your turn",
            drop=drop.slug,
        )
    if held is None:
        raise PassForeign("this pass is not one that this shop gave; ask for yours with your ticket", drop=drop.slug)
    if held.drop_id != drop.id:
        raise PassForeign("this pass is for another drop; nothing was held", drop=drop.slug)
    if held.buyer_id != buyer_id:
        raise PassForeign("this pass is somebody else's; sign in as the one who waited", drop=drop.slug)
    return PassRule(held.place_id, held.ends_at)


def voucher_of(code: str, vouchers: Mapping[str, VoucherTerms]) -> VoucherTerms:
    """The voucher of a cleaned code, if it is not closed; its times are judged under the locks.

    Raises: CodeUnknown, CodeNotValid.
    """
    voucher = vouchers.get(code)
    if voucher is None:
        raise CodeUnknown(f"this shop has no code {code[:MAX_SHOWN_CODE]!r}; nothing was held and nothing was charged")
    if voucher.closed_at is not None:
        raise CodeNotValid("this code is closed; nothing was held and nothing was charged")
    return voucher


def discount_of(goods: Money, voucher: VoucherTerms) -> Money:
    """What a voucher takes off goods that cost `goods` together: more than nothing, and at most all of it.

    A percentage is taken of the sum, not of each line, and rounded with `percent_half_up`.
    Raises: CodeNotValid when the voucher's amount is of another currency, or nothing would come off.
    """
    if voucher.amount_off is None:
        assert voucher.percent_off is not None, "a voucher takes off a percentage or an amount"
        off = percent_half_up(goods.amount, voucher.percent_off)
    elif voucher.amount_off.currency == goods.currency:
        off = min(voucher.amount_off.amount, goods.amount)
    else:
        raise CodeNotValid(
            _(
                "This code is in %(its)s, and these goods are in %(theirs)s.",
                its=voucher.amount_off.currency,
                theirs=goods.currency,
            )
        )
    if off == 0:
        raise CodeNotValid(_("This code takes nothing off these goods: order them without it."))
    return Money(off, goods.currency)


def percent_half_up(amount: int, percent: int) -> int:
    """`percent` of an amount, to the nearest minor unit; a half becomes a whole."""
    return (amount * percent + 50) // 100


def to_pay(lines: Sequence[BoughtLine], discount: Money, charges: Charges = NO_CHARGES) -> Money:
    """What lines cost together, less a discount, and what comes to them."""
    goods = total((line.total for line in lines), discount.currency)
    assert 0 <= discount.amount <= goods.amount, "a discount takes off at most what there is to pay"
    return Money(goods.amount - discount.amount + charges.added, goods.currency)


def worth_of(
    parts: Sequence[LinePart], lines: Sequence[BoughtLine], discount: Money, charges: Charges = NO_CHARGES
) -> Money:
    """What some items of an order cost: their prices less their share of the discount, to the nearest minor unit.

    Where taxes came on top, with a share of them by value; delivery and its tax are not part of it.
    A half becomes a whole in the buyer's favour. Raises: InvalidRequest for items that the order does not have.
    """
    picked = 0
    for part in parts:
        if not 1 <= part.line_no <= len(lines) or not 1 <= part.quantity <= lines[part.line_no - 1].quantity:
            raise InvalidRequest(_("This order does not have that many of these items. Nothing was changed."))
        picked += lines[part.line_no - 1].unit.amount * part.quantity
    goods = sum(line.total.amount for line in lines)
    if goods == 0:
        return Money(0, discount.currency)
    paid = goods - discount.amount
    if not charges.tax_included and paid:
        both = paid + charges.shipping_amount
        paid += (2 * charges.tax_amount * paid + both) // (2 * both)  # delivery is taxed as the goods are
    return Money((2 * picked * paid + goods) // (2 * goods), discount.currency)


def may_cancel(order: OrderView, after: Aftermath, *, paid_too: bool) -> bool:
    """Whether an order could be cancelled as it stands, a paid one only with `paid_too`; `cancel` decides."""
    untouched = after.cancelled_at is None and not after.sent_any
    return order.state in PAYABLE or (order.state is OrderState.PAID and untouched and paid_too)


def parts_left(lines: Sequence[BoughtLine], *gone: Sequence[LinePart]) -> tuple[LinePart, ...]:
    """What is left of each line after what is `gone`; lines of which nothing is left are absent."""
    left = {number: line.quantity for number, line in enumerate(lines, 1)}
    for parts in gone:
        for part in parts:
            left[part.line_no] -= part.quantity
    return tuple(LinePart(number, quantity) for number, quantity in left.items() if quantity > 0)


def check_form(form: OrderForm, *, phone_required: bool = False) -> dict[str, str]:
    """What is wrong with a filled-in order form, by field; empty when nothing is."""
    wrong: dict[str, str] = {}
    if len(form.email) > MAX_EMAIL or not EMAIL.fullmatch(form.email):
        wrong["email"] = _("Enter an e-mail address such as name@example.com.")
    wrong |= check_address(form.address, phone_required=phone_required)
    if form.billing is not None:
        bill = check_address(form.billing)
        wrong |= {f"{BILLING}{field}": _("On the bill: %(words)s", words=words) for field, words in bill.items()}
    return wrong


def clean_form(form: OrderForm) -> OrderForm:
    """The form without the blanks around what was typed, and without a bill's address that is the delivery's."""
    address = clean_address(form.address)
    billing = None if form.billing is None else clean_address(form.billing)
    return OrderForm(
        form.hold_id,
        form.email.strip(),
        address,
        form.provider,
        form.method,
        form.shipping_method,
        None if billing == address else billing,
    )

"""What holds and express purchases share: wishes for lines, settled against catalogue, keys, limits and stock."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tidegate import inventory
from tidegate.catalog import clean_code
from tidegate.catalog.contracts import DropTerms, Rates, Terms, VoucherTerms
from tidegate.checkout.charge_rules import charges_of
from tidegate.checkout.contracts import (
    NO_CHARGES,
    BoughtLine,
    Charges,
    CodeNotValid,
    CodeUsedUp,
    DropNeedsAccount,
    HoldsOpen,
    LimitReached,
    Line,
    NotOpen,
    SoldOut,
)
from tidegate.checkout.documents import goods_members
from tidegate.checkout.rules import admitted, check_buyer, discount_of, drop_of, has_room, priced, to_pay, voucher_of
from tidegate.checkout.shop import Desk
from tidegate.gate import read_over
from tidegate.gate.contracts import PassExpired, PassSpent
from tidegate.inventory.contracts import Decision, DropRule, Granted, HoldLine, HoldRequest, PassRule, VoucherRule
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import Claim, ClaimState, RequestKey, StoredAnswer, look_up
from tidegate.platform.ids import HoldId, OrderId, PersonId, VariantId, new_id
from tidegate.platform.money import Money, total
from tidegate.platform.problems import KeyInFlight, KeyReused, Problem

NO_TWIN_WON = (KeyInFlight, KeyReused, DropNeedsAccount)
"""Refusals that a twin cannot have escaped: they are about the key, or about who asks, as it is for the twin."""


class Wish(Struct, frozen=True):
    """A buyer's wish for all of `lines` or none, as it came in.

    `guest`: the buyer has no account. `admission` is the pass that a room gave, `code` a voucher's.
    `shipping_method` None stands for the cheapest that fits.
    """

    buyer_id: PersonId
    lines: tuple[Line, ...]
    drop: str | None = None
    admission: str | None = None
    key: RequestKey | None = None
    code: str | None = None
    shipping_method: str | None = None
    guest: bool = False

    @property
    def destination(self) -> str:
        """The country that it goes to; empty while nobody knows: then delivery and taxes are not reckoned yet."""
        return ""


class Basket(Struct, frozen=True):
    """What a wish comes to under the terms of one batch: made once for all who want the same.

    `held` are its goods as stock knows them, `lines` as people do; `members` are its goods' members of a document.
    """

    held: tuple[HoldLine, ...]
    lines: tuple[BoughtLine, ...]
    drop: DropTerms | None
    rule: DropRule | None
    voucher: VoucherRule | None
    discount: Money
    total: Money
    members: bytes
    charges: Charges = NO_CHARGES


class Allotted(Struct, frozen=True):
    """Stock that was taken for a wish."""

    request: HoldRequest
    granted: Granted
    basket: Basket


Verdict = Allotted | StoredAnswer | Problem
"""Stock for a wish, the answer that its key's first request got, or a refusal."""


async def allot(
    conn: Connection,
    desk: Desk,
    wishes: Sequence[Wish],
    *,
    ttl_s: int,
    moves: inventory.StockMoves,
    order_ids: Sequence[OrderId] | None = None,
) -> list[Verdict]:
    """Take stock for wishes in order of arrival; one verdict each. With `order_ids` the holds are these orders'.

    The caller applies `moves` when it has written what it wants to, keys excepted.

    Everything is asked for before anything is waited for: the terms that this process knows are used, and verified
    with the catalogue's revision in the same transaction. Only codes, where there are any, are known beforehand.
    """
    codes = list({clean_code(wish.code) for wish in wishes if wish.code is not None})
    vouchers = await desk.snapshot.vouchers(conn, codes) if codes else {}
    skus = list({line.sku for wish in wishes for line in wish.lines})
    passes = [wish.admission for wish in wishes if wish.admission is not None]
    await desk.passes.prepare(conn, passes)
    revision = await desk.snapshot.ask(conn)
    guess, rates = desk.snapshot.guess(skus), desk.snapshot.guess_rates()
    if guess is None or rates is None:
        guess = None
        terms, rates = await desk.snapshot.answer_with_rates(conn, revision, skus)
    else:
        terms = guess
    lookup = await desk.keys.look_up(conn, [wish.key for wish in wishes if wish.key])
    places = await desk.passes.ask_over(conn, passes)
    baskets = _baskets(desk, wishes, terms, vouchers, rates)
    wanted = _requests(desk, wishes, baskets, order_ids)
    room = await inventory.ask_room(conn, [each for each in wanted if each is not None])
    if guess is not None and (fresh := await desk.snapshot.answer_with_rates(conn, revision, skus)) != (guess, rates):
        terms, rates = fresh
        baskets = _baskets(desk, wishes, terms, vouchers, rates)
        wanted = _requests(desk, wishes, baskets, order_ids)
        room = await inventory.ask_room(conn, [each for each in wanted if each is not None])
    claims = iter(await lookup.claims())
    over = await read_over(places)
    verdicts: list[Verdict | None] = []
    requests: list[HoldRequest] = []
    taken: list[Basket] = []
    for wish, basket, want in zip(wishes, baskets, wanted, strict=True):
        verdict = from_claim(next(claims)) if wish.key else None
        if verdict is None:
            if isinstance(basket, Problem):
                verdict = basket
            elif want is not None and want.admission is not None and want.admission.place_id in over:
                verdict = PassExpired(
                    "this pass ended with its place, which was given up or left behind by its room; nothing was held."
                    " Join the room again for a place at the end of the line"
                )
            elif want is not None:
                requests.append(want)
                taken.append(basket)
        verdicts.append(verdict)
    limit = desk.settings.holds.max_live_per_buyer
    decided = await inventory.place_holds(conn, requests, ttl_s=ttl_s, max_loose_holds=limit, asked=room, moves=moves)
    by_variant = {each.variant_id: each for each in terms.values()}
    rest = iter([_verdict(*each, by_variant) for each in zip(requests, taken, decided, strict=True)])
    told = [next(rest) if verdict is None else verdict for verdict in verdicts]
    keys = [wish.key for wish in wishes]
    for place, claimed in (await claimed_meanwhile(conn, keys, told, looked_up=lookup.asked)).items():
        told[place] = claimed
    return told


def from_claim(claim: Claim) -> StoredAnswer | Problem | None:
    """What a key's claim already says of its request; None when it is the first."""
    match claim.state:
        case ClaimState.NEW:
            return None
        case ClaimState.ANSWERED:
            assert claim.answer is not None
            return claim.answer
        case ClaimState.REUSED:
            return KeyReused()
        case _:
            return KeyInFlight()


async def claimed_meanwhile(
    conn: Connection, keys: Sequence[RequestKey | None], outcomes: Sequence[object], *, looked_up: bool
) -> dict[int, StoredAnswer | Problem]:
    """What a twin in another process has come to while this one waited for its locks, by place in the batch.

    Keys are looked up before locks are taken, and whoever waited for a twin decides on what that one did. A refusal
    that is kept collides with the twin's key then, and is decided anew; for others the keys are looked up again, or for
    the first time where they were not `looked_up`.
    """
    unsure: dict[int, RequestKey] = {}
    for place, (key, outcome) in enumerate(zip(keys, outcomes, strict=True)):
        if key is None or not isinstance(outcome, Problem) or (looked_up and isinstance(outcome, NO_TWIN_WON)):
            continue
        if stored_refusal(outcome) is None:
            unsure[place] = key
    if not unsure:
        return {}
    lookup = await look_up(conn, list(unsure.values()))
    found = {place: from_claim(claim) for place, claim in zip(unsure, await lookup.claims(), strict=True)}
    return {place: claimed for place, claimed in found.items() if claimed is not None}


def stored_refusal(verdict: object) -> StoredAnswer | None:
    """The answer to keep under a wish's key when its verdict is a decision; None when its buyer may well try again.

    | refusal | kept | why |
    |---|---|---|
    | SoldOut, CodeUsedUp | yes | a decision on that moment's stock: a repeat must not win what its first try lost |
    | LimitReached | yes | the buyer has bought what one person may have |
    | HoldsOpen | no | it tells the buyer to order or give up a hold and try again |
    | NotOpen, CodeNotValid | no | the clock changes it |
    | DropNeedsAccount | no | whoever signs in has another key |
    | PassRequired, PassForeign, CodeUnknown, UnknownSku, InvalidRequest | no | the request was wrong |
    | PassExpired, PassSpent | no | a repeat cannot win what its first try lost: passes do not come back |
    | NotShippedThere, ShippingUnknown | no | the same |
    | KeyInFlight, KeyReused | no | they are about the key, which belongs to another request |
    """
    if isinstance(verdict, HoldsOpen):
        return None
    if isinstance(verdict, SoldOut | LimitReached | CodeUsedUp):
        return StoredAnswer(verdict.status, verdict.encoded())
    return None


def bought_line(terms: Terms, quantity: int) -> BoughtLine:
    """A line at the price of `terms`."""
    return BoughtLine(terms.sku, title_of(terms), quantity, terms.price, terms.product_slug, terms.tax_class)


def title_of(terms: Terms) -> str:
    """Product and options, as people read them."""
    return f"{terms.title}, {terms.options_text}" if terms.options_text else terms.title


def _baskets(
    desk: Desk, wishes: Sequence[Wish], terms: dict[str, Terms], vouchers: dict[str, VoucherTerms], rates: Rates
) -> list[Basket | Problem]:
    """What each wish comes to, or why it cannot be fulfilled: a refusal of its own, for each is raised elsewhere."""
    by_variant = {each.variant_id: each for each in terms.values()}
    known: dict[tuple[object, ...], Basket] = {}
    baskets: list[Basket | Problem] = []
    for wish in wishes:
        name = (wish.lines, wish.drop, wish.code, wish.destination, wish.shipping_method)
        basket = known.get(name)
        try:
            if basket is None:
                basket = known[name] = _basket(wish, terms, by_variant, vouchers, rates)
            _pass_of(desk, wish, basket)
        except Problem as problem:
            baskets.append(problem)
            continue
        baskets.append(basket)
    return baskets


def _basket(
    wish: Wish,
    terms: dict[str, Terms],
    by_variant: dict[VariantId, Terms],
    vouchers: dict[str, VoucherTerms],
    rates: Rates,
) -> Basket:
    held = priced(wish.lines, terms)
    drop = drop_of(wish.lines, terms, named=wish.drop)
    voucher, off = _redeemed(wish.code, vouchers, held)
    lines = tuple(bought_line(by_variant[line.variant_id], line.quantity) for line in held)
    discount = Money(off, lines[0].unit.currency)
    charges = NO_CHARGES
    if wish.destination:
        charges = charges_of(lines, discount, rates, country=wish.destination, method=wish.shipping_method)
    to_be_paid = to_pay(lines, discount, charges)
    rule = None if drop is None else DropRule(drop.id, drop.opens_at, drop.per_buyer)
    members = goods_members(total=to_be_paid, discount=discount, lines=lines)
    return Basket(held, lines, drop, rule, voucher, discount, to_be_paid, members, charges)


def _pass_of(desk: Desk, wish: Wish, basket: Basket) -> PassRule | None:
    """What the wish's pass demands; None where the basket needs none. Raises: as `check_buyer` and `admitted`."""
    check_buyer(basket.drop, guest=wish.guest)
    if basket.drop is None or not has_room(basket.drop):
        return None
    held = desk.passes.read(wish.admission) if wish.admission else None
    return admitted(basket.drop, wish.buyer_id, sent=wish.admission, held=held)


def _requests(
    desk: Desk, wishes: Sequence[Wish], baskets: Sequence[Basket | Problem], order_ids: Sequence[OrderId] | None
) -> list[HoldRequest | None]:
    """What stock is asked for each wish; None where nothing is."""
    wanted: list[HoldRequest | None] = []
    for place, (wish, basket) in enumerate(zip(wishes, baskets, strict=True)):
        if isinstance(basket, Problem):
            wanted.append(None)
            continue
        wanted.append(
            HoldRequest(
                HoldId(new_id()),
                wish.buyer_id,
                basket.held,
                basket.rule,
                basket.voucher,
                None if order_ids is None else order_ids[place],
                basket.discount.amount,
                _pass_of(desk, wish, basket),
            )
        )
    return wanted


def _redeemed(
    code: str | None, vouchers: dict[str, VoucherTerms], lines: Sequence[HoldLine]
) -> tuple[VoucherRule | None, int]:
    """What a code demands, and what it takes off the lines in minor units. Raises: CodeUnknown, CodeNotValid."""
    if code is None:
        return None, 0
    voucher = voucher_of(clean_code(code), vouchers)
    goods = total((line.unit * line.quantity for line in lines), lines[0].unit.currency)
    rule = VoucherRule(voucher.id, voucher.total, voucher.per_buyer, voucher.starts_at, voucher.ends_at)
    return rule, discount_of(goods, voucher).amount


def _verdict(request: HoldRequest, basket: Basket, decision: Decision, by_variant: dict[VariantId, Terms]) -> Verdict:
    match decision:
        case Granted():
            return Allotted(request, decision, basket)
        case inventory.SoldOut():
            wanted = by_variant[decision.variant_id]
            words = f"{title_of(wanted)} is sold out" if decision.left == 0 else f"only {decision.left} are left"
            return SoldOut(f"{words}; nothing was held and nothing was charged", sku=wanted.sku, left=decision.left)
        case inventory.NotYetOpen():
            opens_at = decision.opens_at.isoformat()
            return NotOpen(f"this drop opens at {opens_at}; try again then", opens_at=opens_at)
        case inventory.PassOver() | inventory.PassUsed():
            return _pass_refused(decision)
        case inventory.OverLimit(quota=quota, live_hold_id=live):
            if live is not None:
                return HoldsOpen(
                    "you have a hold in this drop already: order it or give it up first", hold_id=str(live)
                )
            return LimitReached(f"one person may have {quota} in this drop, and you have {decision.used}")
        case inventory.VoucherSpent() | inventory.VoucherNotNow():
            return _code_refused(decision)
        case inventory.TooManyHolds(limit=limit):
            return HoldsOpen(f"you have {limit} holds open: order or give up one of them first")


def _pass_refused(decision: inventory.PassOver | inventory.PassUsed) -> Problem:
    if isinstance(decision, inventory.PassUsed):
        return PassSpent("this pass has been used for a hold, and each is good for one; nothing more was held")
    ended_at = decision.ended_at.isoformat()
    words = f"this pass ended at {ended_at}; nothing was held. Join the room again for a place at the end of the line"
    return PassExpired(words, ended_at=ended_at)


def _code_refused(decision: inventory.VoucherSpent | inventory.VoucherNotNow) -> Problem:
    if isinstance(decision, inventory.VoucherSpent):
        words = "you have used this code as often as you may" if decision.own else "this code has been used up"
        return CodeUsedUp(f"{words}; nothing was held and nothing was charged")
    if decision.starts_at is not None:
        starts_at = decision.starts_at.isoformat()
        return CodeNotValid(f"this code starts at {starts_at}; nothing was held", starts_at=starts_at)
    assert decision.ended_at is not None
    ended_at = decision.ended_at.isoformat()
    return CodeNotValid(f"this code ended at {ended_at}; nothing was held and nothing was charged", ended_at=ended_at)

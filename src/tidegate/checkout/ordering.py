"""Placing an order and paying it: intent recorded, provider called with nothing open, result recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from msgspec import Struct
from msgspec.structs import replace

from tidegate import inventory, payments
from tidegate.catalog.contracts import Rates, Terms
from tidegate.checkout.charge_rules import charges_of
from tidegate.checkout.contracts import (
    AlreadyOrdered,
    BoughtLine,
    Charges,
    HoldExpired,
    NotPayable,
    NotShippedThere,
    OrderForm,
    OrderState,
    OrderView,
    ShippingUnknown,
)
from tidegate.checkout.documents import order_body
from tidegate.checkout.orders import (
    Order,
    ask_numbers,
    load_orders,
    lock_orders,
    move_orders,
    read_numbers,
    there_already,
    try_lock_order,
)
from tidegate.checkout.pending import Begun, PendingOrder, or_taken_up, seal_pending, write_pending
from tidegate.checkout.rules import PAYABLE, check_form, clean_form, to_pay
from tidegate.checkout.settlement import Known, Settlement, settle
from tidegate.checkout.shop import Desk, Shop
from tidegate.checkout.views import OPEN, standing, view_order, view_orders
from tidegate.checkout.wishes import bought_line, claimed_meanwhile, from_claim
from tidegate.inventory import Hold, HoldState
from tidegate.payments.contracts import (
    Answer,
    ChargeIntent,
    ChargeRef,
    ChargeState,
    OutcomeUnknown,
    ProviderRefused,
    Standing,
)
from tidegate.platform.clock import ask_now, read_now
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import KeyRecord, RequestKey, StoredAnswer, record_keys
from tidegate.platform.ids import HoldId, OrderId, PersonId, VariantId, new_id
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest, KeyInFlight, NotFound, Overloaded, Problem
from tidegate.platform.texts import text as _
from tidegate.platform.transactions import wait_until_durable

log = structlog.get_logger()
TWIN_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that the key's first request got."""

    answer: StoredAnswer


class OrderWish(Struct, frozen=True):
    """A buyer's wish to order what a hold keeps, as it came in. The form has been checked."""

    buyer_id: PersonId
    form: OrderForm
    key: RequestKey | None = None


class Started(Struct, frozen=True):
    """An order that is recorded, and what its provider is to be asked for now."""

    known: Known
    intent: ChargeIntent


async def place_order(
    shop: Shop, *, buyer_id: PersonId, form: OrderForm, key: RequestKey | None = None
) -> OrderView | Replay:
    """Order what a hold keeps, and start its payment. With a key, a repeat gets the first one's answer.

    The order stands even when the card is declined: it is then `payment_failed`, and ordering the same hold again
    with another card pays the same order, until its end.
    Raises: InvalidRequest with `errors` by field, NotFound (also for another buyer's hold), HoldExpired,
    AlreadyOrdered, KeyReused, KeyInFlight, UnknownProvider.
    """
    form = check_wish(shop, form)

    async def work() -> OrderView | Replay:
        return await begin(shop, lambda: shop.batches.orders.submit(OrderWish(buyer_id, form, key)))

    outcome, shared = await shop.twins.once(key, work)
    return repeated(outcome) if shared else outcome


def check_wish(shop: Shop, form: OrderForm) -> OrderForm:
    """The form, cleaned. Raises: InvalidRequest with `errors` by field, UnknownProvider, UnknownToken."""
    form = clean_form(form)
    wrong = check_form(form, phone_required=shop.settings.orders.phone_required)
    if wrong:
        errors = [{"field": field, "message": words} for field, words in wrong.items()]
        raise InvalidRequest("the order form is not complete", errors=errors)
    payments.check_method(shop.providers, provider=form.provider, method=form.method)
    return form


async def begin(shop: Shop, submit: Callable[[], Awaitable[Started | StoredAnswer]]) -> OrderView | Replay:
    """Record an order with whatever batch it lands in, then pay it. A twin elsewhere is waited for until a deadline."""
    deadline = asyncio.get_running_loop().time() + shop.settings.idempotency.wait_s
    while True:
        try:
            started = await submit()
        except KeyInFlight:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(TWIN_POLL_S)
            continue
        outcome = started if isinstance(started, StoredAnswer) else await charge(shop, started)
        return Replay(outcome) if isinstance(outcome, StoredAnswer) else outcome


def repeated(outcome: OrderView | Replay) -> Replay:
    """What a twin in the same process is answered: the same, to the letter."""
    return outcome if isinstance(outcome, Replay) else Replay(answer_with(outcome))


def answer_with(order: OrderView) -> StoredAnswer:
    """What its buyer is answered: 201, or 202 while the answer of the key is to come."""
    return StoredAnswer(201 if order.recorded else 202, order_body(order))


async def pay_again(shop: Shop, *, buyer_id: PersonId, order_id: OrderId, provider: str, method: str) -> OrderView:
    """Another attempt at paying an order whose last one failed.

    An attempt that is still open is not doubled: the order is returned with what to do next.
    Raises: NotFound, NotPayable, UnknownProvider.
    """
    payments.check_method(shop.providers, provider=provider, method=method)

    async def begin_again() -> Started | OrderView:
        async with shop.database.transaction() as conn:
            order = (await lock_orders(conn, [order_id])).get(order_id)
            if order is None or order.buyer_id != buyer_id:
                raise NotFound("there is no such order")
            if order.state not in PAYABLE or order.seconds_left == 0:
                raise NotPayable()
            started = await _next_attempt(conn, shop.desk, order, provider=provider, method=method)
            return started or (await view_orders(conn, [order_id]))[order_id]

    begun = await or_taken_up(shop.database, order_id, begin_again)
    if isinstance(begun, OrderView):
        return begun
    view = await charge(shop, begun)
    assert isinstance(view, OrderView), "without a key no answer is stored"
    return view


async def find_order(shop: Shop, *, buyer_id: PersonId, order_id: OrderId, ask: bool = False) -> OrderView:
    """The buyer's order. With `ask`, the provider is asked about an open payment first.

    A return from the provider's page proves nothing by itself, so it leads here with `ask`.
    Raises: NotFound, also for another buyer's.
    """
    return await or_taken_up(shop.database, order_id, lambda: _find_written(shop, buyer_id, order_id, ask=ask))


async def _find_written(shop: Shop, buyer_id: PersonId, order_id: OrderId, *, ask: bool) -> OrderView:
    async with shop.database.connection() as conn:
        order = (await load_orders(conn, [order_id])).get(order_id)
        if order is None or order.buyer_id != buyer_id:
            raise NotFound("there is no such order")
        asked = ask or order.state in PAYABLE
        charges = (await payments.load_charges(conn, order_ids=[order_id])).get(order_id, ()) if asked else ()
        unsettled = [charge for charge in charges if charge.state in OPEN] if ask else []
        if unsettled:
            await wait_until_durable(conn)  # to ask may be to charge
    view = view_order(order, standing(charges))
    if not unsettled:
        return view
    try:
        answers = {charge.ref: await payments.ask_provider(shop.providers, charge) for charge in unsettled}
    except (OutcomeUnknown, ProviderRefused):
        return view
    return (await settle(shop, answers))[order_id]


async def settle_orders(
    conn: Connection, wishes: Sequence[OrderWish], *, desk: Desk
) -> list[Started | StoredAnswer | Exception]:
    """Record a batch of orders for what holds keep, in the caller's transaction; one outcome each.

    Locks: holds; an order whose card was declined, where another is tried. Two wishes for one hold in a batch: the
    second finds it ordered.
    """
    lookup = await desk.keys.look_up(conn, [wish.key for wish in wishes if wish.key])
    asked = await inventory.ask_holds(conn, (wish.form.hold_id for wish in wishes))
    numbers = await ask_numbers(conn, len(wishes))
    revision = await desk.snapshot.ask(conn)
    clock = await ask_now(conn)
    claims = iter(await lookup.claims())
    holds = await inventory.read_holds(asked)
    drawn = iter(await read_numbers(numbers, key=desk.number_key))
    variants = {line.variant_id for hold in holds.values() for line in hold.lines}
    terms, rates = await desk.snapshot.by_variant_with_rates(conn, revision, variants)
    new = _NewOrders(desk, await read_now(clock), terms, rates)
    outcomes: list[Started | StoredAnswer | Exception] = []
    for wish in wishes:
        outcome = from_claim(next(claims)) if wish.key else None
        outcomes.append(outcome or await _settle_wish(conn, wish, holds.get(wish.form.hold_id), new, next(drawn)))
    await new.record(conn, holds)
    keys = [wish.key for wish in wishes]
    for place, claimed in (await claimed_meanwhile(conn, keys, outcomes, looked_up=lookup.asked)).items():
        outcomes[place] = claimed
    return outcomes


async def _settle_wish(
    conn: Connection, wish: OrderWish, hold: Hold | None, new: _NewOrders, number: str
) -> Started | Exception:
    if hold is None or hold.buyer_id != wish.buyer_id:
        return NotFound("there is no such hold")
    if hold.id in new.attached:
        return AlreadyOrdered()
    if hold.order_id is not None:
        try:
            return await new.again(conn, hold.order_id, wish)
        except Problem as problem:
            return problem
    if hold.state is not HoldState.HELD or hold.expires_at <= new.now:
        return HoldExpired()
    try:
        return new.add(wish, hold, number)
    except (NotShippedThere, ShippingUnknown) as problem:
        return problem


class _Sum(Struct, frozen=True):
    """What an order comes to."""

    lines: tuple[BoughtLine, ...]
    discount: Money
    charges: Charges
    total: Money


class _NewOrders:
    """The orders that a batch makes, collected until they are written together."""

    def __init__(self, desk: Desk, now: datetime, terms: Mapping[VariantId, Terms], rates: Rates) -> None:
        self.desk = desk
        self.now = now
        self._terms = terms
        self._rates = rates
        self._known: dict[tuple[object, ...], _Sum] = {}
        self.ends_at = now + timedelta(seconds=desk.settings.holds.payment_window_s)
        self.attached: dict[HoldId, OrderId] = {}
        self._started: list[Started] = []
        self._keys: list[KeyRecord] = []

    def add(self, wish: OrderWish, hold: Hold, number: str) -> Started:
        """Raises: NotShippedThere, ShippingUnknown."""
        bought = self._sum(hold, country=wish.form.address.country, method=wish.form.shipping_method)
        order = Order(
            id=OrderId(new_id()),
            number=number,
            buyer_id=wish.buyer_id,
            hold_id=hold.id,
            state=OrderState.AWAITING_PAYMENT,
            total=bought.total,
            discount=bought.discount,
            email=wish.form.email,
            address=wish.form.address,
            pay_until=max(hold.expires_at, self.ends_at).astimezone(UTC),
            seconds_left=self.desk.settings.holds.payment_window_s,
            created_at=self.now,
            lines=bought.lines,
            charges=bought.charges,
            billing=wish.form.billing,
        )
        self.attached[hold.id] = order.id
        ordered = replace(hold, state=HoldState.ORDERED, order_id=order.id)
        started = start(self.desk, order, ordered, wish.key, provider=wish.form.provider, method=wish.form.method)
        self._started.append(started)
        return started

    def _sum(self, hold: Hold, *, country: str, method: str | None) -> _Sum:
        """Reckoned once for all who want the same."""
        name = (hold.lines, hold.discount, country, method)
        known = self._known.get(name)
        if known is None:
            lines = tuple(
                replace(bought_line(self._terms[line.variant_id], line.quantity), unit=line.unit) for line in hold.lines
            )
            discount = Money(hold.discount, lines[0].unit.currency)
            charges = charges_of(lines, discount, self._rates, country=country, method=method)
            known = self._known[name] = _Sum(lines, discount, charges, to_pay(lines, discount, charges))
        return known

    async def again(self, conn: Connection, order_id: OrderId, wish: OrderWish) -> Started:
        started = await _order_again(conn, self.desk, order_id, wish)
        if wish.key:
            self._keys.append(KeyRecord(wish.key, subject_id=order_id))
        return started

    async def record(self, conn: Connection, holds: dict[HoldId, Hold]) -> None:
        if self._started:
            await inventory.attach_holds(conn, self.attached, holds=holds, ends_at=self.ends_at)
            self._keys += await record_started(conn, self._started)
        await record_keys(conn, self._keys)


def start(
    desk: Desk, order: Order, hold: Hold, key: RequestKey | None, *, provider: str, method: str, attempt: int = 1
) -> Started:
    """What to ask the provider for, to pay `order`."""
    intent = ChargeIntent(
        ref=ChargeRef(order.id, attempt),
        provider=provider,
        method=method,
        total=order.total,
        return_url=f"{desk.settings.base_url}/orders/{order.id}?returned=1",
        description=order.number,
    )
    begun = Begun(_pending(order, hold, intent)) if key is not None and attempt == 1 else None
    return Started(Known(order, hold, key, begun), intent)


def _pending(order: Order, hold: Hold, intent: ChargeIntent) -> PendingOrder:
    return PendingOrder(order, tuple(line.variant_id for line in hold.lines), intent)


async def record_started(conn: Connection, started: Sequence[Started]) -> list[KeyRecord]:
    """Keep new orders and the intents to pay them: in the keys that this returns, for the caller to write.

    Orders whose request has no key are written at once.
    """
    keys = [
        KeyRecord(each.known.key, subject_id=each.known.order.id, pending_sealed=seal_pending(each.known.begun.pending))
        for each in started
        if each.known.key is not None and each.known.begun is not None
    ]
    at_once = [each for each in started if each.known.begun is None]
    await write_pending(conn, [_pending(each.known.order, each.known.hold, each.intent) for each in at_once])
    return keys


async def _order_again(conn: Connection, desk: Desk, order_id: OrderId, wish: OrderWish) -> Started:
    """Another card for an order whose last one was declined. Its goods, address and end stay as they are.

    Orders come before holds in the order of locks, and the hold is locked: an order that somebody settles just now is
    not waited for here. Raises: KeyInFlight then; the wish is settled anew in a later batch.
    """
    order = await try_lock_order(conn, order_id)
    if order is None:
        if not await there_already(conn, [order_id]):  # pending: its first card is being asked for just now
            raise AlreadyOrdered(order_id=str(order_id))
        raise KeyInFlight(
            _("This order is being worked on just now. Nothing was changed: send the request again in a second.")
        )
    if order.state == OrderState.CANCELLED or (order.state in PAYABLE and order.seconds_left == 0):
        raise HoldExpired()
    if order.state != OrderState.PAYMENT_FAILED:
        raise AlreadyOrdered(order_id=str(order_id))
    form = wish.form
    started = await _next_attempt(conn, desk, order, provider=form.provider, method=form.method, key=wish.key)
    if started is None:
        raise AlreadyOrdered(order_id=str(order_id))
    return started


async def _next_attempt(
    conn: Connection, desk: Desk, order: Order, *, provider: str, method: str, key: RequestKey | None = None
) -> Started | None:
    """Record one more attempt at a locked order; None while another one is open."""
    charges = (await payments.load_charges(conn, order_ids=[order.id])).get(order.id, ())
    if any(charge.state in OPEN for charge in charges):
        return None
    attempt = max((charge.ref.attempt for charge in charges), default=0) + 1
    hold = (await inventory.load_holds(conn, [order.hold_id]))[order.hold_id]
    again = replace(order, state=OrderState.AWAITING_PAYMENT)
    started = start(desk, again, hold, key, provider=provider, method=method, attempt=attempt)
    await payments.record_intents(conn, [started.intent])
    await move_orders(conn, {order.id: OrderState.AWAITING_PAYMENT})
    return started


async def charge(shop: Shop, started: Started) -> OrderView | StoredAnswer:
    """Call the provider with no transaction open, then settle. An answer that never came is asked for later.

    StoredAnswer: while the provider was called, somebody else settled this and finished the key.
    """
    ref = started.intent.ref
    try:
        answer = await payments.call_provider(shop.providers, started.intent)
    except ProviderRefused as refusal:
        log.error("provider_refused", order_id=str(ref.order_id), attempt=ref.attempt, reason=str(refusal))
        answer = Answer(ChargeState.FAILED, "", failure="refused")
    except OutcomeUnknown:
        log.warning("payment_outcome_unknown", order_id=str(ref.order_id), attempt=ref.attempt)
        answer = Answer(ChargeState.INTENT, "")  # settled too: what is answered now is the key's answer for ever
    try:
        view = await shop.batches.settlements.submit(Settlement(ref, answer, known=started.known))
    except Overloaded:
        # The provider has answered: "nothing was changed" would be wrong. The reconciler asks it again and settles,
        # which finishes the key.
        log.warning("payment_not_settled", order_id=str(ref.order_id), attempt=ref.attempt)
        return replace(view_order(started.known.order, Standing(ref, ChargeState.INTENT)), recorded=False)
    assert view is not None, "an order that was committed is there"
    return view

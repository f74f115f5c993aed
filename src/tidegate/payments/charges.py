"""Charges: recorded before the provider is called, settled by what the provider says."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import structlog
from msgspec import Struct
from prometheus_client import Counter
from psycopg import AsyncCursor

from tidegate.payments.contracts import (
    Answer,
    Applied,
    Charge,
    ChargeIntent,
    ChargeRef,
    ChargeState,
    FirstAttempt,
    PaymentInProgress,
    Settled,
    Standing,
)
from tidegate.payments.rules import LONGEST_PAUSE_S, MAX_DESCRIPTION, Step, decide
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import Connection
from tidegate.platform.ids import BY_NUMBER, OrderId
from tidegate.platform.money import Money

log = structlog.get_logger()

OTHER_TOTALS = Counter(
    "tidegate_payments_other_totals", "Answers that told of a capture of another sum than was asked for."
)

CHARGE = """order_id, attempt, provider, method, state, amount, currency, return_url, description,
    provider_ref, action_url, failure, asked"""

INSERT = """
INSERT INTO payments.charges (order_id, attempt, provider, method, state, amount, currency, return_url, description)
SELECT i.order_id, i.attempt, i.provider, i.method, 'intent', i.amount, i.currency, i.return_url, i.description
FROM unnest(%s::uuid[], %s::integer[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[])
    AS i (order_id, attempt, provider, method, amount, currency, return_url, description)
WHERE i.attempt = 1 OR NOT EXISTS (
    SELECT FROM payments.charges c WHERE c.order_id = i.order_id AND c.state = 'captured')
ORDER BY i.order_id, i.attempt
ON CONFLICT DO NOTHING
RETURNING order_id, attempt
"""

INSERT_FIRST = """
INSERT INTO payments.charges (order_id, attempt, provider, method, state, amount, currency, return_url, description,
    created_at, provider_ref, settled_at)
SELECT i.order_id, 1, i.provider, i.method, i.state, i.amount, i.currency, i.return_url, i.description,
    i.created_at, nullif(i.provider_ref, ''), CASE WHEN i.state = 'captured' THEN clock_timestamp() END
FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::text[],
    %b::timestamptz[], %b::text[])
    AS i (order_id, provider, method, state, amount, currency, return_url, description, created_at, provider_ref)
"""

LOCK = """
SELECT order_id, attempt, state, failure, action_url, amount, currency FROM payments.charges
WHERE order_id = ANY(%b) ORDER BY order_id, attempt FOR NO KEY UPDATE
"""

SETTLE = """
UPDATE payments.charges c
SET state = a.state,
    failure = a.failure,
    provider_ref = coalesce(nullif(a.provider_ref, ''), c.provider_ref),
    action_url = CASE WHEN a.state = 'requires_action' THEN coalesce(a.action_url, c.action_url) END,
    settled_at = CASE WHEN a.state IN ('captured', 'failed', 'cancelled')
                      THEN coalesce(c.settled_at, clock_timestamp()) END
FROM unnest(%b::uuid[], %b::integer[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[])
    AS a (order_id, attempt, was, state, failure, provider_ref, action_url)
WHERE c.order_id = a.order_id AND c.attempt = a.attempt AND c.state = a.was
"""

DUE = f"""
SELECT {CHARGE} FROM payments.charges
WHERE state IN ('intent', 'requires_action')
    AND next_ask_at <= statement_timestamp() AND created_at <= statement_timestamp() - make_interval(secs => %s)
ORDER BY next_ask_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608

PUSH = """
UPDATE payments.charges c
SET asked = c.asked + 1, next_ask_at = clock_timestamp() + make_interval(secs => p.pause_s)
FROM unnest(%s::uuid[], %s::integer[], %s::double precision[]) AS p (order_id, attempt, pause_s)
WHERE c.order_id = p.order_id AND c.attempt = p.attempt
"""


AskedCharges = AsyncCursor[tuple[Any, ...]]
"""Attempts of orders, locked, as a transaction was asked for them."""


async def record_intents(conn: Connection, intents: Sequence[ChargeIntent]) -> None:
    """Record what the providers are about to be asked for; commit before asking them.

    Raises: PaymentInProgress naming the attempts that were refused because the order has an open payment, is paid, or
    has had this attempt; the others of the batch are recorded and the transaction stays usable.
    """
    if not intents:
        return
    rows = await conn.execute(
        INSERT,
        (
            [intent.ref.order_id for intent in intents],
            [intent.ref.attempt for intent in intents],
            [intent.provider for intent in intents],
            [intent.method for intent in intents],
            [intent.total.amount for intent in intents],
            [intent.total.currency for intent in intents],
            [intent.return_url for intent in intents],
            [intent.description[:MAX_DESCRIPTION] for intent in intents],
        ),
    )
    recorded = {ChargeRef(OrderId(order_id), attempt) for order_id, attempt in await rows.fetchall()}
    if refused := [intent.ref for intent in intents if intent.ref not in recorded]:
        raise PaymentInProgress(refused)


async def record_first_attempts(conn: Connection, attempts: Sequence[FirstAttempt]) -> None:
    """Record the first attempts at paying orders that this transaction makes."""
    if not attempts:
        return
    intents = [attempt.intent for attempt in attempts]
    assert all(intent.ref.attempt == 1 for intent in intents), "later attempts may be refused: `record_intents`"
    await conn.execute(
        INSERT_FIRST,
        (
            [intent.ref.order_id for intent in intents],
            [intent.provider for intent in intents],
            [intent.method for intent in intents],
            ["intent" if attempt.captured_as is None else "captured" for attempt in attempts],
            [intent.total.amount for intent in intents],
            [intent.total.currency for intent in intents],
            [intent.return_url for intent in intents],
            [intent.description[:MAX_DESCRIPTION] for intent in intents],
            [attempt.created_at for attempt in attempts],
            [attempt.captured_as for attempt in attempts],
        ),
        binary=True,
    )


async def ask_charges(conn: Connection, order_ids: Iterable[OrderId]) -> AskedCharges:
    """Lock all attempts of orders, in their order, until the transaction ends; in pipeline mode without a wait."""
    return await conn.execute(LOCK, (sorted(set(order_ids), key=BY_NUMBER),), binary=True)


async def apply_answers(
    conn: Connection, answers: Mapping[ChargeRef, Answer], *, asked: AskedCharges | None = None
) -> Settled:
    """Settle charges by what the providers say; safe to repeat, in any order.

    Refs that were never recorded are absent from what was applied. CAPTURED_TWICE asks the caller to `record_refunds`
    and is reported each time the capture is told. OTHER_TOTAL is logged and counted here; the caller does nothing
    with it. `asked` is what `ask_charges` was asked for their orders.
    """
    if not answers:
        return Settled({}, {}, {})
    rows = await (asked or await ask_charges(conn, (ref.order_id for ref in answers))).fetchall()
    charges = {locked.ref: locked for locked in map(_locked, rows)}
    steps = _steps(charges, answers)
    _report_other_totals(charges, answers, steps)
    await _write(conn, charges, answers, steps)
    standing: dict[OrderId, tuple[Standing, ...]] = {}
    for ref, charge in charges.items():
        now = _after(charge, steps.get(ref), answers.get(ref))
        standing[ref.order_id] = (*standing.get(ref.order_id, ()), now)
    before = {ref: charges[ref].state for ref in steps}
    return Settled({ref: step.applied for ref, step in steps.items()}, standing, before)


def _locked(row: tuple[Any, ...]) -> Locked:
    return Locked(ChargeRef(row[0], row[1]), ChargeState(row[2]), row[3], row[4], Money(row[5], row[6]))


def _after(charge: Locked, step: Step | None, answer: Answer | None) -> Standing:
    if step is None or answer is None:
        return Standing(charge.ref, charge.state, charge.failure, charge.action_url)
    action = (answer.action_url or charge.action_url) if step.state is ChargeState.REQUIRES_ACTION else None
    return Standing(charge.ref, step.state, step.failure, action)


class Locked(Struct, frozen=True):
    """What decides about a charge under its lock."""

    ref: ChargeRef
    state: ChargeState
    failure: str | None
    action_url: str | None
    total: Money


def _steps(charges: Mapping[ChargeRef, Locked], answers: Mapping[ChargeRef, Answer]) -> dict[ChargeRef, Step]:
    paid_by = {ref.order_id: ref for ref, charge in charges.items() if charge.state is ChargeState.CAPTURED}
    steps: dict[ChargeRef, Step] = {}
    for ref in sorted(answers):
        if ref not in charges:
            continue
        charge, other = charges[ref], paid_by.get(ref.order_id, ref) != ref
        steps[ref] = decide(charge.state, charge.failure, answers[ref], total=charge.total, paid_by_other=other)
        if steps[ref].state is ChargeState.CAPTURED:
            paid_by[ref.order_id] = ref
    return steps


def _report_other_totals(
    charges: Mapping[ChargeRef, Locked], answers: Mapping[ChargeRef, Answer], steps: Mapping[ChargeRef, Step]
) -> None:
    for ref, step in steps.items():
        if step.applied is Applied.OTHER_TOTAL:
            OTHER_TOTALS.inc()
            log.error(
                "captured_other_total",
                order_id=str(ref.order_id),
                attempt=ref.attempt,
                asked_for=charges[ref].total,
                taken=answers[ref].total,
                provider_ref=answers[ref].provider_ref,
            )


async def _write(
    conn: Connection,
    charges: Mapping[ChargeRef, Locked],
    answers: Mapping[ChargeRef, Answer],
    steps: Mapping[ChargeRef, Step],
) -> None:
    if not steps:
        return
    refs = list(steps)
    await conn.execute(
        SETTLE,
        (
            [ref.order_id for ref in refs],
            [ref.attempt for ref in refs],
            [charges[ref].state.value for ref in refs],
            [steps[ref].state.value for ref in refs],
            [steps[ref].failure for ref in refs],
            [answers[ref].provider_ref for ref in refs],
            [answers[ref].action_url for ref in refs],
        ),
        binary=True,
    )


async def load_charges(conn: Connection, *, order_ids: Collection[OrderId]) -> dict[OrderId, tuple[Charge, ...]]:
    """All attempts of each order, first to last; orders without any are absent."""
    if not order_ids:
        return {}
    rows = await conn.execute(
        f"SELECT {CHARGE} FROM payments.charges WHERE order_id = ANY(%s) ORDER BY order_id, attempt",  # noqa: S608
        (list(order_ids),),
    )
    found: dict[OrderId, tuple[Charge, ...]] = {}
    for charge in map(charge_of, await rows.fetchall()):
        found[charge.ref.order_id] = (*found.get(charge.ref.order_id, ()), charge)
    return found


async def claim_due(
    conn: Connection, *, limit: int, after_s: float, draw: Callable[[], float] = random.random
) -> list[Charge]:
    """Take up to `limit` unsettled charges older than `after_s` seconds to ask their providers about.

    Each is handed out again after a growing pause, so a claimer that dies loses nothing. Rows that another claimer
    is looking at are passed over.
    """
    rows = await conn.execute(DUE, (after_s, limit))
    due = [charge_of(row) for row in await rows.fetchall()]
    if due:
        await conn.execute(
            PUSH,
            (
                [charge.ref.order_id for charge in due],
                [charge.ref.attempt for charge in due],
                [_pause_s(charge.asked, after_s, draw()) for charge in due],
            ),
        )
    return due


def _pause_s(asked: int, after_s: float, draw: float) -> float:
    return backoff_s(failures=asked + 1, base_s=after_s, cap_s=max(after_s, LONGEST_PAUSE_S), draw=draw)


def charge_of(row: tuple[Any, ...]) -> Charge:
    """A row of `CHARGE` columns."""
    order_id, attempt, provider, method, state, amount, currency, return_url, description, *rest = row
    provider_ref, action_url, failure, asked = rest
    return Charge(
        intent=ChargeIntent(
            ref=ChargeRef(OrderId(order_id), attempt),
            provider=provider,
            method=method,
            total=Money(amount, currency),
            return_url=return_url,
            description=description,
        ),
        state=ChargeState(state),
        provider_ref=provider_ref,
        action_url=action_url,
        failure=failure,
        asked=asked,
    )

"""Celery's entry points into notify."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol
from uuid import UUID

from celery import Task, shared_task
from kombu.exceptions import OperationalError

from tidegate.notify.deliveries import (
    Look,
    deliver_due,
    deliver_shard,
    find_overdue,
    on_account_links,
    on_follows_asked,
    on_order_events,
)
from tidegate.notify.own_events import count_waiting
from tidegate.notify.pacing import Breather, decide_once, task_with_rests
from tidegate.notify.sends import find_stopped
from tidegate.notify.shards import claim_due_shards, expand_shard, finish_send, plan_send
from tidegate.notify.trial_mails import on_trial
from tidegate.notify.webhook_endings import end_waiting
from tidegate.notify.webhook_events import on_order_webhooks, on_send_webhooks
from tidegate.notify.webhook_rounds import claim_due_endpoints, work_on_endpoints
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.jobs import BULK, LANES, RECEIPTS, WITHIN_1M, WITHIN_10S, Call, lane_depths, publish, run_async
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings
from tidegate.platform.valkey_client import valkey_of

DELIVER_TASK = "notify.deliver"
TELL_TASK = "notify.tell"
SHARD_TASK = "notify.shard"
WEBHOOKS_TASK = "notify.webhooks"

EVENTS_A_TASK = 50
"""Events to single people that one task delivers: so few that another of its lane does not wait long for it."""

SWEPT_PART = 10
"""The sweeper adds to a lane while fewer than this part of `jobs.queue_max` waits in it: nobody may take its tasks."""

PLANNED_AT_ONCE = 10
"""Shards that one task cuts before others have a turn."""


@shared_task(name=DELIVER_TASK, bind=True)
def deliver(self: Task[..., int], *event_ids: str) -> int:
    """Deliver what is due of events."""
    work = partial(deliver_in_turns, event_ids=[EventId(UUID(each)) for each in event_ids], lane=_lane(self))
    return run_async(partial(in_lane, lane=_lane(self), work=work))


class Work(Protocol):
    """What a task of a lane does; with a breather it rests when that says so."""

    async def __call__(self, database: Database, settings: Settings, /, *, breather: Breather | None) -> int:
        """Do it; how much was done."""


async def in_lane(database: Database, settings: Settings, *, lane: str, work: Work) -> int:
    """What every task of messages goes through: in the lane `bulk` it yields to the shop."""
    if lane != BULK:
        return await work(database, settings, breather=None)
    async with task_with_rests(valkey_of(database, settings), settings) as breather:
        return await work(database, settings, breather=breather)


def _lane(task: Task[..., int]) -> str:
    return (task.request.delivery_info or {}).get("routing_key") or WITHIN_1M


async def deliver_in_turns(
    database: Database,
    settings: Settings,
    *,
    event_ids: Sequence[EventId],
    lane: str,
    breather: Breather | None = None,
) -> int:
    """Deliver what is due of events; what this turn leaves, another behind the others of its lane takes on."""
    limit = settings.mail.batch
    done = await deliver_due(database, settings, limit=limit, event_ids=event_ids, lane=lane, breather=breather)
    if done.more:
        with suppress(OperationalError):  # the broker is away: the sweeper goes on
            await hand_out(event_ids, lane=lane)
    return done.taken


@shared_task(name=TELL_TASK)
def tell(event_id: str) -> int:
    """Go on telling the followers of what an event is about."""
    return run_async(partial(tell_followers, event_id=EventId(UUID(event_id))))


@shared_task(name=SHARD_TASK, bind=True)
def shard(self: Task[..., int], event_id: str, shard_no: str) -> int:
    """Work on a shard of a send: expand it, or deliver a batch of it."""
    work = partial(work_on_shard, event_id=EventId(UUID(event_id)), shard_no=int(shard_no))
    return run_async(partial(in_lane, lane=_lane(self), work=work))


async def tell_followers(database: Database, settings: Settings, *, event_id: EventId) -> int:
    """Cut the next followers of an event into shards and hand these out; returns how many people were found.

    What is left is cut by another task behind them, so that telling begins at once. Raises: kombu's OperationalError
    when the broker is away: the sweeper goes on.
    """
    async with task_with_rests(valkey_of(database, settings), settings):
        found = await plan_send(database, settings, event_id=event_id, at_once=PLANNED_AT_ONCE)
        is_rest = found < PLANNED_AT_ONCE * settings.follows.batch
        if is_rest:
            await finish_send(database, event_id=event_id)
        await hand_out_shards(database, settings, event_id=event_id)
        if not is_rest:
            await asyncio.to_thread(publish, [Call(TELL_TASK, (str(event_id),), BULK)])
    return found


async def work_on_shard(
    database: Database, settings: Settings, *, event_id: EventId, shard_no: int, breather: Breather | None = None
) -> int:
    """Expand a shard into messages or deliver a batch of it, and hand out what is due next; how many messages."""
    expanded = await expand_shard(database, settings, event_id=event_id, shard_no=shard_no, breather=breather)
    if expanded is None:
        done = await deliver_shard(database, settings, event_id=event_id, shard_no=shard_no, breather=breather)
    else:
        done = expanded.inbox
    await finish_send(database, event_id=event_id)
    with suppress(OperationalError):  # the broker is away: the sweeper goes on
        await hand_out_shards(database, settings)
    return done


async def hand_out_shards(
    database: Database, settings: Settings, *, event_id: EventId | None = None, ahead_s: float = 0.0
) -> int:
    """Hand out shards that are due, while there is room for tasks of sends in the broker; returns how many tasks.

    Few wait there, so that a pause is felt at once and what a broker forgets is little.
    """
    depths = await asyncio.to_thread(lane_depths)
    waiting = depths[BULK] + depths[WITHIN_1M]
    room = min(settings.follows.ahead - waiting, settings.jobs.queue_max - sum(depths.values()))
    if room < settings.follows.ahead / 2:
        return 0
    batch = settings.mail.batch
    limit = max(room * batch // settings.follows.batch, 1)
    async with database.connection() as conn:
        due = await claim_due_shards(
            conn, limit=limit, lease_s=settings.mail.lease_s, ahead_s=ahead_s, event_id=event_id
        )
    calls = [
        Call(SHARD_TASK, (str(each.event_id), str(each.shard_no)), each.lane)
        for each in due
        for _ in range(max(-(-each.waiting // batch), 1))
    ]
    await asyncio.to_thread(publish, calls)
    return len(calls)


async def send(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of what followers are to be told."""
    with suppress(OperationalError):  # the broker is away: the sweeper goes on
        await tell_followers(database, settings, event_id=EventId(UUID(event.payload["event_id"])))


async def follows_asked(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Subscriber of follows to be confirmed: writes the mails, and when they are committed, hands them out."""
    await on_follows_asked(database, settings, events)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        await hand_out([event.id for event in events], lane=WITHIN_10S)


async def deliver_event(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of events whose deliveries to single people are written: hands them out, in their lanes."""
    event_id = EventId(UUID(event.payload["event_id"]))
    async with database.connection() as conn:
        waiting = await count_waiting(conn, event_id=event_id)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        for lane, messages in waiting.items():
            calls = [Call(DELIVER_TASK, (str(event_id),), lane)] * -(-messages // settings.mail.batch)
            await asyncio.to_thread(publish, calls)


async def order_events(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Subscriber of what happens to orders: writes the deliveries, and when they are committed, hands them out."""
    await on_order_events(database, settings, events)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        await hand_out([event.id for event in events], lane=RECEIPTS)


async def account_links(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Subscriber of the links of accounts: writes the mails, and when they are committed, hands them out."""
    await on_account_links(database, settings, events)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        await hand_out([event.id for event in events], lane=WITHIN_10S)


async def message_trial(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of trial mails: writes the mail, and when that is committed, hands it out."""
    await on_trial(database, settings, event)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        await hand_out([event.id], lane=WITHIN_10S)


async def pace(database: Database, settings: Settings) -> int:
    """Decide how much of their time workers may give to bulk sends. Raises: redis-py's errors when Valkey is away."""
    return await decide_once(valkey_of(database, settings), settings)


async def sweep(database: Database, settings: Settings) -> int:
    """Hand out again what was left lying, in the lane it came by: its task was lost, or its pause is over.

    While tasks still wait in a lane, what is late is likely among them, and only what is very late is sent again.
    Returns 0, since a round must not be followed at once by another: what it found is due until a worker takes it.
    Raises: kombu's OperationalError when the broker is away.
    """
    depths = await asyncio.to_thread(lane_depths)
    limits = settings.jobs
    lease_s = settings.mail.lease_s
    free = max(limits.queue_max - sum(depths.values()), 0)
    most = max(limits.queue_max // SWEPT_PART, 1)
    room = {lane: min(free, max(most - depths[lane], 0)) for lane in LANES}
    late_s = {lane: lease_s if depths[lane] else limits.notify_sweep_s for lane in LANES}
    looks = {lane: Look(min(settings.mail.batch, room[lane] * EVENTS_A_TASK), late_s[lane]) for lane in LANES}
    async with database.connection() as conn:
        overdue = await find_overdue(conn, looks)
        limit = min(settings.mail.batch, room[BULK])
        stopped = await find_stopped(conn, limit=limit, overdue_s=late_s[BULK])
    for lane, late in overdue.items():
        await hand_out(late, lane=lane)
    await asyncio.to_thread(publish, [Call(TELL_TASK, (str(event_id),), BULK) for event_id in stopped])
    await hand_out_shards(database, settings, ahead_s=max(lease_s - late_s[BULK], 0))
    return 0


async def hand_out(event_ids: Sequence[EventId], *, lane: str) -> None:
    """Send delivery tasks for events. Raises: kombu's OperationalError when the broker is away."""
    ids = [str(event_id) for event_id in event_ids]
    calls = [Call(DELIVER_TASK, tuple(ids[n : n + EVENTS_A_TASK]), lane) for n in range(0, len(ids), EVENTS_A_TASK)]
    await asyncio.to_thread(publish, calls)


@shared_task(name=WEBHOOKS_TASK, bind=True)
def webhooks(self: Task[..., int], *endpoint_ids: str) -> int:
    """Call endpoints with the webhooks that are due."""
    work = partial(call_endpoints, endpoint_ids=[UUID(each) for each in endpoint_ids])
    return run_async(partial(in_lane, lane=_lane(self), work=work))


async def call_endpoints(
    database: Database, settings: Settings, *, endpoint_ids: Sequence[UUID], breather: Breather | None = None
) -> int:
    """Call endpoints for a turn, and hand out what is due next; how many calls."""
    calls = await work_on_endpoints(database, settings, endpoint_ids=endpoint_ids, breather=breather)
    with suppress(OperationalError):  # the broker is away: the sweeper goes on
        await hand_out_webhooks(database, settings)
    return calls


async def order_webhooks(database: Database, settings: Settings, events: Sequence[Event]) -> None:
    """Subscriber of what happens to orders: writes webhooks, which the sweeper hands out within a second."""
    await on_order_webhooks(database, settings, events)


async def send_webhooks(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of what followers are told: writes webhooks, which the sweeper hands out within a second."""
    await on_send_webhooks(database, settings, event)


async def sweep_webhooks(database: Database, settings: Settings) -> int:
    """Hand out endpoints with webhooks that are due, and end what waits for disabled and deleted ones; how many.

    Raises: kombu's OperationalError when the broker is away.
    """
    await hand_out_webhooks(database, settings)
    async with database.connection() as conn:
        return await end_waiting(conn, limit=settings.webhooks.batch)


async def hand_out_webhooks(database: Database, settings: Settings) -> int:
    """Send tasks for endpoints with webhooks that are due, while the broker has room; how many endpoints.

    What an endpoint cannot take in one turn, or does not answer, is of no hurry any more and goes by the lane `bulk`.
    """
    limits = settings.webhooks
    room = settings.jobs.queue_max - sum((await asyncio.to_thread(lane_depths)).values())
    async with database.connection() as conn:
        due = await claim_due_endpoints(conn, limits, limit=max(room, 0))
    calls = [
        Call(WEBHOOKS_TASK, tuple(str(each) for each in some), lane)
        for lane, ids in (
            (WITHIN_1M, [each.endpoint_id for each in due if not each.slow]),
            (BULK, [each.endpoint_id for each in due if each.slow]),
        )
        for some in (ids[n : n + limits.endpoints_per_task] for n in range(0, len(ids), limits.endpoints_per_task))
    ]
    await asyncio.to_thread(publish, calls)
    return len(due)

"""Celery: lanes, the one way to run asynchronous use cases inside it, and the task that handles outbox events.

The broker is never the record. It may lose anything (LESSONS: BRPOP and its bookkeeping are two steps); rows that are
not done come due again, and every task may therefore run twice and must have its effect once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog
import uvloop
from celery import Celery
from celery.app import app_or_default
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown, worker_ready
from celery.worker import state as worker_state
from kombu import Queue
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel as RedisChannel
from prometheus_client import Gauge

from tidegate.platform import lanes
from tidegate.platform.backoff import event_policy
from tidegate.platform.cpu import yield_own_cpu
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.lane_transport import use_own_transport
from tidegate.platform.lane_turns import LaneTurns
from tidegate.platform.outbox import Event, handle_events
from tidegate.platform.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

TAKEN = Gauge("tidegate_worker_tasks_taken", "Tasks that this worker took from the broker since its start.")
RUNNING = Gauge("tidegate_worker_tasks_running", "Tasks that this worker is running.")
WAITING = Gauge("tidegate_lane_tasks_waiting", "Tasks that wait in the broker.", ["lane"])

RECEIPTS, WITHIN_10S, WITHIN_1M, BULK = LANES = lanes.LANES

EVENT_TASK = "tidegate.event"

POOL_MAX = 4
"""Most database connections of a worker process: it runs one task at a time."""

DELIVERIES_MOST = 5
"""RabbitMQ drops a task that was handed out so often and never acknowledged."""

STALLED_EXIT = 70
"""Exit code of a worker that found itself stuck (EX_SOFTWARE)."""

TASK_MARGIN_S = 5
"""A use case is cancelled this long before Celery would kill its process."""

Subscriber = Callable[[Database, Settings, Sequence[Event]], Awaitable[None]]
"""Acts on events of a topic, in transactions of its own; may run twice for any of them and has its effect once."""

Work = Callable[[Database, Settings], Coroutine[Any, Any, T]]
"""A use case, given what a worker process has."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who acts on a topic, in which lane, and on how many events of it in one task."""

    lane: str
    subscribers: tuple[Subscriber, ...]
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class Call:
    """A task to be run: its name, ids as arguments (never payloads), and its lane."""

    task: str
    args: tuple[str, ...]
    lane: str


def make_app(settings: Settings) -> Celery:
    """The Celery application of this process, which also becomes the default one of all its threads."""
    use_own_transport()
    app = Celery("tidegate", set_as_current=True)
    app.set_default()
    jobs = settings.jobs
    app.conf.update(
        broker_url=settings.require_broker_url(),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=jobs.broker_timeout_s,
        broker_transport_options=_transport_options(settings),
        result_backend=None,
        task_ignore_result=True,
        accept_content=["json"],
        task_serializer="json",
        task_queues=[Queue(lane, queue_arguments=_queue_arguments(settings)) for lane in LANES],
        task_default_queue=WITHIN_1M,
        task_create_missing_queues=False,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5},
        # A task is acknowledged when it has ended. One whose process died is acknowledged too: putting it back could
        # loop for ever (celery#9082), and the row it worked on comes due again by itself, with its attempts counted.
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_time_limit=jobs.task_time_limit_s,
        # No hoarding (LESSONS): a message leaves the queue when a process is free for it.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=not _is_amqp(settings),
        # RabbitMQ: nothing is sent with a delay, so that queues for it need not be replicated.
        broker_native_delayed_delivery_queue_type="classic",
        worker_concurrency=jobs.worker_processes,
        worker_soft_shutdown_timeout=jobs.soft_shutdown_s,
        worker_proc_alive_timeout=20.0,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def _transport_options(settings: Settings) -> dict[str, Any]:
    """For kombu's Redis transport, and that of RabbitMQ, which takes `confirm_publish` and ignores the others.

    kombu passes `socket_timeout` on instead of redis-py's default of 5 s and None means "for ever"; a broker that
    stops answering without closing its connections must not hang a publisher. BRPOP returns every second and is read
    only when there is something to read, so the timeout does not cut it off.
    """
    timeout_s = settings.jobs.broker_timeout_s
    return {
        "visibility_timeout": settings.jobs.visibility_timeout_s,
        # An object of its own for each connection; kombu takes whatever makes one.
        "queue_order_strategy": partial(LaneTurns, patience_s=settings.jobs.lane_patience_s),
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "confirm_publish": True,
        "max_retries": 2,
        "interval_start": 0.1,
        "interval_step": 0.2,
        "interval_max": 0.5,
    }


def _is_amqp(settings: Settings) -> bool:
    """Whether the broker is RabbitMQ."""
    return settings.require_broker_url().startswith(("amqp://", "amqps://", "pyamqp://"))


def _queue_arguments(settings: Settings) -> dict[str, Any] | None:
    """On RabbitMQ, lanes are quorum queues: they survive the loss of a node. A task that kills its workers is dropped.

    Its row comes due again by itself, with its attempts counted.
    """
    return {"x-queue-type": "quorum", "x-delivery-limit": DELIVERIES_MOST} if _is_amqp(settings) else None


def publish(calls: Sequence[Call]) -> None:
    """Hand tasks to the broker, in order. Blocks for a bounded time; never call it inside a transaction.

    Raises: kombu.exceptions.OperationalError when the broker is away; calls before the failing one are sent.
    """
    if not calls:
        return
    app = app_or_default()
    with app.producer_or_acquire() as producer:
        for call in calls:
            app.send_task(
                call.task,
                args=call.args,
                queue=call.lane,
                producer=producer,
                ignore_result=True,
                confirm_timeout=app.conf.broker_connection_timeout,
            )


def lane_depths() -> dict[str, int]:
    """How many tasks wait in each lane. Raises: kombu.exceptions.OperationalError when the broker is away."""
    app = app_or_default()
    with app.connection_or_acquire() as connection:
        try:
            channel = connection.default_channel
            if isinstance(channel, RedisChannel):
                return _list_lengths(channel)
            return {
                queue.name: channel.queue_declare(
                    queue=queue.name, durable=True, auto_delete=False, arguments=queue.queue_arguments
                ).message_count
                for queue in app.conf.task_queues
            }
        except connection.recoverable_connection_errors as error:  # the transport's own, which callers cannot know
            raise OperationalError(str(error)) from error


def _list_lengths(channel: RedisChannel) -> dict[str, int]:
    """The same in one round trip: kombu's own way takes a client and a transaction for each lane."""
    endings = [f"{channel.sep}{step}" if step else "" for step in channel.priority_steps]
    keys = [(lane, lane + ending) for lane in LANES for ending in endings]
    with channel.conn_or_acquire() as client:
        pipe = client.pipeline(transaction=False)
        for _, key in keys:
            pipe.llen(key)
        lengths = pipe.execute()
    depths = dict.fromkeys(LANES, 0)
    for (lane, _), length in zip(keys, lengths, strict=True):
        depths[lane] += length
    return depths


def broker_depths(settings: Settings) -> dict[str, int]:
    """`lane_depths` from outside of the shop's processes. Raises: OSError when the broker is away."""
    make_app(settings)
    try:
        return lane_depths()
    except OperationalError as error:
        raise OSError(f"the broker does not answer: {error}") from error


def free_room(settings: Settings) -> int:
    """How many more tasks the broker may be given: its queues are bounded, the rest waits in PostgreSQL."""
    return max(settings.jobs.queue_max - sum(lane_depths().values()), 0)


def make_worker_app(settings: Settings, subscriptions: Mapping[str, Subscription]) -> Celery:
    """`make_app` with the event task, and with a runtime in each process of the pool."""
    app = make_app(settings)

    @app.task(name=EVENT_TASK)
    def handle(*event_ids: str) -> dict[str, int]:
        ids = [EventId(UUID(each)) for each in event_ids]
        return run_async(partial(_handle, subscriptions=subscriptions, event_ids=ids))

    worker_process_init.connect(partial(_start_process, settings), weak=False, dispatch_uid="tidegate.start")
    worker_process_shutdown.connect(_stop_process, weak=False, dispatch_uid="tidegate.stop")
    setup_logging.connect(_keep_logging, weak=False, dispatch_uid="tidegate.logging")
    return app


async def _handle(
    database: Database, settings: Settings, *, subscriptions: Mapping[str, Subscription], event_ids: Sequence[EventId]
) -> dict[str, int]:
    handlers = {
        topic: [partial(subscriber, database, settings) for subscriber in subscription.subscribers]
        for topic, subscription in subscriptions.items()
    }
    outcomes = await handle_events(database, event_ids=event_ids, handlers=handlers, policy=event_policy(settings.jobs))
    return dict(Counter(outcomes.values()))


def one_by_one(act: Callable[[Database, Settings, Event], Awaitable[None]]) -> Subscriber:
    """A subscriber that acts on each event by itself."""

    async def each(database: Database, settings: Settings, events: Sequence[Event]) -> None:
        for event in events:
            await act(database, settings, event)

    return each


class Runtime:
    """The event loop of a worker process, in a thread, with a database pool that lives as long as the process.

    One loop for all tasks, since connections of a pool belong to the loop that opened them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(
            update={"database": settings.database.model_copy(update={"pool_max": POOL_MAX})}
        )
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="use-cases", daemon=True)
        self._thread.start()
        self._database = self._wait(self._open(), timeout_s=10)

    async def _open(self) -> Database:
        database = Database(self.settings, backend_nice=self.settings.pacing.database_nice)
        await database.open()
        return database

    def run(self, work: Work[T]) -> T:
        """Run a use case and return its result. Raises: TimeoutError shortly before the task's time limit."""
        limit_s = max(1, self.settings.jobs.task_time_limit_s - TASK_MARGIN_S)
        return self._wait(work(self._database, self.settings), timeout_s=limit_s)

    def close(self) -> None:
        """Give the connections back and end the thread."""
        self._wait(self._database.close(), timeout_s=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def _wait(self, work: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(timeout_s):
                return await work

        return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()


_runtime: Runtime | None = None


def run_async(work: Work[T]) -> T:
    """Run an asynchronous use case inside a Celery task."""
    assert _runtime is not None, "run_async outside a worker process"
    return _runtime.run(work)


def _start_process(settings: Settings, **_signal: object) -> None:
    global _runtime  # noqa: PLW0603 - Celery's tasks are plain functions: what a process has must be global
    _runtime = Runtime(settings)


def _stop_process(**_signal: object) -> None:
    if _runtime is not None:
        _runtime.close()


def _keep_logging(**_signal: object) -> None:
    """Connected so that Celery leaves logging as the process set it up."""


def run_worker(settings: Settings, subscriptions: Mapping[str, Subscription], *, lanes: Sequence[str]) -> int:
    """Run a prefork worker in this process until SIGTERM; its exit code.

    Running tasks have `jobs.soft_shutdown_s` to finish. The processes of the pool die with this one, however it dies:
    Celery gives them a parent-death signal on Linux.
    """
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)  # one line per task would be most of the log
    if BULK in lanes:
        yield_own_cpu(nice=settings.pacing.nice)  # what is urgent has a worker without bulk
    else:
        pacing = settings.pacing.model_copy(update={"database_nice": 0})
        settings = settings.model_copy(update={"pacing": pacing})
    app = make_worker_app(settings, subscriptions)
    worker_ready.connect(partial(_on_ready, settings, tuple(lanes)), weak=False, dispatch_uid="tidegate.ready")
    worker = app.Worker(
        hostname=f"tidegate@{socket.gethostname()}",
        queues=list(lanes),
        loglevel=settings.observability.log_level.upper(),
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _on_ready(settings: Settings, lanes: Sequence[str], **_signal: object) -> None:
    log.info("worker ready")
    # Celery's own SIGTERM waits for running tasks without a bound; its SIGQUIT is the bounded "soft" shutdown. It
    # remaps one to the other only by an environment variable that is read when it is first imported.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: os.kill(os.getpid(), signal.SIGQUIT))
    arguments = (settings.jobs.stall_s, lanes)
    threading.Thread(target=_watch_progress, args=arguments, name="progress", daemon=True).start()


def _watch_progress(stall_s: float, lanes: Sequence[str]) -> None:
    """End the process when it takes nothing from its filled queues for `stall_s` seconds, while it is idle.

    Workers have been seen to live on without consuming after a reconnect (celery#8030, #8091, #9054). A worker that
    cannot reach the broker is not judged: Celery tries again by itself.
    """
    progress = Progress(stall_s)
    while True:
        time.sleep(min(5.0, stall_s / 4))
        try:
            depths = lane_depths()
        except (OperationalError, OSError):
            progress = Progress(stall_s)
            continue
        taken, running = sum(worker_state.total_count.values()), len(worker_state.reserved_requests)
        TAKEN.set(taken)
        RUNNING.set(running)
        for lane, depth in depths.items():
            WAITING.labels(lane).set(depth)
        waiting = sum(depths[lane] for lane in lanes)
        if progress.stalled(waiting=waiting, running=running, taken=taken, now_s=time.monotonic()):
            log.critical("worker takes no tasks though some wait, and ends itself to be started anew")
            os._exit(STALLED_EXIT)


class Progress:
    """Notices a worker that is idle beside work for too long."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._taken = -1
        self._since_s = 0.0

    def stalled(self, *, waiting: int, running: int, taken: int, now_s: float) -> bool:
        """Whether work has waited for `stall_s` seconds while nothing ran and nothing was taken."""
        if not waiting or running or taken != self._taken:
            self._taken = taken
            self._since_s = now_s
            return False
        return now_s - self._since_s >= self._stall_s

"""What differs for one visitor on pages that are kept."""

from __future__ import annotations

import time

import structlog
from fastapi import Request
from psycopg import Error

from tidegate import inventory, notify
from tidegate.inventory.contracts import HoldState
from tidegate.platform.breaker import Breaker, BreakerState
from tidegate.platform.database import OUTAGE, Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings
from tidegate.storefront.contexts import Keeping, whole_minutes
from tidegate.storefront.freshness import Freshness
from tidegate.storefront.room_line import GUEST
from tidegate.web import Answers, Visit, away, current_person, environment, request_locale

log = structlog.get_logger(__name__)

BUSY = "/drops/"
"""Where everybody is at once: nothing is asked there that the sale does not need."""

EDITORS = frozenset({"staff", "admin"})


def watch_inboxes(settings: Settings) -> Breaker:
    """What tells whether inboxes can be looked into; they are the database's, and so are the limits."""
    limits = settings.database
    return Breaker(failures=limits.breaker_failures, pause_s=limits.breaker_pause_s, clock=time.monotonic)


async def visit_of(request: Request) -> Visit:
    """What they hold, and whether they are of the staff, who see their own changes at once.

    Whoever looks around while the database is away is shown the shop without it, and told so.
    """
    answers: Answers = request.app.state.answers
    if not answers.connected:
        return away(request_locale(request))
    try:
        person = await current_person(request)
        if person is None:
            return Visit()
        staff = person.role in EDITORS
        if staff:
            freshness: Freshness = request.app.state.freshness
            await freshness.catch_up()
        if request.url.path.startswith("/api/"):
            return Visit(staff=staff)
        database: Database = request.app.state.database
        inboxes: Breaker = request.app.state.inboxes
        busy = request.url.path.startswith(BUSY)
        async with database.connection() as conn:
            keeping = await _keeping(conn, person.id)
            unread = None if busy else await _unread(conn, inboxes, person.id)
    except (*OUTAGE, Overloaded) as error:
        log.warning("visitor shown as a stranger", error=describe_error(error))
        return away(request_locale(request))
    strip = environment(request_locale(request)).get_template("storefront/keeping.html").render(keeping=keeping)
    inbox = inboxes.state is BreakerState.CLOSED if busy else unread is not None
    account = person.role != GUEST
    return Visit(strip.strip().encode(), unread=unread, inbox=inbox, account=account, staff=staff)


async def _unread(conn: Connection, inboxes: Breaker, person_id: PersonId) -> int | None:
    """How many messages are unread; None where that cannot be told, which hides the inbox and nothing else.

    After some failures in a row nobody asks for a while: looks that wait for their time limit would make pages slow.
    """
    if not inboxes.admits():
        return None
    try:
        unread = await notify.count_unread(conn, recipient_id=person_id)
    except Error as error:
        if conn.closed:
            raise
        inboxes.failed()
        log.warning("inbox is away", error=describe_error(error))
        return None
    inboxes.succeeded()
    return unread


async def _keeping(conn: Connection, person_id: PersonId) -> Keeping | None:
    """The newest live hold of the visitor."""
    for hold in await inventory.live_holds(conn, buyer_id=person_id):
        ordered = hold.state == HoldState.ORDERED and hold.order_id
        address = f"/orders/{hold.order_id}" if ordered else f"/checkout/{hold.id}"
        return Keeping(address, hold.quantity, whole_minutes(hold.seconds_left))
    return None

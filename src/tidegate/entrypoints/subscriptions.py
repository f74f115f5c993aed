"""Who acts on which event. A topic that is written anywhere must be here, if only with nobody: an unknown one fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate.notify import tasks as notify_tasks
from tidegate.platform.jobs import BULK, RECEIPTS, WITHIN_10S, Subscription, one_by_one

AT_ONCE: Final = 50
"""Of what many people do in the same second."""

_ORDER_EVENTS: Final = Subscription(RECEIPTS, (notify_tasks.order_events, notify_tasks.order_webhooks), AT_ONCE)

SUBSCRIPTIONS: Final[Mapping[str, Subscription]] = {
    "account.link": Subscription(WITHIN_10S, (notify_tasks.account_links,), AT_ONCE),
    "follow.asked": Subscription(WITHIN_10S, (notify_tasks.follows_asked,), AT_ONCE),
    "follow.send": Subscription(BULK, (one_by_one(notify_tasks.send), one_by_one(notify_tasks.send_webhooks))),
    "message.trial": Subscription(WITHIN_10S, (one_by_one(notify_tasks.message_trial),)),
    "notify.deliver": Subscription(WITHIN_10S, (one_by_one(notify_tasks.deliver_event),)),
    "order.paid": _ORDER_EVENTS,
    "order.partly_refunded": _ORDER_EVENTS,
    "order.sent": _ORDER_EVENTS,
    "order.refunded": _ORDER_EVENTS,
}

"""Who acts on which event. A topic that is written anywhere must be here, if only with nobody: an unknown one fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate.notify import tasks as notify_tasks
from tidegate.platform.jobs import BULK, RECEIPTS, WITHIN_10S, Subscription

SUBSCRIPTIONS: Final[Mapping[str, Subscription]] = {
    "account.link": Subscription(WITHIN_10S, (notify_tasks.account_link,)),
    "follow.asked": Subscription(WITHIN_10S, (notify_tasks.follow_asked,)),
    "follow.send": Subscription(BULK, (notify_tasks.send, notify_tasks.send_webhooks)),
    "message.trial": Subscription(WITHIN_10S, (notify_tasks.message_trial,)),
    "notify.deliver": Subscription(WITHIN_10S, (notify_tasks.deliver_event,)),
    "order.paid": Subscription(RECEIPTS, (notify_tasks.order_event, notify_tasks.order_webhooks)),
    "order.partly_refunded": Subscription(RECEIPTS, (notify_tasks.order_event, notify_tasks.order_webhooks)),
    "order.sent": Subscription(RECEIPTS, (notify_tasks.order_event, notify_tasks.order_webhooks)),
    "order.refunded": Subscription(RECEIPTS, (notify_tasks.order_event, notify_tasks.order_webhooks)),
}

"""Messages to people: receipts by mail and in the inbox.

Sending is in `tasks`, which the worker and the scheduler enter; a site process need not import it.
"""

from tidegate.notify.contracts import (
    Asked,
    CaughtMail,
    Channel,
    Follow,
    FollowLinkOver,
    FollowsFull,
    InboxMessage,
    Topic,
    TopicKind,
)
from tidegate.notify.erasing import erase_messages
from tidegate.notify.follow_links import check_address, count_request, mail_confirmation, read_confirmation
from tidegate.notify.follows import follow, forget_follows, list_follows, unfollow
from tidegate.notify.inbox import count_unread, list_inbox, take_over_messages
from tidegate.notify.mail_check import check_mail_server
from tidegate.notify.sends import WaitingTopic, begin_send, delete_spent, find_followed, waiting_topics

__all__ = [
    "Asked",
    "CaughtMail",
    "Channel",
    "Follow",
    "FollowLinkOver",
    "FollowsFull",
    "InboxMessage",
    "Topic",
    "TopicKind",
    "WaitingTopic",
    "begin_send",
    "check_address",
    "check_mail_server",
    "count_request",
    "count_unread",
    "delete_spent",
    "erase_messages",
    "find_followed",
    "follow",
    "forget_follows",
    "list_follows",
    "list_inbox",
    "mail_confirmation",
    "read_confirmation",
    "take_over_messages",
    "unfollow",
    "waiting_topics",
]

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
    Post,
    PostDiffers,
    Progress,
    Send,
    SendState,
    Topic,
    TopicKind,
)
from tidegate.notify.erasing import erase_messages
from tidegate.notify.estimates import Estimate, estimate_send
from tidegate.notify.follow_links import check_address, count_request, mail_confirmation, read_confirmation
from tidegate.notify.follows import follow, forget_follows, list_follows, unfollow
from tidegate.notify.inbox import count_unread, list_inbox, take_over_messages
from tidegate.notify.mail_check import check_mail_server
from tidegate.notify.posts import MAX_BODY, MAX_TITLE, find_post, list_posts, write_post
from tidegate.notify.sends import WaitingTopic, begin_send, delete_spent, find_followed, list_topics, waiting_topics
from tidegate.notify.steering import cancel_send, pause_send, resume_send
from tidegate.notify.views import list_sends

__all__ = [
    "MAX_BODY",
    "MAX_TITLE",
    "Asked",
    "CaughtMail",
    "Channel",
    "Estimate",
    "Follow",
    "FollowLinkOver",
    "FollowsFull",
    "InboxMessage",
    "Post",
    "PostDiffers",
    "Progress",
    "Send",
    "SendState",
    "Topic",
    "TopicKind",
    "WaitingTopic",
    "begin_send",
    "cancel_send",
    "check_address",
    "check_mail_server",
    "count_request",
    "count_unread",
    "delete_spent",
    "erase_messages",
    "estimate_send",
    "find_followed",
    "find_post",
    "follow",
    "forget_follows",
    "list_follows",
    "list_inbox",
    "list_posts",
    "list_sends",
    "list_topics",
    "mail_confirmation",
    "pause_send",
    "read_confirmation",
    "resume_send",
    "take_over_messages",
    "unfollow",
    "waiting_topics",
    "write_post",
]
